//! What is answered, prepared for each service when it changes.

mod labels;
mod lazy;
mod members;
mod names;
mod reverse;
mod service;
mod shards;
mod table;
mod tables;

pub(crate) use labels::{Label, label_of};
pub(crate) use members::{Group, Member, Members};
pub(crate) use service::Service;
pub(crate) use table::{Key, Table};
pub(crate) use tables::Tables;
