//! Everything that is written, field by field, once for both formats.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    Action, DataCenter, Format, InstanceInfo, Pages,
    info::{AMAZON, AMAZON_CLASS, DATA_CENTER_CLASS},
    json::JsonOut,
    xml::XmlOut,
};

/// The class by which Java clients read a map without entries.
const EMPTY_MAP_CLASS: &str = "java.util.Collections$EmptyMap";

/// The version of every list, as Eureka's lists have it: clients read it as a small number.
const VERSION: &str = "1";

/// What one format makes of a field.
pub(super) trait Out {
    /// Begins an object, with the class that Java reads it by.
    fn open(&mut self, name: &str, class: Option<&str>);
    /// Ends it.
    fn close(&mut self, name: &str);
    /// What the override's field is called.
    fn overridden(&self) -> &'static str;
    /// A text.
    fn text(&mut self, name: &str, text: &str);
    /// A number.
    fn number(&mut self, name: &str, number: u64);
    /// A text whose name may be anything.
    fn label(&mut self, name: &str, text: &str);
    /// A port.
    fn port(&mut self, name: &str, number: u16, is_enabled: bool);
    /// Begins a list, whose items are objects.
    fn open_list(&mut self, name: &str);
    /// Begins an item, which [`Self::close`] ends.
    fn open_item(&mut self, name: &str);
    /// An item that was written before.
    fn piece(&mut self, piece: &[u8]);
    /// Ends a list.
    fn close_list(&mut self);
}

/// An instance as a document.
#[must_use]
pub fn write_instance(format: Format, info: &InstanceInfo) -> Vec<u8> {
    document(format, |out| {
        out.open("instance", None);
        fields(out, info);
        out.close("instance");
    })
}

/// An application as a document.
#[must_use]
pub fn write_application(format: Format, name: &str, instances: &[InstanceInfo]) -> Vec<u8> {
    document(format, |out| {
        out.open("application", None);
        application(out, name, instances);
        out.close("application");
    })
}

/// An application as a piece for [`write_applications`].
#[must_use]
pub fn application_piece(format: Format, name: &str, instances: &[InstanceInfo]) -> Vec<u8> {
    let write = |out: &mut dyn Out| {
        out.open_item("application");
        application(out, name, instances);
        out.close("application");
    };
    match format {
        Format::Json => {
            let mut out = JsonOut::default();
            write(&mut out);
            out.into_piece()
        }
        Format::Xml => {
            let mut out = XmlOut::default();
            write(&mut out);
            out.finish()
        }
    }
}

/// Applications as a document: the revision of all of them, the hash over all instances
/// that there are, and the pieces. Some clients look at nothing whose version and hash they
/// have seen.
pub fn write_applications<'p>(
    format: Format,
    hash: &str,
    pieces: impl IntoIterator<Item = &'p [u8]>,
) -> Vec<u8> {
    let mut pieces = pieces.into_iter();
    document(format, |out| {
        out.open("applications", None);
        out.text("versions__delta", VERSION);
        out.text("apps__hashcode", hash);
        out.open_list("application");
        for piece in pieces.by_ref() {
            out.piece(piece);
        }
        out.close_list();
        out.close("applications");
    })
}

/// A map of texts as a document: its entries in JSON, an element of that name in XML.
#[must_use]
pub fn write_map(format: Format, name: &str, entries: &BTreeMap<String, String>) -> Vec<u8> {
    document(format, |out| {
        if format == Format::Xml {
            out.open(name, None);
        }
        for (key, value) in entries {
            out.label(key, value);
        }
        if format == Format::Xml {
            out.close(name);
        }
    })
}

pub(super) fn document(format: Format, mut write: impl FnMut(&mut dyn Out)) -> Vec<u8> {
    match format {
        Format::Json => {
            let mut out = JsonOut::document();
            write(&mut out);
            out.finish()
        }
        Format::Xml => {
            let mut out = XmlOut::default();
            write(&mut out);
            out.finish()
        }
    }
}

fn application(out: &mut dyn Out, name: &str, instances: &[InstanceInfo]) {
    out.text("name", name);
    out.open_list("instance");
    for info in instances {
        out.open_item("instance");
        fields(out, info);
        out.close("instance");
    }
    out.close_list();
}

/// The fields of an instance. What looks like a number and stands as a text is so in
/// Eureka, too.
pub(super) fn fields(out: &mut dyn Out, info: &InstanceInfo) {
    maybe(out, "instanceId", info.instance_id.as_deref());
    out.text("hostName", &info.host_name);
    out.text("app", &info.app);
    maybe(out, "appGroupName", info.app_group_name.as_deref());
    out.text("ipAddr", &info.ip_addr);
    maybe(out, "sid", info.sid.as_deref().filter(|sid| *sid != "na"));
    out.text("status", info.status.as_str());
    out.text(out.overridden(), info.overridden.as_str());
    out.port("port", info.port.number, info.port.is_enabled);
    let secure = info.secure_port;
    out.port("securePort", secure.number, secure.is_enabled);
    out.number("countryId", info.country_id.into());
    data_center(out, &info.data_center);
    lease(out, info);
    metadata(out, &info.metadata);
    for (name, page) in Pages::NAMES.into_iter().zip(&info.pages.0) {
        maybe(out, name, page.as_deref());
    }
    maybe(out, "vipAddress", info.vip_address.as_deref());
    maybe(out, "secureVipAddress", info.secure_vip_address.as_deref());
    let is_coordinator = if info.is_coordinator { "true" } else { "false" };
    out.text("isCoordinatingDiscoveryServer", is_coordinator);
    out.text("lastUpdatedTimestamp", &info.last_updated.to_string());
    out.text("lastDirtyTimestamp", &info.last_dirty.to_string());
    maybe(out, "actionType", info.action.map(Action::as_str));
    maybe(out, "asgName", info.asg_name.as_deref());
}

fn maybe(out: &mut dyn Out, name: &str, text: Option<&str>) {
    if let Some(text) = text {
        out.text(name, text);
    }
}

fn data_center(out: &mut dyn Out, data_center: &DataCenter) {
    let class = match (&*data_center.class, &*data_center.name) {
        ("", AMAZON) => AMAZON_CLASS,
        ("", _) => DATA_CENTER_CLASS,
        (class, _) => class,
    };
    out.open("dataCenterInfo", Some(class));
    out.text("name", &data_center.name);
    if !data_center.metadata.is_empty() {
        metadata(out, &data_center.metadata);
    }
    out.close("dataCenterInfo");
}

fn lease(out: &mut dyn Out, info: &InstanceInfo) {
    let lease = &info.lease;
    out.open("leaseInfo", None);
    for (name, number) in [
        ("renewalIntervalInSecs", lease.renewal_seconds.into()),
        ("durationInSecs", lease.duration_seconds.into()),
        ("registrationTimestamp", lease.registered),
        ("lastRenewalTimestamp", lease.renewed),
        ("evictionTimestamp", lease.evicted),
        ("serviceUpTimestamp", lease.up_since),
    ] {
        out.number(name, number);
    }
    out.close("leaseInfo");
}

fn metadata(out: &mut dyn Out, metadata: &BTreeMap<Arc<str>, Arc<str>>) {
    out.open("metadata", metadata.is_empty().then_some(EMPTY_MAP_CLASS));
    for (key, value) in metadata {
        out.label(key, value);
    }
    out.close("metadata");
}
