//! Everything that is read, from the tree that both formats become.

use std::{collections::BTreeMap, str::FromStr, sync::Arc};

use super::{
    Action, Application, Applications, DataCenter, Format, InstanceInfo, Lease, Pages, Port,
    Status,
    info::{AMAZON, AMAZON_CLASS, DATA_CENTER_CLASS},
    json,
    node::{INSTANCES_MAX, LIST_NODES_MAX, NODES_MAX, Node, Unreadable},
    xml,
};

/// Reads an instance: the body of a registration, or the answer about one.
///
/// # Errors
/// [`Unreadable`]: the sender's fault.
pub fn read_instance(format: Format, bytes: &[u8]) -> Result<InstanceInfo, Unreadable> {
    instance(&root(format, bytes, "instance")?)
}

/// Reads the answer about an application.
///
/// # Errors
/// [`Unreadable`]: the sender's fault.
pub fn read_application(format: Format, bytes: &[u8]) -> Result<Application, Unreadable> {
    application(&root(format, bytes, "application")?)
}

/// Reads the answer about applications, all or those that changed.
///
/// # Errors
/// [`Unreadable`]: the sender's fault.
pub fn read_applications(format: Format, bytes: &[u8]) -> Result<Applications, Unreadable> {
    applications(format, bytes, Err)
}

/// Reads the answer about applications, and passes over instances that can't be read:
/// gives why, for each of them.
///
/// # Errors
/// [`Unreadable`]: the sender's fault, if it is not about a single instance.
pub fn read_sound_applications(
    format: Format,
    bytes: &[u8],
) -> Result<(Applications, Vec<Unreadable>), Unreadable> {
    let mut unread = Vec::new();
    let read = applications(format, bytes, |why| {
        unread.push(why);
        Ok(())
    })?;
    Ok((read, unread))
}

fn applications(
    format: Format,
    bytes: &[u8],
    mut pass_over: impl FnMut(Unreadable) -> Result<(), Unreadable>,
) -> Result<Applications, Unreadable> {
    let root = member(document(format, bytes, LIST_NODES_MAX)?, "applications")?;
    let mut applications = Vec::new();
    for node in root.all("application") {
        let mut read = Application {
            name: upper(node.text("name").unwrap_or_default()),
            instances: Vec::new(),
        };
        for node in node.all("instance") {
            match instance(node) {
                Ok(info) => read.instances.push(info),
                Err(why) => pass_over(why)?,
            }
        }
        applications.push(read);
    }
    let instances = applications
        .iter()
        .map(|found: &Application| found.instances.len());
    if instances.sum::<usize>() > INSTANCES_MAX {
        return Err(Unreadable::Shape(format!(
            "more than {INSTANCES_MAX} instances"
        )));
    }
    Ok(Applications {
        version: doubled(&root, "versions__delta", "versions_delta"),
        hash: doubled(&root, "apps__hashcode", "apps_hashcode"),
        applications,
    })
}

/// Reads a document and goes down to the object that it is about.
pub(super) fn root(format: Format, bytes: &[u8], name: &str) -> Result<Node, Unreadable> {
    member(document(format, bytes, NODES_MAX)?, name)
}

pub(super) fn document(format: Format, bytes: &[u8], nodes: usize) -> Result<Node, Unreadable> {
    match format {
        Format::Json => json::parse(bytes, nodes),
        Format::Xml => xml::parse(bytes, nodes),
    }
}

fn member(mut document: Node, name: &str) -> Result<Node, Unreadable> {
    let mut members = document.members.iter();
    let place = members.position(|(given, _)| **given == *name);
    match place {
        Some(place) => Ok(document.members.swap_remove(place).1),
        None => Err(Unreadable::Shape(format!("`{name}` is missing"))),
    }
}

/// A field whose underscore some write twice.
fn doubled(node: &Node, double: &str, single: &str) -> String {
    let text = node.text(double).or_else(|| node.text(single));
    text.unwrap_or_default().to_owned()
}

fn application(node: &Node) -> Result<Application, Unreadable> {
    Ok(Application {
        name: upper(node.text("name").unwrap_or_default()),
        instances: node
            .all("instance")
            .map(instance)
            .collect::<Result<_, _>>()?,
    })
}

/// Application names are upper case, whoever wrote them.
fn upper(name: &str) -> Arc<str> {
    name.trim().to_ascii_uppercase().into()
}

pub(super) fn instance(node: &Node) -> Result<InstanceInfo, Unreadable> {
    let text = |name| field(node, name).map(Arc::<str>::from);
    let required = |name| text(name).unwrap_or_default();
    let status = |names: &[&str]| {
        let given = names.iter().find_map(|name| field(node, name));
        given.map(Status::read)
    };
    Ok(InstanceInfo {
        instance_id: text("instanceId").filter(|id| !id.is_empty()),
        host_name: required("hostName"),
        app: upper(node.text("app").unwrap_or_default()),
        app_group_name: text("appGroupName"),
        ip_addr: required("ipAddr"),
        sid: text("sid").filter(|sid| &**sid != "na"),
        port: port(node, "port", Port::PLAIN)?,
        secure_port: port(node, "securePort", Port::SECURE)?,
        pages: Pages(Pages::NAMES.map(text)),
        vip_address: text("vipAddress"),
        secure_vip_address: text("secureVipAddress"),
        country_id: number(node, "countryId")?.unwrap_or(1),
        data_center: data_center(node.find("dataCenterInfo")),
        // Who says nothing is up, as in Java.
        status: status(&["status"]).unwrap_or(Status::Up),
        overridden: status(&["overriddenStatus", "overriddenstatus"]).unwrap_or(Status::Unknown),
        lease: node
            .find("leaseInfo")
            .map_or_else(|| Ok(Lease::default()), lease)?,
        is_coordinator: field(node, "isCoordinatingDiscoveryServer") == Some("true"),
        metadata: metadata(node.find("metadata")),
        last_updated: number(node, "lastUpdatedTimestamp")?.unwrap_or(0),
        last_dirty: number(node, "lastDirtyTimestamp")?.unwrap_or(0),
        action: field(node, "actionType").and_then(Action::parse),
        asg_name: text("asgName"),
    })
}

/// The text of a member, without the space that people put around it in XML.
fn field<'n>(node: &'n Node, name: &str) -> Option<&'n str> {
    node.text(name).map(str::trim)
}

pub(super) fn number<T: FromStr>(node: &Node, name: &str) -> Result<Option<T>, Unreadable> {
    let Some(text) = field(node, name).filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let number = text.parse();
    number.map(Some).map_err(|_| bad_number(name, text))
}

fn bad_number(name: &str, text: &str) -> Unreadable {
    // Whoever sent something long knows what it was.
    let text: String = text.chars().take(40).collect();
    Unreadable::Shape(format!("`{name}` is `{text}`, not a number in its bounds"))
}

/// A bare number or an object, as a text or not. Whether it is open is said or as usual.
fn port(node: &Node, name: &str, usual: Port) -> Result<Port, Unreadable> {
    let Some(given) = node.find(name) else {
        return Ok(usual);
    };
    let text = given.content().unwrap_or_default().trim();
    let number = text.parse().map_err(|_| bad_number(name, text))?;
    let is_enabled = match field(given, "@enabled") {
        Some(word) if usual.is_enabled => !word.eq_ignore_ascii_case("false"),
        Some(word) => word.eq_ignore_ascii_case("true"),
        None => usual.is_enabled,
    };
    Ok(Port { number, is_enabled })
}

fn data_center(node: Option<&Node>) -> DataCenter {
    let Some(node) = node else {
        return DataCenter {
            class: "".into(),
            name: "".into(),
            metadata: BTreeMap::new(),
        };
    };
    let name: Arc<str> = field(node, "name").unwrap_or_default().into();
    let class = field(node, "@class").unwrap_or(if &*name == AMAZON {
        AMAZON_CLASS
    } else {
        DATA_CENTER_CLASS
    });
    DataCenter {
        class: class.into(),
        name,
        metadata: metadata(node.find("metadata")),
    }
}

fn lease(node: &Node) -> Result<Lease, Unreadable> {
    let time = |name| number(node, name).map(Option::unwrap_or_default);
    let seconds = |name, usual| {
        let given: Option<i64> = number(node, name)?;
        // Java reads nothing and less than nothing as what is usual.
        let given = given.filter(|seconds| *seconds > 0);
        Ok(given.map_or(usual, |seconds| u32::try_from(seconds).unwrap_or(u32::MAX)))
    };
    let renewed = match time("lastRenewalTimestamp")? {
        0 => time("renewalTimestamp")?,
        renewed => renewed,
    };
    Ok(Lease {
        renewal_seconds: seconds("renewalIntervalInSecs", Lease::RENEWAL_SECONDS)?,
        duration_seconds: seconds("durationInSecs", Lease::DURATION_SECONDS)?,
        registered: time("registrationTimestamp")?,
        renewed,
        evicted: time("evictionTimestamp")?,
        up_since: time("serviceUpTimestamp")?,
    })
}

/// The labels; what begins with `@` is for Java's reader.
fn metadata(node: Option<&Node>) -> BTreeMap<Arc<str>, Arc<str>> {
    let members = node.into_iter().flat_map(|node| &node.members);
    let labels = members.filter(|(key, _)| !key.starts_with('@'));
    labels
        .filter_map(|(key, value)| Some((Arc::from(&**key), Arc::from(value.content()?))))
        .collect()
}
