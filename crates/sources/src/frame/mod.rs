//! What sources share, so that each is only its protocol.
//!
//! [`Fields`] reads settings, [`Basics`] those that every source has, [`Mapping`] turns
//! what the outside says into instances, [`following`] keeps a source alive over outages,
//! [`Teller`] says what changed and nothing else, [`Servers`] calls servers over HTTP, [`Seats`] are for questions
//! to them that wait for long.

mod basics;
mod fields;
mod follow;
mod found;
mod mapping;
mod parts;
mod provenance;
mod seats;
mod servers;
mod teller;
#[cfg(test)]
mod tests;
mod view;

pub use portolan_runtime::{Backoff, PAUSE_MAX};

pub use basics::{Basics, address_of};
pub use fields::Fields;
pub use follow::{Ended, Follow, follow, following};
pub use found::{Found, Unfit, foreign_id, foreign_name};
pub use mapping::Mapping;
pub use parts::Parts;
pub use provenance::Provenance;
pub use seats::{InTheClear, NoSeat, Seat, Seats};
pub use servers::{Servers, ServersSettings, tls};
pub use teller::Teller;
pub use view::{Place, Unfits, View};
