//! File and stored objects to one plan.
//!
//! Each object is checked and read by itself; then their relations are checked.
//! An error in what there is once (gateway, admin, global policies, ...) leaves no
//! plan at all: running without a global policy would be worse than keeping what
//! runs. An error in a named object sets that one aside.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use portolan_catalog::GuardSettings;
use portolan_model::{Name, Problem, SourceId};

use crate::{
    AccessLog, Admin, Described, Digest, Finding, Gateway, Listener, ObjectKind, ObjectRef, Origin,
    Outside, Plan, PlannedPolicy, PlannedRoute, PlannedSource, PlannedUpstream, RawObjects,
    Registry, Severity, Status, StoredObject,
    check::Checker,
    raw::{RawObject, shape_of},
    read::{Reader, RouteDraft},
    relations,
    report::{Document, Report},
    tree::{Node, Span},
};

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

/// One list of objects, each named once.
fn merge(file: Vec<RawObject>, stored: Vec<StoredObject>, report: &mut Report) -> Vec<RawObject> {
    let mut objects = file;
    let is_listener = |object: &ObjectRef| object.kind == ObjectKind::Listener;
    if stored.iter().any(|stored| is_listener(&stored.object)) {
        objects.retain(|raw| !(is_listener(&raw.object) && raw.is_default()));
    }
    let mut places: BTreeMap<ObjectRef, usize> = objects
        .iter()
        .enumerate()
        .map(|(place, raw)| (raw.object.clone(), place))
        .collect();
    for object in stored {
        let raw = RawObject::from(object);
        let taken = places
            .get(&raw.object)
            .and_then(|place| objects.get_mut(*place));
        match taken {
            None => {
                places.insert(raw.object.clone(), objects.len());
                objects.push(raw);
            }
            Some(first) if first.is_default() => *first = raw,
            Some(first) => {
                report.begin(Some(raw.object.clone()), raw.document);
                let first = first.document.origin(first.at);
                let problem =
                    Problem::new("", format!("it is at {first} too, and that one applies"))
                        .with_help("rename one of the two, or remove it");
                report.warning(raw.at, problem);
            }
        }
    }
    objects
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

/// What has been read so far.
#[derive(Default)]
pub(crate) struct Parts {
    pub(crate) gateway: Option<Gateway>,
    pub(crate) admin: Option<Admin>,
    pub(crate) status: Option<Status>,
    access_log: Option<AccessLog>,
    registry: Option<Registry>,
    guard: Option<GuardSettings>,
    pub(crate) policies: Vec<PlannedPolicy>,
    pub(crate) listeners: Vec<Listener>,
    pub(crate) routes: Vec<RouteDraft>,
    pub(crate) upstreams: Vec<PlannedUpstream>,
    sources: Vec<PlannedSource>,
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
            "status" => self.parts.status = reader.status(node),
            "access_log" => self.parts.access_log = reader.access_log(node),
            "registry" => self.parts.registry = reader.registry(node, at),
            "guard" => self.parts.guard = reader.guard(node),
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

    fn finish(self) -> Result<Plan, Vec<Finding>> {
        let Self {
            report,
            places,
            mut parts,
            ..
        } = self;
        let mut findings = report.findings;
        findings.sort_by_key(|finding| match &finding.origin {
            Origin::File { span, .. } => (0, span.start),
            Origin::Stored(_) => (1, 0),
            Origin::Default => (2, 0),
        });
        let is_fatal = |finding: &Finding| {
            let object = finding.object.as_ref();
            finding.severity == Severity::Error
                && object.is_none_or(|object| object.kind == ObjectKind::Section)
        };
        if findings.iter().any(is_fatal) {
            return Err(findings);
        }
        let objects: BTreeMap<ObjectRef, Described> = places
            .into_iter()
            .map(|(object, place)| (object, place.describe()))
            .collect();
        let reasons = reasons(&findings);
        let drafts = std::mem::take(&mut parts.routes);
        let routes = drafts
            .into_iter()
            .filter_map(|draft| planned(draft, &objects, &reasons));
        let routes = routes.collect();
        parts.plan(routes, findings, objects)
    }
}

/// The first error of each object.
fn reasons(findings: &[Finding]) -> BTreeMap<ObjectRef, Arc<str>> {
    let mut reasons = BTreeMap::new();
    for finding in findings
        .iter()
        .filter(|finding| finding.severity == Severity::Error)
    {
        let Some(object) = finding.object.clone() else {
            continue;
        };
        let reason = || format!("{}: {}", finding.origin, finding.message).into();
        reasons.entry(object).or_insert_with(reason);
    }
    reasons
}

/// A route that is set aside keeps its conditions and nothing else.
fn planned(
    draft: RouteDraft,
    objects: &BTreeMap<ObjectRef, Described>,
    reasons: &BTreeMap<ObjectRef, Arc<str>>,
) -> Option<PlannedRoute> {
    let RouteDraft {
        mut route,
        mut policies,
        ..
    } = draft;
    let object = ObjectRef::new(ObjectKind::Route, route.name.clone());
    let described = objects.get(&object)?;
    let quarantine = described.quarantined.then(|| {
        route.policies.clear();
        route.targets.clear();
        policies.clear();
        // Without an error of its own, what it needs is set aside.
        reasons
            .get(&object)
            .cloned()
            .unwrap_or_else(|| "its upstream is set aside".into())
    });
    Some(PlannedRoute {
        route,
        policies,
        digest: described.digest,
        quarantine,
    })
}

impl Parts {
    fn plan(
        self,
        routes: Vec<PlannedRoute>,
        findings: Vec<Finding>,
        objects: BTreeMap<ObjectRef, Described>,
    ) -> Result<Plan, Vec<Finding>> {
        let sections = (
            self.gateway,
            self.admin,
            self.access_log,
            self.registry,
            self.guard,
        );
        let (Some(gateway), Some(admin), Some(access_log), Some(registry), Some(guard)) = sections
        else {
            // A section that is not read has an error, and errors ended this before.
            return Err(findings);
        };
        let of_object = |digest: Digest, (object, described): (&ObjectRef, &Described)| {
            digest
                .and(Digest::of(&object.to_string()))
                .and(described.digest)
        };
        Ok(Plan {
            gateway,
            admin,
            status: self.status,
            access_log,
            registry,
            guard,
            listeners: self.listeners,
            policies: self.policies,
            routes,
            upstreams: self.upstreams,
            sources: self.sources,
            digest: objects.iter().fold(Digest::of(""), of_object),
            findings,
            objects,
        })
    }
}

impl Place {
    fn describe(self) -> Described {
        Described {
            origin: self.document.origin(self.at),
            digest: Digest::of_json(&self.node.to_json()),
            written: self.node.to_json_as_written().to_string().into(),
            quarantined: self.is_quarantined,
        }
    }
}
