//! An entry of the journal as it is stored: JSON, one line a revision.
//!
//! It says what was said, and how to undo it. A source that is lost or comes back touches all
//! of its instances and changes nothing but whether they are stale, which is stored as just
//! that. What is too large even so is stored without what was said, or as a gap.

use std::sync::Arc;

use portolan_model::{Change, Instance, InstanceId, Origin, Revision, ServiceKey, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Entry, Standing, Undo};

/// Most bytes of a line.
pub const LINE_BYTES_MAX: usize = 4 << 20;

/// An entry of the journal, to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The revision.
    pub revision: Revision,
    /// When it was.
    pub at: Timestamp,
    /// What it was.
    pub text: Vec<u8>,
}

/// What a line says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Text {
    /// A step of the catalogue.
    Step {
        /// What was said; none if that is too much to keep.
        said: Option<Vec<Said>>,
        undo: Vec<Touch>,
    },
    /// A process, which began when this was, went on where the one before it had ended.
    Start,
    /// The same, of one that had begun earlier and was at work until then on becoming what the
    /// one before it was.
    Begun { since: Timestamp },
    /// What was before this is forgotten.
    Gap,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Said {
    pub(super) origin: Origin,
    pub(super) change: Change,
}

/// An instance that was touched.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Touch {
    pub(super) key: ServiceKey,
    pub(super) id: InstanceId,
    pub(super) before: Former,
    #[serde(default, skip_serializing_if = "is_there")]
    pub(super) after: Standing,
}

/// What an instance was before.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Former {
    /// There was none.
    Absent,
    /// This.
    Was(Arc<Instance>),
    /// The same, but stale or not.
    Stale(bool),
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde calls it with a reference"
)]
fn is_there(standing: &Standing) -> bool {
    *standing == Standing::There
}

impl Line {
    /// Says that a process, which had begun at `since`, goes on from `at` where the one before
    /// had ended.
    #[must_use]
    pub fn start(revision: Revision, since: Timestamp, at: Timestamp) -> Self {
        Self::new(revision, at, &Text::Begun { since })
    }

    /// Says that what was before is forgotten.
    #[must_use]
    pub fn gap(revision: Revision, at: Timestamp) -> Self {
        Self::new(revision, at, &Text::Gap)
    }

    pub(super) fn of(entry: &Entry) -> Self {
        let said = entry.events.iter().map(|event| Said {
            origin: event.origin.clone(),
            change: event.change.clone(),
        });
        let mut text = Text::Step {
            said: Some(said.collect()),
            undo: entry.undo.iter().map(Touch::of).collect(),
        };
        let (revision, at) = (entry.revision, entry.at);
        let whole = Self::new(revision, at, &text);
        if whole.text.len() <= LINE_BYTES_MAX {
            return whole;
        }
        if let Text::Step { said, .. } = &mut text {
            *said = None;
        }
        let silent = Self::new(revision, at, &text);
        if silent.text.len() <= LINE_BYTES_MAX {
            return silent;
        }
        Self::gap(revision, at)
    }

    fn new(revision: Revision, at: Timestamp, text: &Text) -> Self {
        Self {
            revision,
            at,
            // The shapes are ours and have JSON.
            text: serde_json::to_vec(text).unwrap_or_default(),
        }
    }
}

impl Touch {
    fn of(undo: &Undo) -> Self {
        let before = match (&undo.before, &undo.after) {
            (None, _) => Former::Absent,
            (Some(before), Some(after)) if is_same_but_stale(before, after) => {
                Former::Stale(before.state.stale)
            }
            (Some(before), _) => Former::Was(Arc::clone(before)),
        };
        Self {
            key: undo.key.clone(),
            id: undo.id.clone(),
            before,
            after: undo.standing(),
        }
    }
}

fn is_same_but_stale(before: &Instance, after: &Instance) -> bool {
    if before.state.stale == after.state.stale || before.endpoints != after.endpoints {
        return false;
    }
    let mut turned = before.clone();
    turned.state.stale = after.state.stale;
    turned == *after
}
