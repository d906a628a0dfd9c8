//! Prepared queries: under `query/`.
//!
//! They are objects of the ledger; a name is one's in any case, so it is kept in small letters
//! beside what was defined.

mod execute;
mod shape;
mod template;

use std::sync::Arc;

use http::Method;
use portolan_access::Level;
use portolan_dialects::consul::{Parameters, Refusal, SavedQuery};
use portolan_ledger::{
    Alteration, Expectation, Input, Kept, Kind, Output, Query, Refusal as Refused,
};
use portolan_wire::serve::{Peer, Response};
use serde_json::json;

use super::{Parts, acl, answering, asking};
use shape::Saved;

pub use template::{BadTemplate, Template};

/// What is asked of a query: nothing but itself, to be executed, or to be explained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    Itself,
    Execute,
    Explain,
}

/// Splits what follows `query/`.
fn wish(rest: &str) -> (&str, Wish) {
    if let Some(id) = rest.strip_suffix("/execute") {
        return (id, Wish::Execute);
    }
    match rest.strip_suffix("/explain") {
        Some(id) => (id, Wish::Explain),
        None => (rest, Wish::Itself),
    }
}

/// The methods that a path takes.
pub(super) fn methods(rest: &str) -> &'static [&'static str] {
    match wish(rest) {
        ("", Wish::Itself) => &["GET", "POST"],
        (_, Wish::Itself) => &["GET", "PUT", "DELETE"],
        (_, Wish::Execute | Wish::Explain) => &["GET"],
    }
}

/// How a query is to be executed.
pub(super) struct Asked<'a> {
    pub(super) parameters: &'a Parameters,
    /// The most instances that are wanted.
    pub(super) limit: Option<&'a str>,
    /// Whether only services of a mesh are wanted.
    pub(super) is_mesh: bool,
    pub(super) peer: Option<Peer>,
}

pub(super) async fn read(
    parts: &Parts,
    rest: &str,
    asked: &Asked<'_>,
) -> Result<Response, Refusal> {
    match wish(rest) {
        ("", Wish::Itself) => list(parts, asked.parameters, None).await,
        (id, Wish::Itself) => list(parts, asked.parameters, Some(id)).await,
        (name, Wish::Execute) => {
            let (saved, index) = resolve(parts, name).await?;
            let answer = execute::execute(parts, &saved, asked)?;
            let response = answering::json(&answer)?;
            let consistency = asked.parameters.consistency;
            Ok(answering::indexed(response, index, consistency))
        }
        (name, Wish::Explain) => {
            let (saved, index) = resolve(parts, name).await?;
            acl::vet_query(&parts.permit, &saved.query, Level::Read)?;
            let response = answering::json(&json!({ "Query": saved.view() }))?;
            let consistency = asked.parameters.consistency;
            Ok(answering::indexed(response, index, consistency))
        }
    }
}

/// All queries, or the one of that id.
async fn list(
    parts: &Parts,
    parameters: &Parameters,
    id: Option<&str>,
) -> Result<Response, Refusal> {
    let query = Query::Objects(Kind::Query);
    let (output, index) = asking::look_when_news(parts, parameters, query).await?;
    let mut saved = all(output)?;
    saved.retain(|saved| id.is_none_or(|id| *saved.id == *id));
    match (id, saved.first()) {
        (Some(_), Some(saved)) => acl::vet_query(&parts.permit, &saved.query, Level::Read)?,
        (Some(_), None) => return Err(not_found()),
        (None, _) => saved.retain(|saved| acl::lists_query(&parts.permit, &saved.query)),
    }
    let views: Vec<_> = saved.iter().map(Saved::view).collect();
    let response = answering::json(&views)?;
    Ok(answering::indexed(response, index, parameters.consistency))
}

fn not_found() -> Refusal {
    Refusal::missing("Query not found")
}

fn all(output: Output) -> Result<Vec<Saved>, Refusal> {
    let Output::Objects(objects) = output else {
        return Err(Refusal::failed("the ledger answered another question"));
    };
    objects
        .into_iter()
        .map(|(id, object)| Saved::of(id, &object))
        .collect()
}

/// The query of that id or name, or the one that the nearest template makes of the name.
async fn resolve(parts: &Parts, name: &str) -> Result<(Saved, u64), Refusal> {
    let (output, index) = asking::look(parts, Query::Objects(Kind::Query)).await?;
    let saved = all(output)?;
    let found = pick(saved, name)?.ok_or_else(not_found)?;
    Ok((found, index.as_u64()))
}

fn pick(mut all: Vec<Saved>, name: &str) -> Result<Option<Saved>, Refusal> {
    if let Some(at) = all.iter().position(|saved| *saved.id == *name) {
        let saved = all.swap_remove(at);
        if saved.query.template.is_some() {
            let text = "prepared query templates can only be resolved up by name, not by ID";
            return Err(Refusal::failed(text));
        }
        return Ok(Some(saved));
    }
    let wanted = name.to_lowercase();
    let reach = |saved: &Saved| {
        let own = saved.query.name.to_lowercase();
        let is_reached = match saved.query.template {
            Some(_) => wanted.starts_with(&own),
            None => wanted == own && !own.is_empty(),
        };
        is_reached.then_some((own == wanted, own.len()))
    };
    let nearest = all
        .into_iter()
        .filter_map(|saved| reach(&saved).map(|reach| (reach, saved)))
        .max_by_key(|(reach, _)| *reach);
    let Some((_, saved)) = nearest else {
        return Ok(None);
    };
    if saved.query.template.is_none() {
        return Ok(Some(saved));
    }
    let template = Template::compile(&saved.query).map_err(|bad| broken(&bad))?;
    let query = template.render(name);
    Ok(Some(Saved { query, ..saved }))
}

fn broken(bad: &BadTemplate) -> Refusal {
    Refusal::failed(format!("failed compiling template: {bad}"))
}

pub(super) async fn write(
    parts: &Parts,
    rest: &str,
    (method, body): (&Method, &[u8]),
) -> Result<Response, Refusal> {
    let (id, _) = wish(rest);
    match *method {
        Method::POST => {
            let id = parts.env.dice().uuid();
            keep(parts, &id, body, Expectation::Absent).await?;
            answering::json(&json!({ "ID": id }))
        }
        Method::PUT => {
            vet_before(parts, id).await?;
            keep(parts, &id.into(), body, Expectation::Present).await?;
            Ok(answering::done())
        }
        _ => {
            vet_before(parts, id).await?;
            let gone = Alteration::Forget(Kind::Query, id.into(), Expectation::Present);
            alter(parts, id, "", gone).await?;
            Ok(answering::done())
        }
    }
}

/// Refuses to change the query of that id, if there is one.
async fn vet_before(parts: &Parts, id: &str) -> Result<(), Refusal> {
    if parts.permit.is_open() {
        return Ok(());
    }
    let (output, _) = asking::look(parts, Query::Objects(Kind::Query)).await?;
    let before = all(output)?.into_iter().find(|saved| *saved.id == *id);
    before.map_or(Ok(()), |before| {
        acl::vet_query(&parts.permit, &before.query, Level::Write)
    })
}

async fn keep(
    parts: &Parts,
    id: &Arc<str>,
    body: &[u8],
    expected: Expectation,
) -> Result<(), Refusal> {
    let query = SavedQuery::read(body)?;
    acl::vet_query(&parts.permit, &query, Level::Write)?;
    if query.name.is_empty() && query.template.is_none() && query.session.is_empty() {
        let text = "Invalid prepared query: Must be bound to a session";
        return Err(Refusal::failed(text));
    }
    if query.template.is_some() {
        Template::compile(&query).map_err(|bad| broken(&bad))?;
    }
    let session = match query.session.as_str() {
        "" => None,
        text => Some(super::kv::session(text)?),
    };
    let name = query.name.to_lowercase();
    // There is one template that stands for all names.
    let is_named = !name.is_empty() || query.template.is_some();
    let body = serde_json::to_string(&query).map_err(|error| Refusal::failed(error.to_string()))?;
    let kept = Kept {
        alias: is_named.then(|| name.into()),
        session,
        body: body.into(),
    };
    let alteration = Alteration::Keep(Kind::Query, Arc::clone(id), kept, expected);
    alter(parts, id, &query.name, alteration).await
}

async fn alter(parts: &Parts, id: &str, name: &str, alteration: Alteration) -> Result<(), Refusal> {
    let answer = parts.ledger.step(Input::Alter(vec![alteration])).await;
    let refused = match answer {
        Ok(portolan_ledger::Answer::Refused(refused)) => refused,
        Ok(_) => return Ok(()),
        Err(error) => return Err(asking::failed(&error)),
    };
    let is_taken = matches!(refused, Refused::AliasTaken(_));
    let text = if matches!(refused, Refused::Unexpected(_)) {
        format!("Cannot modify non-existent prepared query: '{id}'")
    } else if is_taken && name.is_empty() {
        "a query template with an empty name already exists".to_owned()
    } else if is_taken {
        format!("name '{name}' aliases an existing query name")
    } else if matches!(refused, Refused::AliasIsId(_)) {
        format!("name '{name}' aliases an existing query ID")
    } else {
        return Err(asking::refusal(&refused));
    };
    Err(Refusal::failed(text))
}
