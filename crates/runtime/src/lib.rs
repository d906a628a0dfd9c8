//! The port to the outside of pure code: clock, dice, tasks, sockets, drain.
//!
//! Only this crate reads a clock, draws chance and spawns tasks. Everything else
//! asks an [`Env`], so that a test can put in its own time and replay a seed.

mod backoff;
mod dice;
pub mod drain;
mod env;
pub mod sockets;
mod task;
mod ticker;

pub use backoff::{Backoff, PAUSE_MAX};
pub use dice::Dice;
pub use env::{Elapsed, Env};
pub use task::{Running, Task};
pub use ticker::{Alarm, TICK, Ticker};
