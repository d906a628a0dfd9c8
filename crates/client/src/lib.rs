//! Self-registration: a program tells Portolan where it is, for as long as it runs.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//!
//! use portolan_client::Registration;
//! use portolan_runtime::Env;
//!
//! let env = Env::system();
//! let keeper = Registration::new("orders")
//!     .port(8081)
//!     .zone("eu-1")
//!     .start(&env)?;
//! // ... serve requests until told to stop, then:
//! keeper.leave(Duration::from_secs(30)).await?;
//! # Ok(())
//! # }
//! ```
//!
//! A [`Registration`] says what an instance is, a [`Keeper`] keeps it registered: it renews
//! at a third of the TTL, registers again when the registry has lost it, goes to another
//! registry when one is away, and never gives up. The program never waits for any of this.

mod api;
mod keep;
mod keeper;
mod pace;
mod registration;
mod standing;
#[cfg(test)]
mod tests;

pub use keeper::{Keeper, LeaveError, Left};
pub use registration::{BadRegistration, Registration};
pub use standing::{Registered, Standing};
