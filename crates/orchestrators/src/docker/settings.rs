//! Settings of the `docker` source.

use std::{
    any::Any,
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use http::HeaderMap;
use portolan_catalog::{Source, SourceSpec};
use portolan_model::{Problem, SourceId};
use portolan_runtime::Env;
use portolan_sources::frame::{Basics, Fields, ServersSettings, address_of, following, tls};
use portolan_wire::call::Url;
use serde_json::{Map, Value, json};

use super::{map::NAMES, watch::DockerSource};

const HOST: &str = "unix:///var/run/docker.sock";
const SECOND: Duration = Duration::from_secs(1);
const TIMEOUT: Duration = Duration::from_secs(10);
const RESYNC: Duration = Duration::from_mins(5);

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Settings {
    pub(super) basics: Basics,
    pub(super) host: Host,
    pub(super) exposed_by_default: bool,
    pub(super) network: Option<String>,
    pub(super) reach: Use,
    pub(super) host_address: IpAddr,
    /// For one answer.
    pub(super) timeout: Duration,
    /// Everything is read again this often.
    pub(super) resync: Duration,
}

/// Where the daemon is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Host {
    Socket(PathBuf),
    Servers(ServersSettings),
}

/// Which address of a container is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    Internal,
    Published,
}

impl SourceSpec for Settings {
    fn build(&self, id: &SourceId, env: &Env) -> Box<dyn Source> {
        following(
            DockerSource::new(self.clone(), id.clone(), env.clone()),
            env,
        )
    }

    fn same_as(&self, other: &dyn SourceSpec) -> bool {
        (other as &dyn Any).downcast_ref() == Some(self)
    }
}

pub(super) fn parse(settings: &Value) -> Result<Arc<dyn SourceSpec>, Vec<Problem>> {
    Ok(Arc::new(read(settings)?))
}

pub(super) fn read(settings: &Value) -> Result<Settings, Vec<Problem>> {
    let mut fields = Fields::new(settings);
    let basics = Basics::read(&mut fields, NAMES);
    let host = host(&mut fields);
    let reach = fields.word(
        "use",
        &[("internal", Use::Internal), ("published", Use::Published)],
    );
    let settings = Settings {
        basics,
        host_address: host_address(&mut fields, &host),
        host,
        exposed_by_default: fields.flag("exposed_by_default", false),
        network: fields.text("network").map(str::to_owned),
        reach: reach.unwrap_or(Use::Internal),
        timeout: fields.span(
            "timeout",
            TIMEOUT,
            (Duration::from_millis(100), Duration::from_mins(5)),
        ),
        resync: fields.span("resync", RESYNC, (SECOND, Duration::from_hours(24))),
    };
    fields.finish(settings)
}

fn host(fields: &mut Fields<'_>) -> Host {
    let has_tls = fields.value("tls").is_some();
    let tls = tls(fields);
    let text = fields.text("host").unwrap_or(HOST);
    if let Some(path) = text
        .strip_prefix("unix://")
        .filter(|path| path.starts_with('/'))
    {
        if has_tls {
            fields.refuse("tls", "a socket is not spoken to over TLS");
        }
        return Host::Socket(path.into());
    }
    let scheme = if has_tls { "https://" } else { "http://" };
    let url = match text.strip_prefix("tcp://") {
        Some(rest) => format!("{scheme}{rest}"),
        None => text.to_owned(),
    };
    let url = Url::parse(&url).ok();
    if url.is_none() {
        let problem = Problem::new("/host", format!("`{text}` is not where a daemon is"));
        let help = "write it like `unix:///var/run/docker.sock` or `tcp://host:2376`";
        fields.problem(problem.with_help(help));
    }
    let urls = url.into_iter().collect();
    Host::Servers(ServersSettings {
        urls,
        tls,
        fields: HeaderMap::new(),
    })
}

fn host_address(fields: &mut Fields<'_>, host: &Host) -> IpAddr {
    let daemon = match host {
        Host::Socket(_) => None,
        Host::Servers(servers) => servers.urls.first().and_then(|url| address_of(url.host())),
    };
    let default = daemon.unwrap_or(Ipv4Addr::LOCALHOST.into());
    let Some(text) = fields.text("host_address") else {
        return default;
    };
    address_of(text).unwrap_or_else(|| {
        fields.refuse("host_address", format!("`{text}` is not an IP address"));
        default
    })
}

pub(super) fn schema() -> Value {
    let text = |description: &str| json!({"type": "string", "description": description});
    let span = |default: &str, description: &str| json!({"type": "string", "default": default, "description": description});
    let mut properties = Map::new();
    properties.insert(
        "host".to_owned(),
        json!({"type": "string", "default": HOST, "description": "The daemon: unix:///path/of/socket or tcp://host:2376, which is spoken to over TLS if there is `tls`."}),
    );
    properties.insert(
        "exposed_by_default".to_owned(),
        json!({"type": "boolean", "default": false, "description": "Take containers that have neither the label `portolan.enable` nor `portolan.service`."}),
    );
    properties.insert(
        "use".to_owned(),
        json!({"enum": ["internal", "published"], "default": "internal", "description": "Which address of a container is used: its own within a network, or where its port is published on the host."}),
    );
    properties.insert("network".to_owned(), text("The network whose addresses are used, where a container has several; with or without Compose's project in front."));
    properties.insert("host_address".to_owned(), text("Where the host is reached; the daemon's address if that is an IP address, else 127.0.0.1."));
    properties.insert(
        "timeout".to_owned(),
        span("10s", "Time for one answer of the daemon."),
    );
    properties.insert(
        "resync".to_owned(),
        span(
            "5m",
            "How often everything is read again, although events tell what changes.",
        ),
    );
    let mut servers = Map::new();
    ServersSettings::describe(&mut servers);
    properties.extend(servers.remove("tls").map(|tls| ("tls".to_owned(), tls)));
    Basics::describe(&mut properties, NAMES);
    json!({"type": "object", "additionalProperties": false, "properties": properties})
}
