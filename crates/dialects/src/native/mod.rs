//! The native registry API in JSON: what is sent to it and what it answers.
//!
//! `docs/reference/openapi.json` describes the same shapes. Unknown fields of a request
//! are refused, since they are most often typing errors; unknown fields of an answer
//! must be ignored, so that answers can grow.

mod answer;
mod check;
mod event;
mod registration;
mod span;
#[cfg(test)]
mod tests;
mod view;

pub use answer::{
    Change, ChangeList, Drained, EventList, Gone, InstanceList, Removed, ServiceAnswer,
    ServiceList, ServiceSummary, SourceList, Synced, Written,
};
pub use check::{CheckShape, HttpShape, TcpShape};
pub use event::{EventView, Said};
pub use registration::{Described, Heartbeat, Misfit, Registration};
pub use span::Span;
pub use view::{ConflictView, InstanceView, SourceView, StalenessView};
