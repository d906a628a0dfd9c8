//! What the API answers.

use std::{io::Write, sync::Arc};

use portolan_model::{Revision, ServiceKey};
use serde::{Deserialize, Serialize};

use super::{ConflictView, EventView, InstanceView, SourceView, view::names};

/// The answer to a registration or a heartbeat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// The catalogue's revision that holds it: every reader sees it by now.
    pub revision: Revision,
    /// The service, without the namespace.
    pub service: Arc<str>,
    /// The service's namespace.
    pub namespace: Arc<str>,
    /// The instance's id.
    pub id: Arc<str>,
    /// How long it may be silent from now on.
    pub ttl: super::Span,
    /// Where the gateway serves the service, if it does by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

impl Written {
    /// An answer without a URL.
    #[must_use]
    pub fn new(revision: Revision, key: &ServiceKey, id: &str, ttl: super::Span) -> Self {
        let (namespace, service) = names(key);
        Self {
            revision,
            service,
            namespace,
            id: id.into(),
            ttl,
            url: None,
        }
    }
}

impl Written {
    /// As JSON, the same as by `serde`: it is what nearly every request is answered with, and its
    /// texts have nothing in them that would have to be escaped.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        let Self {
            revision,
            service,
            namespace,
            id,
            ttl,
            url,
        } = self;
        let mut json = Vec::with_capacity(256);
        json.extend_from_slice(b"{\"revision\":");
        let mut digits = itoa::Buffer::new();
        json.extend_from_slice(digits.format(revision.as_u64()).as_bytes());
        json.extend_from_slice(b",\"service\":");
        push_text(&mut json, service);
        json.extend_from_slice(b",\"namespace\":");
        push_text(&mut json, namespace);
        json.extend_from_slice(b",\"id\":");
        push_text(&mut json, id);
        // A vector takes whatever is written to it.
        let _taken = write!(json, ",\"ttl\":\"{ttl}\"");
        if let Some(url) = url {
            json.extend_from_slice(b",\"url\":");
            push_text(&mut json, url);
        }
        json.push(b'}');
        json
    }
}

fn push_text(json: &mut Vec<u8>, text: &str) {
    let is_plain = |byte: u8| byte >= b' ' && byte != b'"' && byte != b'\\';
    if text.bytes().all(is_plain) {
        json.push(b'"');
        json.extend_from_slice(text.as_bytes());
        json.push(b'"');
    } else {
        // A text has JSON.
        let _taken = serde_json::to_writer(json, text);
    }
}

/// The answer to heartbeats of many instances.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Renewed {
    /// The catalogue's revision.
    pub revision: Revision,
    /// How many were heard.
    pub renewed: usize,
    /// Those that are not here, and should register.
    pub missing: Vec<super::Which>,
}

/// What operators ruled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OverrideList {
    /// The rulings, by service and instance.
    pub overrides: Vec<super::OverrideView>,
}

/// The answer to a deregistration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removed {
    /// The catalogue's revision that no longer holds it.
    pub revision: Revision,
    /// How the drain ended, if one was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain: Option<Drained>,
}

/// How a drain ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "ended")]
pub enum Drained {
    /// All of its requests had come to their end.
    Idle,
    /// Time ran out first; the requests that were still running go on.
    Deadline {
        /// How many those were.
        in_flight: usize,
    },
    /// It registered anew meanwhile and stays.
    Returned,
}

/// All services.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceList {
    /// The catalogue's revision.
    pub revision: Revision,
    /// The services, by namespace and name.
    pub services: Vec<ServiceSummary>,
}

/// A service in short.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceSummary {
    /// The service, without the namespace.
    pub service: Arc<str>,
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its instances.
    pub instances: usize,
    /// Those of them that may get requests.
    pub open: usize,
    /// The revision that changed it last.
    pub modified: Revision,
}

/// A service whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceAnswer {
    /// The catalogue's revision.
    pub revision: Revision,
    /// The service in short.
    #[serde(flatten)]
    pub summary: ServiceSummary,
    /// Its instances, by id.
    #[serde(rename = "members")]
    pub instances: Vec<InstanceView>,
    /// Ids that several sources claim.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conflicts: Vec<ConflictView>,
}

/// The instances of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceList {
    /// The catalogue's revision.
    pub revision: Revision,
    /// The instances, by id.
    pub instances: Vec<InstanceView>,
}

/// A change of the merged catalogue, as a watcher sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// This instance is so; new or changed.
    Put(Box<InstanceView>),
    /// This instance is gone.
    Remove(Gone),
}

/// An instance that is gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gone {
    /// Its service, without the namespace.
    pub service: Arc<str>,
    /// The service's namespace.
    pub namespace: Arc<str>,
    /// Its id.
    pub id: Arc<str>,
}

impl Gone {
    /// Says that an instance is gone.
    #[must_use]
    pub fn new(key: &ServiceKey, id: &str) -> Self {
        let (namespace, service) = names(key);
        Self {
            service,
            namespace,
            id: id.into(),
        }
    }
}

/// The answer to a long poll.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeList {
    /// Ask for what comes after this next.
    pub revision: Revision,
    /// Forget everything: the changes are all instances that there are.
    pub reset: bool,
    /// What changed; empty if nothing did in time.
    pub changes: Vec<Change>,
}

/// The data of the events `reset` and `synced` of a watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Synced {
    /// The catalogue's revision.
    pub revision: Revision,
}

/// Lines of the journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventList {
    /// The catalogue's revision.
    pub revision: Revision,
    /// The events, oldest first.
    pub events: Vec<EventView>,
    /// Whether later events were left out for the limit.
    pub is_cut: bool,
    /// Stretches among them in which something may have happened that is not told.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gaps: Vec<GapView>,
}

/// A stretch of which the journal knows nothing: one process took over from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GapView {
    /// The last revision that is known before it.
    pub after: Revision,
    /// The first one that is known after it.
    pub until: Revision,
}

/// How all sources are doing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SourceList {
    /// The sources, in the order of precedence.
    pub sources: Vec<SourceView>,
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_answer_to_a_write_is_what_serde_makes_of_it() {
        let key = ServiceKey::parse("shop/orders").unwrap();
        let url = |text: &str| Some(text.to_owned());
        for id in ["a", "host:orders:8080", "a\"b", "a\\b", "{}"] {
            for url in [None, url("http://h:1/orders/"), url("\u{1}\"\\\n\u{7f}é")] {
                let ttl = crate::native::Span(Duration::from_millis(1500));
                let revision = Revision::from_u64(u64::MAX);
                let written = Written {
                    url,
                    ..Written::new(revision, &key, id, ttl)
                };
                let expected = serde_json::to_string(&written).unwrap();
                let json = String::from_utf8(written.to_json()).unwrap();
                assert_eq!(json, expected);
            }
        }
    }
}
