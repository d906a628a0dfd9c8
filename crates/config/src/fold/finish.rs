//! What has been read, put together into a plan.

use std::{collections::BTreeMap, sync::Arc};

use portolan_catalog::GuardSettings;

use super::{Folding, Place};
use crate::{
    Access, AccessLog, Admin, Described, Digest, Dns, Finding, Gateway, Listener, ObjectKind,
    ObjectRef, Origin, Plan, PlannedPolicy, PlannedRoute, PlannedSource, PlannedUpstream, Registry,
    Severity, Status, read::RouteDraft,
};

/// What has been read so far.
#[derive(Default)]
pub(crate) struct Parts {
    pub(crate) gateway: Option<Gateway>,
    pub(crate) admin: Option<Admin>,
    pub(crate) status: Option<Status>,
    pub(crate) access: Option<Access>,
    pub(super) access_log: Option<AccessLog>,
    pub(crate) registry: Option<Registry>,
    pub(crate) dns: Option<Dns>,
    pub(super) guard: Option<GuardSettings>,
    pub(crate) policies: Vec<PlannedPolicy>,
    pub(crate) listeners: Vec<Listener>,
    pub(crate) routes: Vec<RouteDraft>,
    pub(crate) upstreams: Vec<PlannedUpstream>,
    pub(super) sources: Vec<PlannedSource>,
}

impl Folding<'_> {
    pub(super) fn finish(self) -> Result<Plan, Vec<Finding>> {
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
            self.dns,
            self.guard,
        );
        let (Some(gateway), Some(admin), Some(access_log), Some(registry), Some(dns), Some(guard)) =
            sections
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
            access: self.access,
            access_log,
            registry,
            dns,
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
