//! What is answered: names to what they stand for, and that to records.

mod consul;
mod kubernetes;
mod order;
mod plain;
mod render;
mod reverse;
mod subject;

pub(crate) use order::Order;
pub(crate) use render::{Pen, put_name};
pub(crate) use subject::{Subject, resolve, reversed};
