//! File and stored objects to one plan.
//!
//! Each object is checked and read by itself; then their relations are checked.
//! An error in what there is once (gateway, admin, global policies, ...) leaves no
//! plan at all: running without a global policy would be worse than keeping what
//! runs. An error in a named object sets that one aside.

mod finish;
mod merge;

use std::collections::{BTreeMap, BTreeSet};

use portolan_model::{Name, Problem, SourceId};

pub(crate) use finish::Parts;

use crate::{
    Digest, Finding, ObjectKind, ObjectRef, Outside, Plan, PlannedSource, PlannedUpstream,
    RawObjects, Severity, StoredObject,
    check::Checker,
    exposure,
    raw::{RawObject, shape_of},
    read::{Reader, access, guard, status},
    relations,
    report::{Document, Report},
    tree::{Node, Span},
};
use merge::merge;

/// Reads a file. `file` is its name for people.
///
/// # Errors
/// All findings, when there is no plan: the text is broken, or something that there is
/// once has an error. Other errors are findings of the plan.
pub fn read(file: &str, text: &str, outside: &Outside<'_>) -> Result<Plan, Vec<Finding>> {
    fold(RawObjects::parse(file, text)?, Vec::new(), outside)
}

/// Folds the objects of a file and of the store into one plan. Where both have an object
/// of the same name, the file's applies, and there is a finding.
///
/// # Errors
/// As [`read`].
pub fn fold(
    file: RawObjects,
    stored: Vec<StoredObject>,
    outside: &Outside<'_>,
) -> Result<Plan, Vec<Finding>> {
    let RawObjects { objects, findings } = file;
    let given_twice = findings
        .iter()
        .filter_map(|finding| finding.object.clone())
        .collect();
    let mut report = Report::new(Document::Default);
    report.findings = findings;
    let objects = merge(objects, stored, &mut report);
    let mut folding = Folding {
        outside,
        report,
        has_routes: objects
            .iter()
            .any(|raw| raw.object.kind == ObjectKind::Route),
        given_twice,
        places: BTreeMap::new(),
        parts: Parts::default(),
    };
    for object in objects {
        folding.take(object);
    }
    relations::check(&mut folding);
    exposure::check(&mut folding);
    folding.finish()
}

/// What runs without any configuration.
#[expect(
    clippy::expect_used,
    reason = "an empty file has no findings; a test reads one"
)]
pub(crate) fn zero_config() -> Plan {
    let balancers = portolan_balance::KINDS;
    let shelves = crate::Shelves {
        balancers,
        ..crate::Shelves::default()
    };
    let outside = Outside {
        shelves,
        ..Outside::default()
    };
    read("", "", &outside).expect("the defaults have no errors")
}

/// The plan in the making.
pub(crate) struct Folding<'a> {
    pub(crate) outside: &'a Outside<'a>,
    pub(crate) report: Report,
    has_routes: bool,
    given_twice: BTreeSet<ObjectRef>,
    /// Where each object stands, until the relations are checked.
    pub(crate) places: BTreeMap<ObjectRef, Place>,
    pub(crate) parts: Parts,
}

/// An object that has been read.
pub(crate) struct Place {
    pub(crate) document: Document,
    pub(crate) at: Span,
    pub(crate) node: Node,
    pub(crate) is_quarantined: bool,
}

impl Folding<'_> {
    fn take(&mut self, raw: RawObject) {
        let RawObject {
            object,
            document,
            at,
            node,
        } = raw;
        self.report.begin(Some(object.clone()), document.clone());
        let Some(shape) = shape_of(&object) else {
            self.report
                .error(at, Problem::new("", "there is no such section"));
            return;
        };
        let variable = match document {
            Document::File(_) => Some(self.outside.variable),
            Document::Stored(_) | Document::Default => None,
        };
        let shelves = self.outside.shelves;
        let node = Checker {
            shelves,
            variable,
            report: &mut self.report,
        }
        .check(node, shape, at);
        match object.kind {
            ObjectKind::Section => self.section(&object.name, &node, at),
            ObjectKind::Listener => self.listener(&object.name, &node, at),
            ObjectKind::Route => self.route(&object.name, &node, at),
            ObjectKind::Upstream => self.upstream(&object.name, &node, at),
            ObjectKind::Source => self.source(&object.name, &node),
        }
        let is_quarantined = self.is_bad(&object);
        self.places.insert(
            object,
            Place {
                document,
                at,
                node,
                is_quarantined,
            },
        );
    }

    /// Whether the object that is being read has an error.
    fn is_bad(&self, object: &ObjectRef) -> bool {
        self.report.has_errors() || self.given_twice.contains(object)
    }

    /// Whether something was written there that is not what holds by default.
    pub(crate) fn is_written(&self, object: &ObjectRef, pointer: &str) -> bool {
        let place = self.places.get(object);
        place.is_some_and(|place| {
            let written = place.node.to_json_as_written();
            written.pointer(pointer).is_some()
        })
    }

    /// Adds a finding about a part of an object that has been read.
    pub(crate) fn blame(
        &mut self,
        object: &ObjectRef,
        pointer: &str,
        severity: Severity,
        problem: Problem,
    ) {
        let Some(place) = self.places.get(object) else {
            return;
        };
        let span = place.node.at_pointer(pointer).unwrap_or(place.at);
        self.report
            .begin(Some(object.clone()), place.document.clone());
        match severity {
            Severity::Error => self.report.error(span, problem),
            Severity::Warning => self.report.warning(span, problem),
        }
    }

    /// Sets an object aside.
    pub(crate) fn quarantine(&mut self, object: &ObjectRef) {
        if let Some(place) = self.places.get_mut(object) {
            place.is_quarantined = true;
        }
    }

    /// Whether there is such an object, and it is not set aside.
    pub(crate) fn applies(&self, object: &ObjectRef) -> bool {
        self.places
            .get(object)
            .is_some_and(|place| !place.is_quarantined)
    }

    pub(crate) fn is_quarantined(&self, object: &ObjectRef) -> bool {
        self.places
            .get(object)
            .is_some_and(|place| place.is_quarantined)
    }

    fn section(&mut self, name: &Name, node: &Node, at: Span) {
        let automatic = !self.has_routes;
        let mut reader = Reader {
            outside: self.outside,
            report: &mut self.report,
        };
        match name.as_str() {
            "gateway" => self.parts.gateway = reader.gateway(node, at, automatic),
            "admin" => self.parts.admin = reader.admin(node, at),
            "status" => self.parts.status = status(node),
            "access" => self.parts.access = access(node),
            "access_log" => self.parts.access_log = reader.access_log(node),
            "registry" => self.parts.registry = reader.registry(node, at),
            "dns" => self.parts.dns = reader.dns(node, at),
            "guard" => self.parts.guard = guard(node),
            // The only other section; an unknown one has no shape.
            _ => self.parts.policies = reader.policy_list(node).unwrap_or_default(),
        }
    }

    fn listener(&mut self, name: &Name, node: &Node, at: Span) {
        let listener = Reader {
            outside: self.outside,
            report: &mut self.report,
        }
        .listener(name, node, at);
        if !self.is_bad(&ObjectRef::new(ObjectKind::Listener, name.clone())) {
            self.parts.listeners.extend(listener);
        }
    }

    fn route(&mut self, name: &Name, node: &Node, at: Span) {
        let draft = Reader {
            outside: self.outside,
            report: &mut self.report,
        }
        .route(name, node, at);
        self.parts.routes.extend(draft);
    }

    fn upstream(&mut self, name: &Name, node: &Node, at: Span) {
        let read = Reader {
            outside: self.outside,
            report: &mut self.report,
        }
        .upstream(name, node, at);
        if self.is_bad(&ObjectRef::new(ObjectKind::Upstream, name.clone())) {
            return;
        }
        let digest = Digest::of_json(&node.to_json());
        let planned = |(upstream, balance)| PlannedUpstream {
            upstream,
            balance,
            digest,
        };
        self.parts.upstreams.extend(read.map(planned));
    }

    fn source(&mut self, name: &Name, node: &Node) {
        let read = Reader {
            outside: self.outside,
            report: &mut self.report,
        }
        .source(node);
        if self.is_bad(&ObjectRef::new(ObjectKind::Source, name.clone())) {
            return;
        }
        let digest = Digest::of_json(&node.to_json());
        let planned = |(kind, spec)| {
            let id = SourceId::new(&format!("{kind}:{name}"));
            PlannedSource { id, spec, digest }
        };
        self.parts.sources.extend(read.map(planned));
    }
}
