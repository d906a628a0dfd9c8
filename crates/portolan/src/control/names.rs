//! The DNS server, and what it asks the rest of the program for.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use portolan_config::Plan;
use portolan_consul::WithoutServices;
use portolan_dns::{Directory, Dns, Found, Gateway, Later, Meters, Node, Unknown};
use portolan_model::{ByteSize, percent::encode_component};
use portolan_registry::Registry;
use portolan_runtime::{Env, sockets::Sockets};
use portolan_snapshot::View;
use portolan_wire::serve::{Handler, Peer, Request, collect, empty};
use serde::Deserialize;
use tokio::sync::Semaphore;

use super::{Control, beyond::Beyond, listener::Listener};

/// The largest answer about a node or a query.
const ANSWER_MAX: ByteSize = ByteSize::from_bytes(4 << 20);
/// Nodes and queries that are looked for at a time: the others wait.
const ASKED_MAX: usize = 4;
/// What weight 1 of Consul's is in the model, where 100 is normal.
const WEIGHT_SCALE: u16 = 100;

/// The DNS server as the control plane holds it.
pub(super) struct Names {
    dns: Dns,
    beyond: Beyond,
}

impl Names {
    /// A server that does not listen yet; `consul` answers what it does not know itself.
    pub(super) fn new(
        (env, view): (&Env, &View),
        plan: &Plan,
        consul: Arc<dyn Handler>,
        registry: &Registry,
    ) -> Self {
        let dns = Dns::new(env, view, &plan.dns);
        let directory = Arc::new(Consul {
            api: consul,
            room: Semaphore::new(ASKED_MAX),
        });
        let beyond = Beyond::new(env, registry, dns.answerer(), directory);
        Self { dns, beyond }
    }

    /// That handler, and queries over HTTPS while the plan says so.
    pub(super) fn over_https(&self, others: Arc<dyn Handler>) -> Arc<dyn Handler> {
        self.beyond.over_https(others)
    }

    /// The listener for queries over TLS.
    pub(super) const fn listener(&mut self) -> &mut Listener {
        self.beyond.listener()
    }

    /// Opens, closes or moves it as the plan says. Another resolver may well run beside us: a
    /// port that is taken is left to it.
    pub(super) fn follow(&mut self, plan: &Plan, sockets: &mut Sockets) {
        self.dns.set_others(self.beyond.others(&plan.dns));
        let forwarder = self.beyond.forwarder().cloned();
        self.dns.meters().set_forwarder(forwarder);
        self.beyond.follow(plan, sockets);
        if let Err(error) = self.dns.follow(&plan.dns, gateway(plan), sockets) {
            tracing::warn!(error = crate::load::chain(&error), "DNS is not served");
        }
    }

    pub(super) fn stop_accepting(&mut self) {
        self.dns.stop_accepting();
    }

    pub(super) async fn ended(&self) {
        self.dns.ended().await;
    }

    pub(super) fn address(&self) -> Option<SocketAddr> {
        self.dns.address()
    }

    pub(super) fn meters(&self) -> Arc<Meters> {
        self.dns.meters()
    }
}

impl Control {
    /// Answers DNS from now on, when there is something to answer.
    pub(crate) fn serve_names(&mut self, plan: &Plan, sockets: &mut Sockets) {
        self.names.follow(plan, sockets);
    }

    /// Where DNS is answered, if it is.
    pub(crate) fn dns_address(&self) -> Option<SocketAddr> {
        self.names.address()
    }
}

/// Where the gateway is, as far as the plan says.
fn gateway(plan: &Plan) -> Gateway {
    let listeners = plan.listeners.iter();
    let mut listeners = listeners.filter(|listener| listener.address.port() > 0);
    let secure = listeners.clone().find(|listener| listener.tls.is_some());
    let clear = listeners.find(|listener| listener.tls.is_none());
    let first = secure.or(clear).map(|listener| listener.address.ip());
    Gateway {
        addresses: first
            .filter(|ip| !ip.is_unspecified())
            .into_iter()
            .collect(),
        tls: secure.map(|listener| {
            let protocols = &listener.protocols;
            let names = [("h2", protocols.http2), ("http/1.1", protocols.http1)];
            let spoken = names.into_iter().filter(|(_, is_spoken)| *is_spoken);
            (
                listener.address.port(),
                spoken.map(|(name, _)| name).collect(),
            )
        }),
        plain: clear.map(|listener| listener.address.port()),
    }
}

/// Nodes and prepared queries, by Consul's own API: it knows both, and what it says of them
/// is what DNS has to say.
struct Consul {
    api: Arc<dyn Handler>,
    room: Semaphore,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct NodeAnswer {
    node: NodeView,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct NodeView {
    #[serde(default)]
    address: String,
    #[serde(default)]
    meta: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
struct QueryAnswer {
    #[serde(rename = "Nodes")]
    nodes: Vec<Entry>,
    #[serde(rename = "DNS")]
    dns: Option<QueryDns>,
}

#[derive(Deserialize)]
struct QueryDns {
    #[serde(rename = "TTL", default)]
    ttl: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    node: NodeView,
    service: ServiceView,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ServiceView {
    #[serde(default)]
    address: String,
    port: u16,
    weights: Option<Weights>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Weights {
    passing: u16,
}

impl Consul {
    /// None if there is no such thing, or none that everybody may see.
    async fn ask<T: for<'de> Deserialize<'de>>(
        &self,
        path: String,
        client: Option<IpAddr>,
    ) -> Result<Option<T>, Unknown> {
        let mut request = Request::new(empty());
        *request.uri_mut() = path.parse().map_err(|_| Unknown)?;
        request.extensions_mut().insert(WithoutServices);
        if let Some(client) = client {
            // Queries may ask for what is near to it.
            request.extensions_mut().insert(Peer {
                address: (client, 0).into(),
                local: None,
            });
        }
        let _room = self.room.acquire().await.map_err(|_| Unknown)?;
        let response = self.api.handle(request).await;
        let status = response.status();
        if [401, 403, 404].contains(&status.as_u16()) {
            return Ok(None);
        }
        if !status.is_success() {
            tracing::warn!(%status, "Consul's part can't say what a DNS query asks for");
            return Err(Unknown);
        }
        let body = collect(response.into_body(), ANSWER_MAX).await;
        let body = body.map_err(|error| {
            tracing::warn!(%error, "an answer for a DNS query is too large");
            Unknown
        })?;
        // `null` is a node that is not there.
        serde_json::from_slice(&body).map_err(|_| Unknown)
    }
}

impl Directory for Consul {
    fn node<'a>(&'a self, name: &'a str) -> Later<'a, Result<Option<Node>, Unknown>> {
        Box::pin(async move {
            let path = format!("/v1/catalog/node/{}", encode_component(name));
            let answer: Option<NodeAnswer> = self.ask(path, None).await?;
            Ok(answer.map(|answer| Node {
                address: answer.node.address,
                meta: answer.node.meta.unwrap_or_default(),
            }))
        })
    }

    fn query<'a>(
        &'a self,
        name: &'a str,
        client: IpAddr,
    ) -> Later<'a, Result<Option<Found>, Unknown>> {
        Box::pin(async move {
            let path = format!("/v1/query/{}/execute", encode_component(name));
            let answer: Option<QueryAnswer> = self.ask(path, Some(client)).await?;
            let Some(answer) = answer else {
                return Ok(None);
            };
            let instances = answer.nodes.into_iter().filter_map(|entry| {
                let own = entry.service.address.parse::<IpAddr>().ok();
                let ip = own.or_else(|| entry.node.address.parse().ok())?;
                let weight = entry.service.weights.map_or(1, |weights| weights.passing);
                Some((
                    (ip, entry.service.port).into(),
                    weight.saturating_mul(WEIGHT_SCALE).max(1),
                ))
            });
            let ttl = answer.dns.and_then(|dns| seconds(&dns.ttl));
            Ok(Some(Found {
                instances: instances.collect(),
                ttl,
            }))
        })
    }
}

/// The seconds of one of Consul's durations; none if it is empty.
fn seconds(text: &str) -> Option<u32> {
    if text.is_empty() {
        return None;
    }
    let span = portolan_model::parse_span(text).ok()?;
    u32::try_from(span.as_secs()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gateway_is_where_its_listeners_are() {
        let plan = Plan::zero_config();
        let found = gateway(&plan);
        assert_eq!(found.addresses, [IpAddr::from([127, 0, 0, 1])]);
        assert_eq!((found.tls, found.plain), (None, Some(8080)));
    }

    #[test]
    fn durations_are_read() {
        assert_eq!(
            (seconds("10s"), seconds(""), seconds("x")),
            (Some(10), None, None)
        );
    }
}
