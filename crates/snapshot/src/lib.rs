//! Plan and catalogue become one immutable snapshot, swapped once.
//!
//! The [`Publisher`] is the only writer. It folds what sources say, compiles plans
//! and builds clusters; readers hold a [`View`]. A request runs on the snapshot that
//! it was pinned to, whatever is published meanwhile.

mod cluster;
mod compile;
mod evidence;
mod lane;
mod publisher;
mod sharded;
mod view;
mod witness;

pub use cluster::{Cluster, FIXED_NAMESPACE, Template, fixed_service, services_of};
pub use compile::{Automatic, Compiled};
pub use lane::{Goal, Lane, Way, choose};
pub use publisher::{COALESCE, Ended, Parts, Plans, Publisher};
pub use view::{Follower, Publication, Snapshot, View, WorkerView};
pub use witness::WorkersWitness;
