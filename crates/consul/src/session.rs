//! Sessions: under `session/`.

use std::sync::Arc;

use portolan_access::{Level, Resource};
use portolan_dialects::consul::{
    Parameters, Refusal, SessionBehavior, SessionDefinition,
    answer::{Indexes, SessionView},
};
use portolan_ledger::{Answer, Behavior, Input, Output, Query, Session, SessionId, Terms};
use portolan_wire::serve::Response;
use serde_json::json;

use super::{
    Parts,
    acl::Permit,
    answering, asking,
    scene::Scene,
    warden::{Standing, standing},
};

pub(super) async fn read(
    parts: &Parts,
    (what, id): (&str, &str),
    parameters: &Parameters,
) -> Result<Response, Refusal> {
    let query = match (what, SessionId::new(id)) {
        ("info", Some(id)) => Query::Session(id),
        (_, _) => Query::Sessions,
    };
    let (output, index) = asking::look_when_news(parts, parameters, query).await?;
    let Output::Sessions(mut sessions) = output else {
        return Err(Refusal::failed("the ledger answered another question"));
    };
    match what {
        "info" => sessions.retain(|session| session.id.as_str() == id),
        "node" => sessions.retain(|session| session.terms.node.eq_ignore_ascii_case(id)),
        _ => {}
    }
    sessions.retain(|session| parts.permit.shows(Resource::Session, &session.terms.node));
    let views: Vec<_> = sessions.iter().map(view).collect();
    let response = answering::json(&views)?;
    Ok(answering::indexed(response, index, parameters.consistency))
}

pub(super) async fn create(parts: &Parts, body: &[u8]) -> Result<Response, Refusal> {
    let (definition, datacenter) = SessionDefinition::read(body)?;
    super::catalog::check_datacenter(parts, datacenter.as_deref())?;
    let node = match definition.node.as_str() {
        "" => parts.home.node.name.clone(),
        name => name.to_owned(),
    };
    parts
        .permit
        .require(Resource::Session, &node, Level::Write)?;
    let terms = Terms {
        name: definition.name,
        node,
        lock_delay: definition.lock_delay,
        behavior: match definition.behavior {
            SessionBehavior::Release => Behavior::Release,
            SessionBehavior::Delete => Behavior::Delete,
        },
        ttl: definition.ttl,
        node_checks: definition.node_checks,
        service_checks: definition.service_checks,
    };
    check_terms(parts, &terms)?;
    let id = SessionId::draw(&mut parts.env.dice());
    match asking::step(parts, Input::Begin { id, terms }).await? {
        Answer::Session(Some(session)) => answering::json(&json!({ "ID": session.id.as_str() })),
        Answer::Session(None) | Answer::Done(_) | Answer::Txn(_) | Answer::Refused(_) => {
            Err(Refusal::failed("the session was not made"))
        }
    }
}

/// A session can't depend on what is not there or is failing already.
fn check_terms(parts: &Parts, terms: &Terms) -> Result<(), Refusal> {
    // Whoever may write sessions of a node need not be shown the node.
    let everything = Permit::default();
    let scene = Scene::of(&parts.home, &parts.clerk, &everything);
    if scene.node_named(&terms.node).is_err() {
        return Err(Refusal::failed("Missing node registration"));
    }
    for check in terms.node_checks.iter().chain(&terms.service_checks) {
        let mut found = standing(&scene, &terms.node, check);
        if found == Standing::Unknown {
            // A predecessor of this process may have left it.
            parts.clerk.adopt_missing();
            found = standing(&scene, &terms.node, check);
        }
        match found {
            Standing::Fine => {}
            Standing::Unknown => {
                let text = format!("Missing check '{check}' registration");
                return Err(Refusal::failed(text));
            }
            Standing::Critical => {
                let text = format!("Check '{check}' is in critical state");
                return Err(Refusal::failed(text));
            }
        }
    }
    Ok(())
}

pub(super) async fn destroy(parts: &Parts, id: &str) -> Result<Response, Refusal> {
    if let Some(id) = SessionId::new(id) {
        permitted(parts, &id).await?;
        // One that is not there has ended as it should.
        let _was_there = asking::done(parts, Input::End(id)).await?;
    }
    answering::json(&true)
}

pub(super) async fn renew(parts: &Parts, id: &str) -> Result<Response, Refusal> {
    let missing = || Refusal::missing(format!("Session id '{id}' not found"));
    let known = SessionId::new(id).ok_or_else(missing)?;
    permitted(parts, &known).await?;
    match asking::step(parts, Input::Renew(known)).await? {
        Answer::Session(Some(session)) => answering::json(&[view(&session)]),
        Answer::Session(None) | Answer::Done(_) | Answer::Txn(_) | Answer::Refused(_) => {
            Err(missing())
        }
    }
}

/// Whether a session may be written: by who may write those of its node.
async fn permitted(parts: &Parts, id: &SessionId) -> Result<(), Refusal> {
    if parts.permit.is_open() {
        return Ok(());
    }
    let (output, _) = asking::look(parts, Query::Session(id.clone())).await?;
    let Output::Sessions(sessions) = output else {
        return Err(Refusal::failed("the ledger answered another question"));
    };
    sessions.iter().try_for_each(|session| {
        let node = &session.terms.node;
        parts.permit.require(Resource::Session, node, Level::Write)
    })
}

fn view(session: &Session) -> SessionView {
    let terms = &session.terms;
    let definition = SessionDefinition {
        name: terms.name.clone(),
        node: terms.node.clone(),
        lock_delay: terms.lock_delay,
        behavior: match terms.behavior {
            Behavior::Release => SessionBehavior::Release,
            Behavior::Delete => SessionBehavior::Delete,
        },
        ttl: terms.ttl,
        node_checks: terms.node_checks.clone(),
        service_checks: terms.service_checks.clone(),
    };
    let id = Arc::from(session.id.as_str());
    SessionView::new(id, &definition, Indexes::at(session.created.as_u64()))
}
