//! Under `agent/`: what a service does for itself. There is one agent, for all callers.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
    net::IpAddr,
    sync::Arc,
};

use portolan_dialects::consul::{
    AgentPlace, CheckDefinition, CheckUpdate, Maintenance, Parameters, Record, Refusal, Registered,
    ServiceDefinition,
    answer::{AgentServiceView, CheckView, Itself, Member, ServiceView},
    probe_id,
};
use portolan_model::{Health, Verdict};
use portolan_registry::check::ReportError;
use portolan_wire::serve::{Query, Response};
use serde_json::json;

use super::{
    Parts, answering,
    book::ALIVE,
    clerk::subject,
    scene::Scene,
    terms::{Holder, Key},
    waiting::of_everything,
    writing::wait_for,
};

/// The check that says that the whole node is out of service.
const NODE_MAINTENANCE: &str = "_node_maintenance";

pub(super) async fn read(
    parts: &Parts,
    place: &AgentPlace,
    parameters: &Parameters,
    query: &Query<'_>,
) -> Result<Response, Refusal> {
    let scene = Scene::new(parts);
    match place {
        AgentPlace::Itself => answering::json(&itself(parts)),
        AgentPlace::Version => answering::json(&json!({
            "SHA": "", "BuildDate": "1970-01-01T00:00:00Z",
            "HumanVersion": super::VERSION, "FIPS": "",
        })),
        AgentPlace::Metrics if query.find("format") == Some("prometheus") => {
            Ok(answering::text(200, ""))
        }
        AgentPlace::Metrics => answering::json(&json!({
            "Timestamp": parts.env.now().to_string(),
            "Gauges": [], "Points": [], "Counters": [], "Samples": [],
        })),
        AgentPlace::Host => answering::json(&json!({
            "Memory": {}, "CPU": [], "Host": { "hostname": parts.home.node.name }, "Disk": {},
        })),
        AgentPlace::Members if !scene.shows_node(None) => answering::json(&json!([])),
        AgentPlace::Members => answering::json(&[member(parts, query.find("wan").is_some())]),
        AgentPlace::Services => answering::json(&services(&scene, parameters)?),
        AgentPlace::Service(id) => service(parts, id, parameters, query).await,
        AgentPlace::Checks => answering::json(&checks(&scene, parameters)?),
        AgentPlace::HealthByName(name) => by_name(&scene, name, query),
        AgentPlace::HealthById(id) => by_id(&scene, id, query),
        AgentPlace::Monitor => Err(Refusal::bad("Unknown log level, or no log to stream here")),
        AgentPlace::RegisterService
        | AgentPlace::DeregisterService(_)
        | AgentPlace::ServiceMaintenance(_)
        | AgentPlace::Maintenance
        | AgentPlace::RegisterCheck
        | AgentPlace::DeregisterCheck(_)
        | AgentPlace::Pass(_)
        | AgentPlace::Warn(_)
        | AgentPlace::Fail(_)
        | AgentPlace::Update(_)
        | AgentPlace::Reload
        | AgentPlace::Join
        | AgentPlace::Leave
        | AgentPlace::ForceLeave(_)
        | AgentPlace::Token => Err(Refusal::new(405, "method GET not allowed")),
    }
}

pub(super) async fn write(
    parts: &Parts,
    place: AgentPlace,
    (query, body): (&Query<'_>, &[u8]),
    caller: IpAddr,
) -> Result<Response, Refusal> {
    let output = query.find("note").unwrap_or_default();
    let writings = match place {
        AgentPlace::RegisterService => {
            let service = ServiceDefinition::read(body)?;
            let replaces = query.find("replace-existing-checks");
            let replaces = replaces.is_some_and(|value| !matches!(value, "false" | "0" | "f"));
            parts
                .clerk
                .register(Record::new(service, None, caller), replaces)?
        }
        AgentPlace::DeregisterService(id) => {
            let holder = Holder::Service(Key::new(None, &id));
            let gone = parts.clerk.deregister(&holder)?;
            gone.ok_or_else(|| Refusal::unknown_service(&id))?
        }
        AgentPlace::ServiceMaintenance(id) => {
            let maintenance = maintenance(query)?;
            parts.clerk.maintain(&Key::new(None, &id), &maintenance)?
        }
        AgentPlace::Maintenance => return node_maintenance(parts, maintenance(query)?).await,
        AgentPlace::RegisterCheck => {
            let check = CheckDefinition::read(body)?;
            parts.clerk.add_check(None, check)?
        }
        AgentPlace::DeregisterCheck(id) => {
            let key = Key::new(None, &id);
            parts
                .clerk
                .adopt_if_missing(|book| book.check(&key).is_some());
            parts.clerk.change(|book, now| {
                let touched = book.remove_check(now, &key);
                touched.ok_or_else(|| Refusal::unknown_check(&id))
            })?
        }
        AgentPlace::Pass(id) => return hear(parts, &id, Health::Passing, output).await,
        AgentPlace::Warn(id) => return hear(parts, &id, Health::Warning, output).await,
        AgentPlace::Fail(id) => return hear(parts, &id, Health::Critical, output).await,
        AgentPlace::Update(id) => {
            let update = CheckUpdate::read(body)?;
            return hear(parts, &id, update.status, &update.output).await;
        }
        AgentPlace::Reload => Vec::new(),
        AgentPlace::Token => return Err(acl_disabled()),
        AgentPlace::Join | AgentPlace::Leave => {
            return Err(Refusal::new(
                403,
                "Portolan's membership is not changed through this API",
            ));
        }
        AgentPlace::ForceLeave(node) => {
            return Err(Refusal::failed(format!(
                "agent: No node found with name '{node}'"
            )));
        }
        AgentPlace::Itself
        | AgentPlace::Version
        | AgentPlace::Metrics
        | AgentPlace::Host
        | AgentPlace::Members
        | AgentPlace::Services
        | AgentPlace::Service(_)
        | AgentPlace::Checks
        | AgentPlace::HealthByName(_)
        | AgentPlace::HealthById(_)
        | AgentPlace::Monitor => return Err(Refusal::new(405, "method PUT not allowed")),
    };
    wait_for(writings).await?;
    Ok(answering::done())
}

/// What is said while there is no access control.
pub(super) fn acl_disabled() -> Refusal {
    Refusal::new(401, "ACL support disabled")
}

fn maintenance(query: &Query<'_>) -> Result<Maintenance, Refusal> {
    Maintenance::read(query.find("enable"), query.find("reason"))
}

/// A service says what its check is. Answered once every reader sees it.
async fn hear(parts: &Parts, id: &str, status: Health, output: &str) -> Result<Response, Refusal> {
    let key = Key::new(None, id);
    parts
        .clerk
        .adopt_if_missing(|book| book.check(&key).is_some());
    let (subject, said) = {
        let book = parts.clerk.book();
        let (record, check) = book.check(&key).ok_or_else(|| Refusal::unknown_check(id))?;
        (subject(record)?, check.kept(output).to_owned())
    };
    let verdict = Verdict {
        health: status,
        note: Some(said).filter(|said| !said.is_empty()).map(Arc::from),
    };
    let checks = parts.clerk.checks();
    let reported = checks.report(subject.clone(), probe_id(id), verdict);
    match reported.await {
        Ok(()) => {}
        Err(ReportError::Unknown) => return Err(Refusal::unknown_check(id)),
        Err(ReportError::NotReported) => {
            let text = format!("CheckID {id:?} does not have associated TTL");
            return Err(Refusal::missing(text));
        }
        Err(error @ ReportError::Stopped) => return Err(Refusal::new(503, error.to_string())),
    }
    let caught_up = parts.registry.caught_up_on(&subject).await;
    caught_up.map_err(|error| answering::refusal(&error))?;
    Ok(answering::done())
}

/// Takes the agent's node out, with every service on it, or puts it back.
async fn node_maintenance(parts: &Parts, maintenance: Maintenance) -> Result<Response, Refusal> {
    let check = Key::new(None, NODE_MAINTENANCE);
    let mut writings = match &maintenance {
        Maintenance::On(reason) => {
            let definition = CheckDefinition {
                notes: reason.clone(),
                ..CheckDefinition::external(NODE_MAINTENANCE, "Node Maintenance Mode")
            };
            parts.clerk.add_check(None, definition)?
        }
        Maintenance::Off => parts
            .clerk
            .change(|book, now| Ok(book.remove_check(now, &check).unwrap_or_default()))?,
    };
    let keys: Vec<_> = parts
        .clerk
        .book()
        .services()
        .filter(|record| record.node.is_none())
        .map(Key::of)
        .collect();
    for key in keys {
        writings.extend(parts.clerk.maintain(&key, &maintenance)?);
    }
    wait_for(writings).await?;
    Ok(answering::done())
}

fn itself(parts: &Parts) -> Itself {
    let address: Arc<str> = parts.home.node.address.as_str().into();
    let meta = parts.home.node.meta.clone();
    Itself::new(super::config(parts), &address, &super::leader(parts), meta)
}

fn member(parts: &Parts, is_wan: bool) -> Member {
    let address: Arc<str> = parts.home.node.address.as_str().into();
    let member = Member::new(&super::config(parts), &address);
    if !is_wan {
        return member;
    }
    Member {
        name: format!("{}.{}", member.name, parts.home.datacenter),
        port: 8302,
        ..member
    }
}

fn services(
    scene: &Scene<'_>,
    parameters: &Parameters,
) -> Result<BTreeMap<String, AgentServiceView>, Refusal> {
    let filter = parameters.filter_on(&ServiceView::SHAPE)?;
    let views = scene
        .by_id()
        .into_iter()
        .map(|(id, (seen, index))| (id, view(scene, &seen, index)));
    let chosen = views.filter(|(_, view)| {
        let filter = filter.as_ref();
        filter.is_none_or(|filter| filter.chooses(view))
    });
    Ok(chosen.collect())
}

fn view(scene: &Scene<'_>, seen: &Registered, index: u64) -> AgentServiceView {
    // The agent shows what was registered, whoever asked for it.
    let mut service = seen.service(&scene.home.node.address, index);
    service.address = seen.record.service.address.as_str().into();
    AgentServiceView {
        service,
        datacenter: Arc::clone(&scene.home.datacenter),
        content_hash: None,
    }
}

/// One service; with `hash`, once it is another one.
async fn service(
    parts: &Parts,
    id: &str,
    parameters: &Parameters,
    query: &Query<'_>,
) -> Result<Response, Refusal> {
    let find = |scene: &Scene<'_>| {
        let found = scene.find(id);
        let (seen, index) =
            found.ok_or_else(|| Refusal::missing(format!("unknown service ID: {id}")))?;
        let view = view(scene, &seen, index);
        let hash = hash(&serde_json::to_string(&view).unwrap_or_default());
        Ok(AgentServiceView {
            content_hash: Some(hash),
            ..view
        })
    };
    let scene = Scene::new(parts);
    let current = find(&scene)?;
    let wanted = query.find("hash").filter(|hash| !hash.is_empty());
    if wanted.is_none() || wanted != current.content_hash.as_deref() {
        return answering::json(&current);
    }
    // The client has this one: what it waits for is the next.
    let mut parameters = parameters.clone();
    parameters.blocking.index = Some(scene.index());
    of_everything(parts, &parameters, find).await
}

fn hash(text: &str) -> String {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

fn checks(
    scene: &Scene<'_>,
    parameters: &Parameters,
) -> Result<BTreeMap<Arc<str>, CheckView>, Refusal> {
    let filter = parameters.filter_on(&CheckView::SHAPE)?;
    let node: Arc<str> = scene.home.node.name.as_str().into();
    // That it is there at all is no check that anybody registered.
    let mut all = scene.node_checks(None);
    all.retain(|check| &*check.id != ALIVE);
    for (seen, index) in scene.by_id().into_values() {
        all.extend(seen.checks(&node, index));
    }
    if let Some(filter) = filter {
        filter.keep(&mut all);
    }
    let by_id = all.into_iter().map(|check| (Arc::clone(&check.id), check));
    Ok(by_id.collect())
}

fn by_name(scene: &Scene<'_>, name: &str, query: &Query<'_>) -> Result<Response, Refusal> {
    let Some(service) = scene.service(name)? else {
        return aggregate(None, query, &Vec::<()>::new());
    };
    let index = service.modified.as_u64();
    let ours = scene.instances(service).filter(|seen| seen.is_ours);
    let found: Vec<_> = ours.map(|seen| summary(scene, &seen, index)).collect();
    let worst = found.iter().map(|(health, _)| *health);
    let worst = worst.max_by_key(|health| health.severity());
    let all: Vec<_> = found.into_iter().map(|(_, summary)| summary).collect();
    aggregate(worst, query, &all)
}

fn by_id(scene: &Scene<'_>, id: &str, query: &Query<'_>) -> Result<Response, Refusal> {
    let Some((seen, index)) = scene.find(id) else {
        return aggregate(None, query, &());
    };
    let (health, summary) = summary(scene, &seen, index);
    aggregate(Some(health), query, &summary)
}

fn summary(scene: &Scene<'_>, seen: &Registered, index: u64) -> (Health, serde_json::Value) {
    let entry = scene.entry(seen, index);
    let health = Registered::worst(&entry.checks);
    let checks: Vec<_> = entry
        .checks
        .iter()
        .filter(|check| !check.service_id.is_empty())
        .collect();
    let summary = json!({
        "AggregatedStatus": portolan_dialects::consul::answer::status_name(health),
        "Service": view(scene, seen, index),
        "Checks": checks,
    });
    (health, summary)
}

/// The status says it all: 200, 429, 503 or 404.
fn aggregate(
    health: Option<Health>,
    query: &Query<'_>,
    body: &impl serde::Serialize,
) -> Result<Response, Refusal> {
    let (status, word) = match health {
        None => (404, "ServiceName Not Found"),
        Some(Health::Passing) => (200, "passing"),
        Some(Health::Warning) => (429, "warning"),
        Some(Health::Starting | Health::Critical) => (503, "critical"),
    };
    let mut response = if query.find("format") == Some("text") {
        answering::text(status, word)
    } else {
        answering::json(body)?
    };
    *response.status_mut() = http::StatusCode::from_u16(status).unwrap_or_default();
    Ok(response)
}
