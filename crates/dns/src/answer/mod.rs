//! What is answered: names to what they stand for, and that to records.

mod browse;
mod consul;
mod kubernetes;
mod order;
mod others;
mod plain;
mod records;
mod render;
mod reverse;
mod subject;

pub(crate) use order::Order;
pub(crate) use render::Pen;
pub(crate) use reverse::put_names;
pub(crate) use subject::{Subject, resolve, reversed};
