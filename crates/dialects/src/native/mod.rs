//! The native registry API in JSON: what is sent to it and what it answers.
//!
//! `docs/reference/openapi.json` describes the same shapes. Unknown fields of a request
//! are refused, since they are most often typing errors; unknown fields of an answer
//! must be ignored, so that answers can grow.

mod answer;
mod bounds;
mod check;
mod event;
mod guard;
mod misfit;
mod registration;
mod span;
#[cfg(test)]
mod tests;
mod view;

pub use answer::{
    Change, ChangeList, Drained, EventList, GapView, Gone, InstanceList, OverrideList, Removed,
    Renewed, ServiceAnswer, ServiceList, ServiceSummary, SourceList, Synced, Written,
};
pub(crate) use bounds::is_own_label;
pub use check::{
    AliasShape, AnswerShape, CheckList, CheckShape, CheckView, DockerShape, GrpcShape, H2PingShape,
    HttpShape, PortShape, ScriptShape, StatusShape, TcpShape, TlsShape, UdpShape,
};
pub use event::{EventView, Said};
pub use guard::{
    FlapView, GuardSettingsView, GuardView, HoldView, ResolveAction, ResolveShape, Resolved,
};
pub use misfit::Misfit;
pub use registration::{
    Described, Heartbeat, Heartbeats, OverrideShape, Patch, Registration, Which,
};
pub use span::Span;
pub use view::{
    ConflictView, FailureView, InstanceView, OverrideView, PulseView, RulingView, SourceState,
    SourceView, StalenessView,
};
