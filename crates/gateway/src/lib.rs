//! Listeners, workers and the walk of a request.
//!
//! Read in the order of a request's life: `gateway` starts the workers, `accept`
//! takes sockets, `front` makes requests of them, `walk` routes them and runs their
//! policies, `dispatch` picks an instance, `back` carries them there, `answer` says
//! what went wrong, and `tally` counts how it ended.

mod accept;
mod answer;
mod back;
mod connection;
mod dispatch;
mod explain;
mod forward;
mod front;
mod gateway;
mod listener;
mod responder;
mod tally;
mod walk;
mod worker;

pub use gateway::{Gateway, OpenError};
pub use listener::{ListenerState, Settings};
pub use worker::Shared;
