//! What only Eureka knows of an instance, as metadata under the reserved prefix.

use std::{net::IpAddr, ops::Bound, str::FromStr, sync::Arc};

use portolan_model::Metadata;
use serde::{Deserialize, Serialize};

use super::{
    DataCenter, InstanceInfo, Lease, Pages, Port, Status,
    map::{RESERVED, Rejection, bounded, is_usual},
};
use crate::native::is_own_label;

/// Set where an instance said no id of its own, so that none is told of it.
pub(super) const NAMELESS: &str = "nameless";

/// Whether a label is not the instance's own: what only Eureka knows of it, or one of
/// Portolan's, which nobody else may write and not everybody may read.
pub(super) fn is_reserved(key: &str) -> bool {
    key.starts_with(RESERVED) || is_own_label(key)
}

/// Reads what was put.
pub(super) struct Extras<'m> {
    metadata: &'m Metadata,
    is_empty: bool,
}

impl<'m> Extras<'m> {
    pub(super) fn of(metadata: &'m Metadata) -> Self {
        let after = metadata
            .range::<str, _>((Bound::Included(RESERVED), Bound::Unbounded))
            .next();
        Self {
            metadata,
            is_empty: !after.is_some_and(|(key, _)| key.starts_with(RESERVED)),
        }
    }

    /// Whether the instance came by another protocol.
    pub(super) const fn is_empty(&self) -> bool {
        self.is_empty
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.text(name).is_some()
    }

    pub(super) fn text(&self, name: &str) -> Option<Arc<str>> {
        if self.is_empty {
            return None;
        }
        let value = self.metadata.get(&*format!("{RESERVED}{name}"));
        value.cloned()
    }

    pub(super) fn number<T: FromStr>(&self, name: &str) -> Option<T> {
        self.text(name).and_then(|text| text.parse().ok())
    }

    pub(super) fn status(&self, name: &str) -> Option<Status> {
        self.text(name).and_then(|text| Status::parse(&text))
    }
}

/// A data centre as one text.
#[derive(Serialize, Deserialize)]
struct Place {
    class: Arc<str>,
    name: Arc<str>,
    #[serde(default, skip_serializing_if = "Metadata::is_empty")]
    metadata: Metadata,
}

pub(super) fn read_data_center(text: &str) -> Option<DataCenter> {
    let Place {
        class,
        name,
        metadata,
    } = serde_json::from_str(text).ok()?;
    Some(DataCenter {
        class,
        name,
        metadata,
    })
}

fn write_data_center(data_center: &DataCenter) -> Option<String> {
    let place = Place {
        class: Arc::clone(&data_center.class),
        name: Arc::clone(&data_center.name),
        metadata: data_center.metadata.clone(),
    };
    serde_json::to_string(&place).ok()
}

/// Puts in what can't be told from the instance itself. The time of the instance's last
/// change is always there, and says by which protocol it came.
pub(super) fn put(
    info: &InstanceInfo,
    ip: IpAddr,
    metadata: &mut Metadata,
) -> Result<(), Rejection> {
    let ip = ip.to_string();
    let mut put = |name: &'static str, text: Option<&str>| {
        if let Some(text) = text {
            bounded(name, text)?;
            metadata.insert(format!("{RESERVED}{name}").into(), text.into());
        }
        Ok(())
    };
    let other = |text: &'_ Arc<str>| **text != *ip;
    put(
        "hostName",
        Some(&info.host_name)
            .filter(|name| other(name))
            .map(AsRef::as_ref),
    )?;
    put(
        "ipAddr",
        Some(&info.ip_addr)
            .filter(|text| other(text))
            .map(AsRef::as_ref),
    )?;
    for (name, text) in [
        ("appGroupName", &info.app_group_name),
        ("sid", &info.sid),
        ("vipAddress", &info.vip_address),
        ("secureVipAddress", &info.secure_vip_address),
        ("asgName", &info.asg_name),
    ] {
        put(name, text.as_deref())?;
    }
    for (name, page) in Pages::NAMES.into_iter().zip(&info.pages.0) {
        put(name, page.as_deref())?;
    }
    let is_nameless = info.instance_id.is_none().then_some("true");
    put(NAMELESS, is_nameless)?;
    let is_coordinator = info.is_coordinator.then_some("true");
    put("isCoordinatingDiscoveryServer", is_coordinator)?;
    if !is_usual(&info.data_center) {
        let place = write_data_center(&info.data_center);
        put("dataCenterInfo", place.as_deref())?;
    }
    for (name, status) in [
        ("status", said(info.status)),
        ("overriddenStatus", overridden(info.overridden)),
    ] {
        put(name, status.map(Status::as_str))?;
    }
    for (name, number) in numbers(info) {
        put(name, number.map(|number| number.to_string()).as_deref())?;
    }
    Ok(())
}

/// The words for which health has none.
const fn said(status: Status) -> Option<Status> {
    match status {
        Status::OutOfService | Status::Unknown => Some(status),
        Status::Up | Status::Down | Status::Starting => None,
    }
}

const fn overridden(status: Status) -> Option<Status> {
    match status {
        Status::Unknown => None,
        Status::OutOfService | Status::Up | Status::Down | Status::Starting => Some(status),
    }
}

/// Numbers, as far as they are not what is usual.
fn numbers(info: &InstanceInfo) -> [(&'static str, Option<u64>); 10] {
    let lease = &info.lease;
    let unless = |number: u64, usual: u64| (number != usual).then_some(number);
    let is_usual = info.secure_port == Port::SECURE && info.port.number > 0;
    let closed = |port: Port| (!port.is_enabled || port.number == 0).then(|| port.number.into());
    [
        ("port", closed(info.port)),
        ("securePort", closed(info.secure_port).filter(|_| !is_usual)),
        ("countryId", unless(info.country_id.into(), 1)),
        (
            "renewalIntervalInSecs",
            unless(lease.renewal_seconds.into(), Lease::RENEWAL_SECONDS.into()),
        ),
        (
            "durationInSecs",
            unless(
                lease.duration_seconds.into(),
                Lease::DURATION_SECONDS.into(),
            ),
        ),
        ("registrationTimestamp", Some(lease.registered)),
        ("evictionTimestamp", unless(lease.evicted, 0)),
        ("serviceUpTimestamp", Some(lease.up_since)),
        ("lastDirtyTimestamp", Some(info.last_dirty)),
        ("lastUpdatedTimestamp", Some(info.last_updated)),
    ]
}
