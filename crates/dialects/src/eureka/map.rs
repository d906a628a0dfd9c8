//! From Eureka's words to the model's and back.
//!
//! Endpoints are `default` (the port without TLS) and `secure`. What the model has no
//! place for stands in the metadata under [`RESERVED`], as far as it differs from what is
//! usual, so that an instance comes back as it was told.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use portolan_model::{
    BadName, Instance, InstanceId, Metadata, Name, NamedPort, ServiceKey, SourceId, State, Weight,
};

use super::{
    Action, DataCenter, InstanceInfo, Lease, Pages, Port, Status,
    foreign::{self, Extras, NAMELESS},
    info::AMAZON,
};
use crate::native::Described;

/// Under this, metadata hold what only Eureka knows of. Labels of instances that begin so
/// are not taken.
pub const RESERVED: &str = "eureka/";
/// Most labels of an instance.
const METADATA_MAX: usize = 256;
/// Longest label or other text, in bytes.
const TEXT_BYTES_MAX: usize = 4096;
/// The endpoint without TLS.
const PLAIN: &str = "default";
/// The endpoint with TLS.
const SECURE: &str = "secure";
/// What others call it.
const HTTPS: &str = "https";

/// Why a registration is not taken; the texts are Eureka's where it has some.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// It has neither an id nor a host name.
    #[error("Missing instanceId")]
    Id,
    /// It has no host name.
    #[error("Missing hostname")]
    Host,
    /// It has no address.
    #[error("Missing ip address")]
    Address,
    /// It names no application.
    #[error("Missing appName")]
    App,
    /// The path names another application than the body.
    #[error("Mismatched appName, expecting {expected} but was {given}")]
    OtherApp {
        /// That of the path.
        expected: Arc<str>,
        /// That of the body.
        given: Arc<str>,
    },
    /// It has no data centre.
    #[error("Missing dataCenterInfo")]
    DataCenter,
    /// Its data centre has no name.
    #[error("Missing dataCenterInfo Name")]
    DataCenterName,
    /// Its application or id can't be one.
    #[error("{field}: {error}")]
    Name {
        /// Which of the two.
        field: &'static str,
        /// What is wrong with it.
        error: BadName,
    },
    /// Nobody can connect to its address.
    #[error("ipAddr: `{0}` is not an IP address that can be connected to")]
    Unreachable(Arc<str>),
    /// It has no port.
    #[error("port: there is none that can be connected to")]
    Port,
    /// It has too many labels.
    #[error("metadata: more than {METADATA_MAX} labels")]
    Labels,
    /// It has a text that is too long.
    #[error("{0}: over {TEXT_BYTES_MAX} bytes")]
    Text(&'static str),
}

/// The application that a service is.
#[must_use]
pub fn app_of(key: &ServiceKey) -> Arc<str> {
    key.name.as_str().to_ascii_uppercase().into()
}

/// Whether a registration says what it has to, in the order in which Eureka looks.
///
/// # Errors
/// The first [`Rejection`].
pub fn check(info: &InstanceInfo, app: &str) -> Result<(), Rejection> {
    let app: Arc<str> = app.to_ascii_uppercase().into();
    let data_center = &info.data_center;
    let rules = [
        (info.id().is_empty(), Rejection::Id),
        (info.host_name.is_empty(), Rejection::Host),
        (info.ip_addr.is_empty(), Rejection::Address),
        (info.app.is_empty(), Rejection::App),
        (
            info.app != app,
            Rejection::OtherApp {
                expected: app,
                given: Arc::clone(&info.app),
            },
        ),
        (
            data_center.name.is_empty() && data_center.class.is_empty(),
            Rejection::DataCenter,
        ),
        (data_center.name.is_empty(), Rejection::DataCenterName),
    ];
    match rules.into_iter().find(|(is_broken, _)| *is_broken) {
        Some((_, rejection)) => Err(rejection),
        None => Ok(()),
    }
}

/// The instance in the words of the model, with the health that its status is.
///
/// # Errors
/// [`Rejection`] names the field.
pub fn describe(info: &InstanceInfo, source: &SourceId) -> Result<Described, Rejection> {
    let name = Name::parse(&info.app).map_err(|error| Rejection::Name {
        field: "app",
        error,
    })?;
    let id = InstanceId::parse(info.id()).map_err(|error| Rejection::Name {
        field: "instanceId",
        error,
    })?;
    let ip = address(info)?;
    let labels = labels(info)?;
    let zone = labels.get("zone").cloned().or_else(|| {
        let machine = &info.data_center.metadata;
        let is_amazon = &*info.data_center.name == AMAZON;
        machine
            .get("availability-zone")
            .filter(|_| is_amazon)
            .cloned()
    });
    let version = labels.get("version").cloned();
    let endpoints = endpoints(info, ip)?;
    let mut metadata = labels;
    foreign::put(info, ip, &mut metadata)?;
    let namespace = Name::parse(ServiceKey::DEFAULT_NAMESPACE);
    let namespace = namespace.map_err(|error| Rejection::Name {
        field: "app",
        error,
    })?;
    let note = match info.status {
        Status::OutOfService => Some("out of service".into()),
        Status::Unknown => Some("status unknown".into()),
        Status::Up | Status::Down | Status::Starting => None,
    };
    Ok(Described {
        instance: Instance {
            key: ServiceKey { namespace, name },
            id,
            endpoints: endpoints.into(),
            zone,
            version,
            weight: Weight::NORMAL,
            tags: Box::default(),
            metadata,
            source: source.clone(),
            state: State::default(),
        },
        ttl: Some(Duration::from_secs(info.lease.duration_seconds.into())),
        check: None,
        status: Some(info.status.to_health()),
        note,
    })
}

/// An instance of the catalogue in Eureka's words, whoever registered it.
#[must_use]
pub fn show(instance: &Instance) -> InstanceInfo {
    let extras = Extras::of(&instance.metadata);
    let ip = instance
        .address(None)
        .map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |at| at.ip());
    let ip: Arc<str> = ip.to_string().into();
    let state = &instance.state;
    let since = state.since.as_millis();
    let registered = extras.number("registrationTimestamp").unwrap_or(since);
    let last_updated = extras
        .number("lastUpdatedTimestamp")
        .unwrap_or(0)
        .max(since);
    let overridden = Status::of_override(state.overridden).or(extras.status("overriddenStatus"));
    let (port, secure_port) = ports(instance, &extras);
    // Whoever did not come by this protocol is found by the name of its service.
    let vip = |is_there: bool| {
        (extras.is_empty() && is_there).then(|| Arc::from(instance.key.name.as_str()))
    };
    InstanceInfo {
        instance_id: (!extras.has(NAMELESS)).then(|| instance.id.as_str().into()),
        host_name: extras.text("hostName").unwrap_or_else(|| Arc::clone(&ip)),
        app: app_of(&instance.key),
        app_group_name: extras.text("appGroupName"),
        ip_addr: extras.text("ipAddr").unwrap_or(ip),
        sid: extras.text("sid"),
        port,
        secure_port,
        pages: Pages(Pages::NAMES.map(|name| extras.text(name))),
        vip_address: extras.text("vipAddress").or_else(|| vip(true)),
        secure_vip_address: extras
            .text("secureVipAddress")
            .or_else(|| vip(secure_port.is_enabled)),
        country_id: extras.number("countryId").unwrap_or(1),
        data_center: extras
            .text("dataCenterInfo")
            .and_then(|text| foreign::read_data_center(&text))
            .unwrap_or_default(),
        status: status_of(instance),
        overridden: overridden.unwrap_or(Status::Unknown),
        lease: Lease {
            renewal_seconds: extras
                .number("renewalIntervalInSecs")
                .unwrap_or(Lease::RENEWAL_SECONDS),
            duration_seconds: extras
                .number("durationInSecs")
                .unwrap_or(Lease::DURATION_SECONDS),
            registered,
            // Signs of life change nothing that is published: what is known is that it
            // was there when it changed last.
            renewed: registered.max(last_updated),
            evicted: extras.number("evictionTimestamp").unwrap_or(0),
            up_since: extras.number("serviceUpTimestamp").unwrap_or(registered),
        },
        is_coordinator: extras.has("isCoordinatingDiscoveryServer"),
        metadata: shown_labels(instance, extras.is_empty()),
        last_updated,
        last_dirty: extras.number("lastDirtyTimestamp").unwrap_or(since),
        action: Some(Action::Added),
        asg_name: extras.text("asgName"),
    }
}

/// The status of an instance of the catalogue, as [`show`] shows it.
#[must_use]
pub fn status_of(instance: &Instance) -> Status {
    worded(Status::of(&instance.state), instance)
}

/// What an instance that registered by this protocol keeps from one registration to the
/// next, whatever an operator or a drain makes of it meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Its status.
    pub status: Status,
    /// The override that was set by this protocol.
    pub overridden: Option<Status>,
    /// When it was told last, in milliseconds since the Unix epoch.
    pub last_updated: u64,
}

/// What an instance keeps; `None` if it registered by another protocol.
#[must_use]
pub fn kept(instance: &Instance) -> Option<Kept> {
    let extras = Some(Extras::of(&instance.metadata)).filter(|extras| !extras.is_empty())?;
    let own = State {
        overridden: portolan_model::Override::None,
        leaving: false,
        ..instance.state.clone()
    };
    Some(Kept {
        status: worded(Status::of(&own), instance),
        overridden: extras.status("overriddenStatus"),
        last_updated: extras.number("lastUpdatedTimestamp").unwrap_or(0),
    })
}

/// The word that a critical health came with, if that is what the status is for.
fn worded(status: Status, instance: &Instance) -> Status {
    if status != Status::Down {
        return status;
    }
    let word = Extras::of(&instance.metadata).status("status");
    let word = word.filter(|word| word.to_health() == instance.state.health);
    word.unwrap_or(status)
}

/// Where to connect: the address, or a host name that is one.
fn address(info: &InstanceInfo) -> Result<IpAddr, Rejection> {
    let local = || (&*info.ip_addr == "localhost").then_some(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let given = info.ip_addr.parse().ok().or_else(local);
    let ip: Option<IpAddr> = given.or_else(|| info.host_name.parse().ok());
    ip.filter(|ip| !ip.is_unspecified() && !ip.is_multicast())
        .ok_or_else(|| Rejection::Unreachable(Arc::clone(&info.ip_addr)))
}

/// The ports that are open; if none is, the one that has a number, since an instance
/// without any can't be kept.
fn endpoints(info: &InstanceInfo, ip: IpAddr) -> Result<Vec<NamedPort>, Rejection> {
    let known = [(PLAIN, info.port), (SECURE, info.secure_port)];
    let numbered = known.iter().filter(|(_, port)| port.number > 0);
    let open = numbered.clone().filter(|(_, port)| port.is_enabled);
    let chosen: Vec<_> = if open.clone().next().is_some() {
        open.collect()
    } else {
        numbered.take(1).collect()
    };
    let endpoints = chosen.into_iter().filter_map(|(name, port)| {
        Some(NamedPort {
            name: Name::parse(name).ok()?,
            address: SocketAddr::new(ip, port.number),
        })
    });
    let endpoints: Vec<_> = endpoints.collect();
    if endpoints.is_empty() {
        return Err(Rejection::Port);
    }
    Ok(endpoints)
}

/// The instance's own labels.
fn labels(info: &InstanceInfo) -> Result<Metadata, Rejection> {
    let own = info.metadata.iter();
    let own = own.filter(|(key, _)| !foreign::is_reserved(key));
    let labels: Metadata = own
        .map(|(key, value)| (Arc::clone(key), Arc::clone(value)))
        .collect();
    if labels.len() > METADATA_MAX {
        return Err(Rejection::Labels);
    }
    let is_long = |text: &Arc<str>| text.len() > TEXT_BYTES_MAX;
    if labels
        .iter()
        .any(|(key, value)| is_long(key) || is_long(value))
    {
        return Err(Rejection::Text("metadata"));
    }
    Ok(labels)
}

/// The labels; clients look for zone and version there.
fn shown_labels(instance: &Instance, is_foreign: bool) -> BTreeMap<Arc<str>, Arc<str>> {
    let own = instance.metadata.iter();
    let own = own.filter(|(key, _)| !foreign::is_reserved(key));
    let mut labels: BTreeMap<Arc<str>, Arc<str>> = own
        .map(|(key, value)| (Arc::clone(key), Arc::clone(value)))
        .collect();
    let named = [("zone", &instance.zone), ("version", &instance.version)];
    for (key, value) in named {
        if let Some(value) = value.as_ref().filter(|_| is_foreign) {
            labels
                .entry(key.into())
                .or_insert_with(|| Arc::clone(value));
        }
    }
    labels
}

/// The ports without and with TLS.
fn ports(instance: &Instance, extras: &Extras<'_>) -> (Port, Port) {
    let is_secure = |port: &&NamedPort| matches!(port.name.as_str(), SECURE | HTTPS);
    let open = |found: Option<&NamedPort>| {
        found.map(|port| Port {
            number: port.address.port(),
            is_enabled: true,
        })
    };
    let closed = |name, usual: Port| Port {
        number: extras.number(name).unwrap_or(usual.number),
        is_enabled: false,
    };
    let plain = instance.endpoints.iter().find(|port| !is_secure(port));
    let secure = instance.endpoints.iter().find(is_secure);
    let port = open(plain.filter(|_| !extras.has("port")));
    let secure_port = open(secure.filter(|_| !extras.has("securePort")));
    (
        port.unwrap_or_else(|| closed("port", Port::PLAIN)),
        secure_port.unwrap_or_else(|| closed("securePort", Port::SECURE)),
    )
}

/// Refuses a text that is over the limit.
pub(super) fn bounded(name: &'static str, text: &str) -> Result<(), Rejection> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(Rejection::Text(name));
    }
    Ok(())
}

/// What a data centre is if nothing is said.
pub(super) fn is_usual(data_center: &DataCenter) -> bool {
    *data_center == DataCenter::default()
}
