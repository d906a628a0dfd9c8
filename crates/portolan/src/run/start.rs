//! What the program begins with.

use std::error::Error;

use portolan_model::NodeId;
use portolan_registry::Stored;
use portolan_runtime::{Env, sockets::Sockets};

use crate::{
    cli,
    data_lock::DataLock,
    handover::{Inheritance, Succession, take_over},
    node_id::node_id,
    service_manager::inherited_listeners,
    store::Store,
};

/// What the program begins with: nothing, or what a predecessor hands over.
pub(super) struct Start {
    pub(super) sockets: Sockets,
    pub(super) lock: DataLock,
    /// Who this Portolan is; a successor is the same.
    pub(super) node: NodeId,
    pub(super) inheritance: Option<Succession>,
    pub(super) store: Store,
    /// What the store held; a successor opens it later, when its predecessor has closed it.
    pub(super) stored: Option<Stored>,
}

impl Start {
    pub(super) async fn find(
        arguments: &cli::Run,
        env: &Env,
    ) -> Result<Self, Box<dyn Error + Send + Sync>> {
        let mut store = Store::new(env.clone(), arguments.data_dir.clone());
        if arguments.take_over
            && let Some(inheritance) = take_over(&arguments.data_dir, env).await?
        {
            let Inheritance {
                listeners,
                lock,
                version,
                succession,
            } = inheritance;
            tracing::info!(version, "taking over");
            return Ok(Self {
                sockets: Sockets::new(listeners)?,
                lock,
                node: node_id(&arguments.data_dir, env)?,
                inheritance: Some(succession),
                store,
                stored: None,
            });
        }
        let lock = DataLock::take(&arguments.data_dir)?;
        Ok(Self {
            sockets: Sockets::new(inherited_listeners()?)?,
            lock,
            node: node_id(&arguments.data_dir, env)?,
            inheritance: None,
            stored: Some(store.open().await?),
            store,
        })
    }
}
