//! Nodes that are registered by hand, and checks of nodes: kept in the ledger.
//!
//! What checks of nodes found is the registry's, as of all checks; here is how they are
//! defined. The book shows a change at once, and whoever asked for it is answered when it would survive
//! a restart. Whenever the ledger reads everything anew (at the start, after a hand-over, a
//! failure or a restore), the book is made to show the same.

use std::{collections::BTreeMap, sync::Arc};

use portolan_dialects::consul::{CheckDefinition, NodeDefinition};
use portolan_ledger::{
    Alteration, Expectation, Kept, Kind, Ledger, LedgerError, Object, Output, Query,
};
use portolan_runtime::Env;

use super::{
    book::Book,
    clerk::Clerk,
    terms::{Fact, Key, Others},
};

/// How long the follower rests after the ledger could not answer.
const REST: std::time::Duration = std::time::Duration::from_secs(1);

impl Fact {
    /// What has to be written of it.
    pub(super) fn alteration(&self, book: &Book) -> Alteration {
        let (kind, id, body) = match self {
            Self::Node(name) => {
                let nodes = book.nodes();
                let node = nodes.known.get(name).map(|(node, _)| node);
                (Kind::Node, name.as_str().into(), node.map(text))
            }
            Self::Check(key) => {
                let check = book.node_check(key);
                let check = check.and_then(|record| record.check(&key.id));
                let body = check.map(|check| text(&(&key.node, check)));
                (Kind::Check, id_of(key), body)
            }
        };
        match body {
            Some(body) => {
                let kept = Kept {
                    body: body.into(),
                    ..Kept::default()
                };
                Alteration::Keep(kind, id, kept, Expectation::Nothing)
            }
            None => Alteration::Forget(kind, id, Expectation::Nothing),
        }
    }
}

fn text(value: &impl serde::Serialize) -> String {
    // Texts, numbers and maps of texts can always be written.
    serde_json::to_string(value).unwrap_or_default()
}

/// The object of a check. A length tells where the node's name ends.
fn id_of(key: &Key) -> Arc<str> {
    let node = key.node.as_deref().unwrap_or_default();
    format!("{}:{node}{}", node.len(), key.id).into()
}

/// What the ledger holds.
pub(super) type Stored = (
    BTreeMap<String, (NodeDefinition, u64)>,
    BTreeMap<Key, CheckDefinition>,
);

/// Makes the book show what the ledger holds.
pub(super) async fn reload(clerk: &Clerk, others: Others) -> Result<(), LedgerError> {
    loop {
        let told = clerk.book().facts_told();
        let stored = stored(clerk.ledger()).await?;
        if let Some(writings) = clerk.replace_nodes(told, stored, others) {
            for writing in writings {
                if let Err(error) = writing.await {
                    tracing::warn!(%error, "registry did not take a check of a node");
                }
            }
            return Ok(());
        }
        // Something was decided in between, and is in the ledger by now.
    }
}

async fn stored(ledger: &Ledger) -> Result<Stored, LedgerError> {
    let mut nodes = BTreeMap::new();
    for (id, object) in objects(ledger, Kind::Node).await? {
        match serde_json::from_str::<NodeDefinition>(&object.body) {
            Ok(node) => drop(nodes.insert(node.name.clone(), (node, object.modified.as_u64()))),
            Err(error) => tracing::error!(%error, instance = %id, "a stored node is damaged"),
        }
    }
    let mut checks = BTreeMap::new();
    for (id, object) in objects(ledger, Kind::Check).await? {
        match serde_json::from_str::<(Option<String>, CheckDefinition)>(&object.body) {
            Ok((node, check)) => {
                let id = check.id.clone();
                checks.insert(Key { node, id }, check);
            }
            Err(error) => tracing::error!(%error, instance = %id, "a stored check is damaged"),
        }
    }
    Ok((nodes, checks))
}

async fn objects(ledger: &Ledger, kind: Kind) -> Result<Vec<(Arc<str>, Object)>, LedgerError> {
    match ledger.look(Query::Objects(kind)).await?.0 {
        Output::Objects(objects) => Ok(objects),
        Output::Entry(_) | Output::Entries(_) | Output::Names(_) | Output::Sessions(_) => {
            Ok(Vec::new())
        }
    }
}

/// Follows the ledger; runs until it has stopped.
pub(super) async fn follow(clerk: &Clerk, env: &Env) {
    let (mut seen, mut others) = (0, Others::Stay);
    loop {
        match clerk.ledger().reloaded(seen).await {
            Ok(now) => seen = now,
            Err(_) => return,
        }
        while let Err(error) = reload(clerk, others).await {
            if matches!(error, LedgerError::Stopped) {
                return;
            }
            tracing::warn!(%error, "nodes can't be read from the ledger; trying again");
            env.sleep(REST).await;
        }
        others = Others::Go;
    }
}
