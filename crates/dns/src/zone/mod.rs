//! What is answered, prepared for each service when it changes.

mod service;
mod table;
mod tables;

pub(crate) use service::{Group, Member, Members, Service};
pub(crate) use table::{Key, Table};
pub(crate) use tables::Tables;
