//! The nouns of Portolan: services, instances, events, routes, HTTP heads.
//!
//! Everything above speaks in these words. They are plain data: no I/O, no
//! clock, no lock; time and chance are arguments. A value that exists is valid,
//! because constructors check.

mod cause;
mod event;
pub mod http;
mod instance;
mod name;
mod node;
pub mod percent;
pub mod query;
pub mod route;
mod size;
mod spec;
mod state;
mod time;

pub use cause::{Cause, Side};
pub use event::{Change, Departure, Event, Origin, SourceId};
pub use instance::{Instance, Metadata, NamedPort, Weight};
pub use name::{BadName, InstanceId, Name, ServiceKey};
pub use node::{BadNodeId, NodeId};
pub use size::{BadSize, ByteSize};
pub use spec::{Problem, Spec};
pub use state::{Guard, Health, Override, Ruling, State, Traffic, Verdict};
pub use time::{BadSpan, BadTimestamp, Revision, RevisionClock, Timestamp, parse_span};
