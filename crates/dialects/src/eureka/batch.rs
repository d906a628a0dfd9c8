//! Batches by which servers tell each other what they were told.

use std::sync::Arc;

use super::{
    Format, InstanceInfo,
    node::{NODES_MAX, Unreadable},
    read::{document, instance, number, root},
    write::{self, fields},
};

/// Most items of a batch: what Eureka's own servers send at most.
pub const BATCH_MAX: usize = 250;

/// What a peer was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// A sign of life.
    Heartbeat,
    /// A registration.
    Register,
    /// A deregistration.
    Cancel,
    /// An override.
    StatusUpdate,
    /// The end of an override.
    DeleteStatusOverride,
}

impl Deed {
    /// Every deed.
    pub const ALL: [Self; 5] = [
        Self::Heartbeat,
        Self::Register,
        Self::Cancel,
        Self::StatusUpdate,
        Self::DeleteStatusOverride,
    ];

    /// The word on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Heartbeat => "Heartbeat",
            Self::Register => "Register",
            Self::Cancel => "Cancel",
            Self::StatusUpdate => "StatusUpdate",
            Self::DeleteStatusOverride => "DeleteStatusOverride",
        }
    }
}

/// One item of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replication {
    /// What happened.
    pub deed: Deed,
    /// The application, as written.
    pub app: Arc<str>,
    /// The instance.
    pub id: Arc<str>,
    /// When the instance last changed itself.
    pub last_dirty: Option<u64>,
    /// The override.
    pub overridden: Option<Arc<str>>,
    /// The status.
    pub status: Option<Arc<str>>,
    /// The instance, in a registration.
    pub info: Option<InstanceInfo>,
}

/// What is answered to one item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replicated {
    /// The status that the call would have had by itself.
    pub status: u16,
    /// What we know of the instance, if that is newer.
    pub info: Option<InstanceInfo>,
}

/// Reads a batch.
///
/// # Errors
/// [`Unreadable`]: the sender's fault.
pub fn read_batch(format: Format, bytes: &[u8]) -> Result<Vec<Replication>, Unreadable> {
    let mut list = document(format, bytes, NODES_MAX)?;
    if format == Format::Xml {
        // Whatever the root is called.
        list = list.members.pop().map(|(_, root)| root).unwrap_or_default();
    }
    let mut batch = Vec::new();
    for node in list.all("replicationList") {
        if batch.len() >= BATCH_MAX {
            return Err(Unreadable::Shape(format!("more than {BATCH_MAX} items")));
        }
        let text = |name| node.text(name).map(Arc::<str>::from);
        let word = node.text("action").unwrap_or_default();
        let deed = Deed::ALL.into_iter().find(|deed| deed.as_str() == word);
        let deed = deed.ok_or_else(|| Unreadable::Shape("an unknown `action`".to_owned()))?;
        batch.push(Replication {
            deed,
            app: text("appName").unwrap_or_default(),
            id: text("id").unwrap_or_default(),
            last_dirty: number(node, "lastDirtyTimestamp")?,
            overridden: text("overriddenStatus"),
            status: text("status"),
            info: node.find("instanceInfo").map(instance).transpose()?,
        });
    }
    Ok(batch)
}

/// The answer to a batch, item by item.
#[must_use]
pub fn write_replicated(format: Format, answers: &[Replicated]) -> Vec<u8> {
    write::document(format, |out| {
        if format == Format::Xml {
            out.open("replicationListResponse", None);
        }
        out.open_list("responseList");
        for answer in answers {
            out.open_item("responseList");
            out.number("statusCode", answer.status.into());
            if let Some(info) = &answer.info {
                out.open("responseEntity", None);
                fields(out, info);
                out.close("responseEntity");
            }
            out.close("responseList");
        }
        out.close_list();
        if format == Format::Xml {
            out.close("replicationListResponse");
        }
    })
}

/// Reads the answer to a batch.
///
/// # Errors
/// [`Unreadable`]: the sender's fault.
pub fn read_replicated(format: Format, bytes: &[u8]) -> Result<Vec<Replicated>, Unreadable> {
    let list = match format {
        Format::Json => document(format, bytes, NODES_MAX)?,
        Format::Xml => root(format, bytes, "replicationListResponse")?,
    };
    let answers = list.all("responseList").map(|node| {
        Ok(Replicated {
            status: number(node, "statusCode")?.unwrap_or(0),
            info: node.find("responseEntity").map(instance).transpose()?,
        })
    });
    answers.collect()
}
