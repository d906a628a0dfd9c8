//! Subscribes over gRPC, and takes what is pushed.

use std::{collections::BTreeSet, convert::Infallible, sync::Arc, time::Duration};

use portolan_model::route::Protocol;
use portolan_sources::frame::{Ended, Teller};
use portolan_wire::{call::Scheme, tls::ClientTls};
use serde_json::Value;

use super::{
    calls::{PAGE, SERVICES_MAX, Token, too_many},
    map::{Service, ServiceInfo},
    messages::{self, Answer, Asked, Payload, REQUEST, STREAM},
    watch::Nacos,
};
use crate::grpc::{Channel, GrpcError, KeepAlive, Stream};
use crate::held::Entry;

/// How long one call may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// What a server says as long as it has not taken note of the connection.
const UNREGISTERED: u32 = 301;
/// How often that is asked again, and after what pause.
const TRIES: u32 = 50;
const PAUSE: Duration = Duration::from_millis(40);
/// How long what is missing from a push waits for more of its kind.
const CALM: Duration = Duration::from_millis(100);
/// Subscriptions that are under way at a time.
const PIPELINE: usize = 64;

/// A connection that the server took note of.
struct Line {
    channel: Channel,
    stream: Stream,
}

impl Nacos {
    /// Follows subscriptions for as long as it goes well.
    pub(super) async fn subscribe(&mut self, teller: &mut Teller) -> Result<Infallible, Ended> {
        self.renew().await?;
        let mut line = self.connect().await?;
        self.services.clear();
        let mut kept = BTreeSet::new();
        self.look(&mut line, &mut kept).await?;
        self.held.retain(|path| kept.contains(path));
        self.tell(teller).await?;
        let mut due = self.due();
        let mut shrunk = false;
        loop {
            tokio::select! {
                pushed = line.stream.next() => {
                    let pushed: Payload = pushed.map_err(|e| self.lost(&e))?.ok_or_else(closed)?;
                    self.take(&mut line, &pushed, teller).await?;
                    if std::mem::take(&mut self.untold) {
                        due = due.min(self.soon());
                        shrunk = true;
                    }
                }
                () = self.env.sleep_until(due) => {
                    self.renew().await?;
                    // Refused or unanswered, it ends the session; so it is a sign of life.
                    let changed = self.look(&mut line, &mut kept).await?;
                    kept.clear();
                    if changed || std::mem::take(&mut shrunk) {
                        self.tell(teller).await?;
                    } else {
                        teller.still().await?;
                    }
                    due = self.due();
                }
            }
        }
    }

    fn soon(&self) -> std::time::Instant {
        let now = self.env.instant();
        now.checked_add(CALM).unwrap_or(now)
    }

    fn due(&self) -> std::time::Instant {
        let now = self.env.instant();
        now.checked_add(self.settings.refresh).unwrap_or(now)
    }

    async fn connect(&mut self) -> Result<Line, Ended> {
        let url = self
            .servers
            .url()
            .and_then(|url| self.settings.grpc_url(url));
        let Some(url) = url else {
            return Err(Ended::lost("there is no server to ask"));
        };
        if url.scheme() == Scheme::Https && self.connector.is_none() {
            let made = ClientTls::new().connector(&self.settings.servers.tls, Protocol::Http2);
            self.connector = Some(made.map_err(|error| Ended::by(&error))?);
        }
        let tls = self.connector.as_ref().map(Arc::as_ref);
        // Nacos takes pings for an attack; it is asked for its services instead.
        let opened = Channel::open(&url, tls, KeepAlive::Never, &self.env).await;
        let mut channel = opened.map_err(|error| self.lost(&error))?;
        self.call(&mut channel, messages::check()).await?;
        let stream = channel.stream(STREAM).await;
        let mut stream = stream.map_err(|error| self.lost(&error))?;
        let (kind, body) = messages::set_up();
        let set_up = Payload::new(kind, &body, self.token.as_ref().map(Token::text));
        stream.send(&set_up).map_err(|error| self.lost(&error))?;
        Ok(Line { channel, stream })
    }

    /// Looks for services that came or went, and says whether there are any; leaves the paths
    /// of what it read in `kept`.
    async fn look(&mut self, line: &mut Line, kept: &mut BTreeSet<String>) -> Result<bool, Ended> {
        let mut services = BTreeSet::new();
        let scopes = self.settings.scopes();
        let scopes: Vec<_> = scopes
            .map(|(one, other)| (one.clone(), other.clone()))
            .collect();
        for (namespace, group) in scopes {
            let names = self.names(line, (&namespace, &group)).await?;
            services.extend(names.into_iter().map(|name| Service {
                namespace: namespace.clone(),
                group: group.clone(),
                name,
            }));
        }
        let new: Vec<_> = services.difference(&self.services).cloned().collect();
        let gone: Vec<_> = self.services.difference(&services).cloned().collect();
        for chunk in new.chunks(PIPELINE) {
            let infos = self.ask_for(line, chunk).await?;
            for (service, info) in chunk.iter().zip(infos) {
                for (path, made) in self.read(service, &info) {
                    self.held.take(&path, made);
                    kept.insert(path);
                }
            }
        }
        for service in &gone {
            self.held.forget_below(&service.path());
            self.call(&mut line.channel, messages::subscribe(service, false))
                .await?;
        }
        self.services = services;
        Ok(!new.is_empty() || !gone.is_empty())
    }

    async fn names(
        &self,
        line: &mut Line,
        (namespace, group): (&str, &str),
    ) -> Result<Vec<String>, Ended> {
        let mut names = Vec::new();
        for page in 1_u64.. {
            let request = messages::list(namespace, group, page, PAGE);
            let answer = self.call(&mut line.channel, request).await?;
            let found = answer.service_names.unwrap_or_default();
            let is_last = found.is_empty();
            // Some servers write the group before the name.
            let plain = found.into_iter().map(|name| match name.split_once("@@") {
                Some((_, name)) => name.to_owned(),
                None => name,
            });
            names.extend(plain);
            if is_last || names.len() >= usize::try_from(answer.count).unwrap_or(usize::MAX) {
                break;
            }
            if names.len() > SERVICES_MAX {
                return Err(too_many(group));
            }
        }
        Ok(names)
    }

    /// Subscribes to services, many at a time; what they are like comes in the same order.
    async fn ask_for(
        &self,
        line: &mut Line,
        services: &[Service],
    ) -> Result<Vec<ServiceInfo>, Ended> {
        let asking = async {
            let mut asked = Vec::with_capacity(services.len());
            for service in services {
                let (kind, body) = messages::subscribe(service, true);
                let request = Payload::new(kind, &body, self.token.as_ref().map(Token::text));
                let mut stream = line.channel.stream(REQUEST).await?;
                stream.send(&request)?;
                stream.finish()?;
                asked.push(stream);
            }
            let mut answers = Vec::with_capacity(asked.len());
            for mut stream in asked {
                let answer: Option<Payload> = stream.next().await?;
                answers.push(answer.ok_or(GrpcError::Ended)?);
            }
            Ok(answers)
        };
        let within = CALL_TIMEOUT;
        let answers = self.env.timeout(within, asking).await;
        let answers = answers.unwrap_or(Err(GrpcError::TimedOut { within }));
        let answers = answers.map_err(|error| self.lost(&error))?;
        let infos = answers.iter().map(|answer| {
            let answer = self.judge(answer)?;
            Ok(answer.service_info.unwrap_or_default())
        });
        infos.collect()
    }

    /// Asks, and waits as long as the server does not know the connection yet.
    async fn call(
        &self,
        channel: &mut Channel,
        (kind, body): (&str, Value),
    ) -> Result<Answer, Ended> {
        let request = Payload::new(kind, &body, self.token.as_ref().map(Token::text));
        for _ in 0..TRIES {
            let answer = channel.call(REQUEST, &request, CALL_TIMEOUT).await;
            let answer: Payload = answer.map_err(|error| self.lost(&error))?;
            let is_early = answer
                .read::<Answer>()
                .is_ok_and(|answer| answer.error_code == UNREGISTERED);
            if !is_early {
                return self.judge(&answer);
            }
            self.env.sleep(PAUSE).await;
        }
        Err(self.named("it takes no note of the connection"))
    }

    /// The answer, if it is a good one.
    fn judge(&self, payload: &Payload) -> Result<Answer, Ended> {
        let answer: Answer = payload
            .read()
            .map_err(|error| self.named(&format!("it answered what can't be read: {error}")))?;
        let is_well = matches!(answer.result_code, 0 | 200) && answer.error_code == 0;
        if is_well && payload.kind() != "ErrorResponse" {
            return Ok(answer);
        }
        let words = answer.message.unwrap_or_default();
        let hint = match answer.error_code {
            401 | 403 => " (are `username` and `password` right, and may that user read this?)",
            _ => "",
        };
        let code = answer.error_code;
        Err(self.named(&format!("it answered error {code}{hint}: {words}")))
    }

    /// Takes what the server asks or says by itself.
    async fn take(
        &mut self,
        line: &mut Line,
        pushed: &Payload,
        teller: &mut Teller,
    ) -> Result<(), Ended> {
        let kind = pushed.kind().to_owned();
        if !kind.ends_with("Request") {
            return Ok(());
        }
        let asked: Asked = pushed
            .read()
            .map_err(|error| self.named(&format!("it said what can't be read: {error}")))?;
        let reply = Payload::reply(&kind, asked.request_id.as_deref().unwrap_or_default());
        line.stream
            .send(&reply)
            .map_err(|error| self.lost(&error))?;
        match (kind.as_str(), asked.service_info) {
            ("ConnectResetRequest", _) => Err(self.named("it sends its clients to other servers")),
            ("NotifySubscriberRequest", Some(info)) => {
                let told = self.told_of(asked.namespace, &info);
                self.change(told, &info, teller).await
            }
            // Whether we are there, and what else may come one day.
            (_, _) => Ok(()),
        }
    }

    /// The services that a push is about. Some servers leave out the namespace.
    fn told_of(&self, namespace: Option<String>, info: &ServiceInfo) -> Vec<Service> {
        let name = info.name.as_deref().unwrap_or_default();
        let (group, name) = match name.split_once("@@") {
            Some((group, name)) => (group, name),
            None => (info.group_name.as_deref().unwrap_or_default(), name),
        };
        let namespace = namespace.filter(|namespace| !namespace.is_empty());
        let is_it = |service: &&Service| {
            let fits = namespace.as_ref().is_none_or(|it| *it == service.namespace);
            fits && service.group == group && service.name == name
        };
        self.services.iter().filter(is_it).cloned().collect()
    }

    async fn change(
        &mut self,
        told: Vec<Service>,
        info: &ServiceInfo,
        teller: &mut Teller,
    ) -> Result<(), Ended> {
        // It can't be told which of several namespaces is meant: each is asked.
        let [service] = told.as_slice() else {
            for service in &told {
                self.services.remove(service);
            }
            return Ok(());
        };
        let made = self.read(service, info);
        let known = self.held.below(&service.path());
        let gone: Vec<_> = known
            .into_iter()
            .filter(|path| !made.contains_key(path))
            .collect();
        let there = made
            .into_iter()
            .map(|(path, made)| (path, Entry::Read(made)));
        self.held.change(there.collect(), teller).await?;
        // A push is a list. The guard is to weigh how much shorter it got, so what is missing is
        // told with everything else, as soon as no more pushes come.
        for path in &gone {
            self.held.forget(path);
        }
        self.untold |= !gone.is_empty();
        Ok(())
    }

    fn lost(&self, error: &GrpcError) -> Ended {
        let Ended::Lost { reason, .. } = Ended::by(error) else {
            return Ended::Closed;
        };
        let hint = if matches!(error, GrpcError::Dial(_)) {
            " (is its port for gRPC open? `protocol: http` needs none)"
        } else {
            ""
        };
        self.named(&format!("{reason}{hint}"))
    }

    fn named(&self, reason: &str) -> Ended {
        let url = self
            .servers
            .url()
            .and_then(|url| self.settings.grpc_url(url));
        let place = url.map(|url| format!("{}:{}", url.host(), url.port()));
        let place = place.unwrap_or_default();
        Ended::lost(format!("nacos at {place}: {reason}"))
    }
}

fn closed() -> Ended {
    Ended::lost("it ended the stream of its news")
}
