//! Nodes.

use std::{collections::BTreeMap, sync::Arc};

use serde::Serialize;

use super::Indexes;
use crate::consul::filter::Shape;

/// A node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct NodeView {
    /// Its id.
    #[serde(rename = "ID")]
    pub id: Arc<str>,
    /// Its name.
    pub node: Arc<str>,
    /// Where it is.
    pub address: Arc<str>,
    /// The datacenter.
    pub datacenter: Arc<str>,
    /// Where it is, by realm.
    pub tagged_addresses: BTreeMap<Arc<str>, Arc<str>>,
    /// Key-value labels.
    pub meta: BTreeMap<Arc<str>, Arc<str>>,
    /// Its indexes.
    #[serde(flatten)]
    pub indexes: Indexes,
}

impl NodeView {
    /// What filters may select.
    pub const SHAPE: Shape = Shape::Object(&[
        ("ID", Shape::Text),
        ("Node", Shape::Text),
        ("Address", Shape::Text),
        ("Datacenter", Shape::Text),
        ("TaggedAddresses", Shape::Map(&Shape::Text)),
        ("Meta", Shape::Map(&Shape::Text)),
        ("CreateIndex", Shape::Number),
        ("ModifyIndex", Shape::Number),
    ]);
}
