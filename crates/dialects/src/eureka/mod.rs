//! Eureka's REST protocol, version 2, in JSON and XML: what is sent to it and what it answers.
//!
//! Both sides of the wire are here, so that a server and a client of ours can't disagree.
//! Whatever is read is bounded in depth, number and size, and understood in every manner
//! in which Eureka's clients write it; what is written is what Java's server writes.
//!
//! What Eureka knows of an instance and the model has no place for stands in the
//! instance's metadata under [`RESERVED`]. It is therefore handed over, stored and shown
//! like everything else, and comes back as it was.
//!
//! Source: Netflix Eureka 1.x and 2.x, resources and converters of its server and client.

mod batch;
mod foreign;
mod format;
mod info;
mod json;
mod map;
mod node;
mod path;
mod read;
mod status;
#[cfg(test)]
mod tests;
mod write;
mod xml;

pub use batch::{
    BATCH_MAX, Deed, Replicated, Replication, read_batch, read_replicated, write_replicated,
};
pub use format::{Format, accepts_gzip};
pub use info::{Action, Application, Applications, DataCenter, InstanceInfo, Lease, Pages, Port};
pub use map::{Kept, RESERVED, Rejection, app_of, check, describe, kept, show, status_of};
pub use node::{DEPTH_MAX, INSTANCES_MAX, LIST_NODES_MAX, NODES_MAX, TEXT_BYTES_MAX, Unreadable};
pub use path::Place;
pub use read::{read_application, read_applications, read_instance, read_sound_applications};
pub use status::{Counts, Sender, Status, resolve};
pub use write::{
    application_piece, write_application, write_applications, write_instance, write_map,
};
