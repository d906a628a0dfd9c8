//! What Eureka knows of an instance.

use std::{collections::BTreeMap, sync::Arc};

use super::Status;

/// Where an instance runs that says nothing else.
pub(super) const DATA_CENTER: &str = "MyOwn";
/// The class by which Java clients read such a data centre.
pub(super) const DATA_CENTER_CLASS: &str = "com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo";
/// The data centre whose metadata names zone and instance.
pub(super) const AMAZON: &str = "Amazon";
/// The class by which Java clients read that one.
pub(super) const AMAZON_CLASS: &str = "com.netflix.appinfo.AmazonInfo";

/// An instance in Eureka's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceInfo {
    /// Its id; absent in what old clients send.
    pub instance_id: Option<Arc<str>>,
    /// Its host name.
    pub host_name: Arc<str>,
    /// Its application, in upper case.
    pub app: Arc<str>,
    /// The application's group.
    pub app_group_name: Option<Arc<str>>,
    /// Its address.
    pub ip_addr: Arc<str>,
    /// A legacy name; `na` is not told.
    pub sid: Option<Arc<str>>,
    /// The port without TLS.
    pub port: Port,
    /// The port with TLS.
    pub secure_port: Port,
    /// Pages about it, in the order of [`Pages::NAMES`].
    pub pages: Pages,
    /// Comma-separated names that it serves without TLS.
    pub vip_address: Option<Arc<str>>,
    /// Comma-separated names that it serves with TLS.
    pub secure_vip_address: Option<Arc<str>>,
    /// A number for a country; 1 if nothing is said.
    pub country_id: u32,
    /// Where it runs.
    pub data_center: DataCenter,
    /// What it is.
    pub status: Status,
    /// What an operator said; [`Status::Unknown`] if nothing.
    pub overridden: Status,
    /// How long it is known.
    pub lease: Lease,
    /// Whether it is a server of Eureka itself.
    pub is_coordinator: bool,
    /// Key-value labels.
    pub metadata: BTreeMap<Arc<str>, Arc<str>>,
    /// When it was last changed, in milliseconds since the Unix epoch.
    pub last_updated: u64,
    /// When it last changed itself; the newer one wins.
    pub last_dirty: u64,
    /// What happened to it, in a delta.
    pub action: Option<Action>,
    /// The group by which Amazon scales it.
    pub asg_name: Option<Arc<str>>,
}

/// Pages about an instance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pages(pub [Option<Arc<str>>; 4]);

impl Pages {
    /// Their names on the wire.
    pub const NAMES: [&'static str; 4] = [
        "homePageUrl",
        "statusPageUrl",
        "healthCheckUrl",
        "secureHealthCheckUrl",
    ];
}

/// A port and whether it is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Port {
    /// The number; 0 if there is none.
    pub number: u16,
    /// Whether it is open.
    pub is_enabled: bool,
}

impl Port {
    /// What holds if nothing is said.
    pub const PLAIN: Self = Self {
        number: 7001,
        is_enabled: true,
    };
    /// What holds for TLS if nothing is said.
    pub const SECURE: Self = Self {
        number: 7002,
        is_enabled: false,
    };
}

/// Where an instance runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataCenter {
    /// The class that Java clients read it by.
    pub class: Arc<str>,
    /// `MyOwn`, `Amazon` or `Netflix`; empty if it was left out.
    pub name: Arc<str>,
    /// What Amazon says of the machine.
    pub metadata: BTreeMap<Arc<str>, Arc<str>>,
}

impl Default for DataCenter {
    fn default() -> Self {
        Self {
            class: DATA_CENTER_CLASS.into(),
            name: DATA_CENTER.into(),
            metadata: BTreeMap::new(),
        }
    }
}

/// How long an instance is known. Times are milliseconds since the Unix epoch, 0 for never.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Seconds between two signs of life.
    pub renewal_seconds: u32,
    /// Seconds of silence after which it is gone.
    pub duration_seconds: u32,
    /// When it registered.
    pub registered: u64,
    /// When it was last heard of.
    pub renewed: u64,
    /// When it was taken out.
    pub evicted: u64,
    /// When it was first up.
    pub up_since: u64,
}

impl Lease {
    /// Seconds between two signs of life, if nothing is said.
    pub const RENEWAL_SECONDS: u32 = 30;
    /// Seconds of silence, if nothing is said.
    pub const DURATION_SECONDS: u32 = 90;
}

impl Default for Lease {
    fn default() -> Self {
        Self {
            renewal_seconds: Self::RENEWAL_SECONDS,
            duration_seconds: Self::DURATION_SECONDS,
            registered: 0,
            renewed: 0,
            evicted: 0,
            up_since: 0,
        }
    }
}

/// What happened to an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It came.
    Added,
    /// It changed.
    Modified,
    /// It left.
    Deleted,
}

impl Action {
    /// The word on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Added => "ADDED",
            Self::Modified => "MODIFIED",
            Self::Deleted => "DELETED",
        }
    }

    /// Reads the word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Added, Self::Modified, Self::Deleted]
            .into_iter()
            .find(|action| action.as_str() == word)
    }
}

/// The instances of an application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Application {
    /// Its name, in upper case.
    pub name: Arc<str>,
    /// Its instances.
    pub instances: Vec<InstanceInfo>,
}

/// Applications, all of them or those that changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applications {
    /// A number for the state; a text on the wire.
    pub version: String,
    /// The hash over all instances that there are.
    pub hash: String,
    /// The applications.
    pub applications: Vec<Application>,
}

impl InstanceInfo {
    /// The id: its own, that of the machine at Amazon, or the host name.
    #[must_use]
    pub fn id(&self) -> &str {
        let own = self.instance_id.as_deref().filter(|id| !id.is_empty());
        let machine = || {
            let metadata = &self.data_center.metadata;
            let is_amazon = &*self.data_center.name == AMAZON;
            metadata
                .get("instance-id")
                .filter(|id| is_amazon && !id.is_empty())
                .map(AsRef::as_ref)
        };
        own.or_else(machine).unwrap_or(&self.host_name)
    }

    /// Whether it is one of the instances behind a name for callers without TLS.
    #[must_use]
    pub fn serves(&self, vip: &str) -> bool {
        lists(self.vip_address.as_deref(), vip)
    }

    /// Whether it is one of the instances behind a name for callers with TLS.
    #[must_use]
    pub fn serves_securely(&self, vip: &str) -> bool {
        lists(self.secure_vip_address.as_deref(), vip)
    }
}

fn lists(names: Option<&str>, name: &str) -> bool {
    let mut names = names.unwrap_or_default().split(',');
    names.any(|listed| listed.trim() == name)
}
