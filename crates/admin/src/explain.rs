//! Why a request goes where it goes.

use portolan_model::{
    Name, ServiceKey,
    http::{Method, RequestHead, normalise_authority},
    route::{HostMatch, PathMatch},
};
use portolan_policy::Chain;
use portolan_router::{Body, Considered, Outcome, Unmet, Verdict};
use portolan_snapshot::{Lane, Snapshot, Way};
use portolan_wire::serve::Query;
use serde::Serialize;

use crate::pools::{Pool, absence, label, pool};

/// Most rules that are shown; those of other hosts are not.
const RULES_MAX: usize = 100;

#[derive(Debug, Serialize)]
struct Rule {
    route: String,
    host: String,
    path: String,
    verdict: String,
}

#[derive(Serialize)]
pub(crate) struct Explained {
    request: String,
    listener: Option<String>,
    /// What happens, in one sentence.
    summary: String,
    route: Option<String>,
    /// The frozen chain.
    policies: Vec<Step>,
    targets: Vec<Goal>,
    /// The rules that were looked at, in the order of precedence.
    rules: Vec<Rule>,
}

#[derive(Serialize)]
struct Step {
    kind: &'static str,
    phase: String,
}

#[derive(Serialize)]
struct Goal {
    /// Its share of the route's requests, in percent.
    share_percent: f64,
    #[serde(flatten)]
    pool: Pool,
}

/// Answers `url`, `method`, `header` (`name: value`, any number) and `listener`.
pub(crate) fn explain(snapshot: &Snapshot, query: &str) -> Result<Explained, String> {
    let query = Query::parse(query).map_err(|error| error.to_string())?;
    let head = head(&query)?;
    let plan = &snapshot.compiled.plan;
    let listener = match query.find("listener") {
        Some(name) => {
            let known = plan.listeners.iter().position(|l| l.name.as_str() == name);
            Some(known.ok_or_else(|| format!("no listener is called `{name}`"))?)
        }
        None => (!plan.listeners.is_empty()).then_some(0),
    };
    let name = listener.and_then(|place| plan.listeners.get(place));
    let name = name.map(|listener| listener.name.clone());
    let anywhere = Name::parse("anywhere").map_err(|error| error.to_string())?;
    let asked = name.as_ref().unwrap_or(&anywhere);
    let router = &snapshot.compiled.router;
    let considered = router.explain(asked, &head, Body::Unread);
    let rules = considered.filter(|rule| rule.verdict != Verdict::Unmet(Unmet::Host));
    let rules: Vec<Rule> = rules.take(RULES_MAX).map(|rule| shown(&rule)).collect();
    let (lane, targets, summary) = aim(snapshot, asked, &head);
    let chain = lane.and_then(|lane| lane.chains.get(listener.unwrap_or_default()));
    Ok(Explained {
        request: format!("{} {}{}", head.method, head.authority, head.target.as_str()),
        listener: name.map(|name| name.to_string()),
        summary,
        route: lane.map(|lane| lane.route.to_string()),
        policies: chain.map(steps).unwrap_or_default(),
        targets,
        rules,
    })
}

/// The request that is asked about.
fn head(query: &Query<'_>) -> Result<RequestHead, String> {
    let url = query
        .find("url")
        .ok_or("say which `url`, like ?url=http://shop.example.com/cart")?;
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let (authority, target) = match rest.find(['/', '?']) {
        Some(end) => rest.split_at(end),
        None => (rest, "/"),
    };
    let method = query.find("method").unwrap_or("GET");
    let mut head = RequestHead {
        method: Method::parse(method).ok_or_else(|| format!("`{method}` is not a method"))?,
        ..RequestHead::default()
    };
    if !authority.is_empty() && !normalise_authority(&mut head.authority, authority.as_bytes()) {
        return Err(format!("`{authority}` is not a host"));
    }
    let target = if target.starts_with('/') {
        target.to_owned()
    } else {
        format!("/{target}")
    };
    head.target
        .set_text(&target)
        .map_err(|error| format!("`{target}`: {error}"))?;
    for header in query.all("header") {
        let (name, value) = header
            .split_once(':')
            .ok_or_else(|| format!("`{header}` is not `name: value`"))?;
        head.fields
            .push(name.trim(), value.trim().as_bytes())
            .map_err(|error| format!("`{header}`: {error}"))?;
    }
    Ok(head)
}

fn shown(rule: &Considered<'_>) -> Rule {
    Rule {
        route: rule.route.to_string(),
        host: match rule.host {
            None => "*".to_owned(),
            Some(HostMatch::Exact(host)) => host.clone(),
            Some(HostMatch::Suffix(suffix)) => format!("*{suffix}"),
        },
        path: match &rule.condition.path {
            PathMatch::Exact(path) => format!("exact {path}"),
            PathMatch::Prefix(path) => format!("prefix {path}"),
            PathMatch::Template(path) => format!("template {path}"),
            PathMatch::Regex(path) => format!("regex {path}"),
        },
        verdict: match rule.verdict {
            Verdict::Wins => "wins".to_owned(),
            Verdict::ComesLater => "would match, but comes later".to_owned(),
            Verdict::Unmet(unmet) => unmet.to_string(),
        },
    }
}

fn steps(chain: &Chain) -> Vec<Step> {
    let policies = chain.policies().iter();
    let step = policies.map(|placed| Step {
        kind: placed.kind,
        phase: format!("{:?}", placed.phase).to_lowercase(),
    });
    step.collect()
}

/// The lane, who may get the request, and that in words.
fn aim<'s>(
    snapshot: &'s Snapshot,
    listener: &Name,
    head: &RequestHead,
) -> (Option<&'s Lane>, Vec<Goal>, String) {
    let compiled = &snapshot.compiled;
    match compiled.router.find(listener, head) {
        Outcome::Found(found) => {
            let lane = &**found.payload;
            let (goals, words) = goals(snapshot, lane);
            let summary = format!("route {} {words}", found.route);
            (Some(lane), goals, summary)
        }
        Outcome::WantsBody { limit } => {
            let summary = format!("it depends on the body, up to {limit}");
            (None, Vec::new(), summary)
        }
        Outcome::Nothing(miss) => match &compiled.automatic {
            Some(automatic) => {
                let (goals, words) = by_name(snapshot, head);
                (Some(&automatic.lane), goals, words)
            }
            None if !miss.allowed.is_empty() => {
                let summary = format!("405: no route takes {} there", head.method);
                (None, Vec::new(), summary)
            }
            None if miss.host_known => (None, Vec::new(), "404: no route matches".to_owned()),
            None => {
                let summary = format!("404: no route serves the host `{}`", head.host());
                (None, Vec::new(), summary)
            }
        },
    }
}

fn goals(snapshot: &Snapshot, lane: &Lane) -> (Vec<Goal>, String) {
    let goals = match &lane.way {
        Way::Quarantine(reason) => return (Vec::new(), format!("is in quarantine: {reason}")),
        Way::Automatic => return (Vec::new(), "finds a service by its name".to_owned()),
        Way::Goals { goals } => goals,
    };
    let total = goals.last().map_or(0, |goal| goal.weight_sum);
    let mut before = 0;
    let mut shown = Vec::new();
    let (mut labels, mut absent) = (Vec::new(), Vec::new());
    for goal in goals {
        let weight = goal.weight_sum - before;
        before = goal.weight_sum;
        if let Some(cluster) = snapshot.clusters.get(goal.cluster) {
            labels.push(label(cluster));
            absent.extend(absence(cluster).map(|why| (label(cluster), why)));
            shown.push(Goal {
                share_percent: f64::from(weight) * 100.0 / f64::from(total.max(1)),
                pool: pool(cluster),
            });
        }
    }
    (shown, in_words(&labels, &absent))
}

/// Where a route's requests go, and what those get that nobody can serve.
fn in_words(labels: &[String], absent: &[(String, String)]) -> String {
    let labels = labels.join(" or ");
    match absent {
        _ if labels.is_empty() => "answers by a policy".to_owned(),
        [] => format!("gets it and sends it to {labels}"),
        [(label, why)] if *label == labels => format!("gets it for {label} and answers {why}"),
        some => {
            let parts = some
                .iter()
                .map(|(label, why)| format!("; what is for {label} is answered {why}"));
            let parts: String = parts.collect();
            format!("gets it and sends it to {labels}{parts}")
        }
    }
}

/// The built-in lane: `<service>.localhost`, or the first segment of the path.
fn by_name(snapshot: &Snapshot, head: &RequestHead) -> (Vec<Goal>, String) {
    let segment = head.path().split('/').nth(1).unwrap_or_default();
    let host = head.host().strip_suffix(".localhost");
    let Ok(key) = ServiceKey::parse(host.unwrap_or(segment)) else {
        let words = "404: name a service: /<service>/... or http://<service>.localhost/";
        return (Vec::new(), words.to_owned());
    };
    match snapshot.automatic(&key) {
        Some(cluster) => {
            let goal = Goal {
                share_percent: 100.0,
                pool: pool(cluster),
            };
            let words = match absence(cluster) {
                None => format!("the built-in lane sends it to the service {key}"),
                Some(why) => format!("the built-in lane answers {why}"),
            };
            (vec![goal], words)
        }
        None => (Vec::new(), format!("404: no service is called {key}")),
    }
}
