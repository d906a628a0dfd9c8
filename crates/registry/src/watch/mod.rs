//! Watches of the merged catalogue: many readers, no queues.
//!
//! A [`Watcher`] remembers what it told its client last, not what happened since. When
//! its service changes, it compares that with the newest catalogue and tells the
//! difference. A slow client therefore costs no memory and loses no final state: what
//! came and went in between is skipped. Resuming works the same way, with the state at
//! an earlier revision from the journal; if that is forgotten, the client starts over. What
//! is told of an instance is encoded once for everybody.

mod differences;
mod hub;
mod watcher;

pub(crate) use hub::Shared;
pub use hub::{Hub, HubTask};
pub use watcher::{Scope, Told, Watcher};
