//! What the program begins with.

use std::error::Error;

use portolan_runtime::{Env, sockets::Sockets};

use crate::{
    cli,
    data_lock::DataLock,
    handover::{Inheritance, Succession, take_over},
    service_manager::inherited_listeners,
};

/// What the program begins with: nothing, or what a predecessor hands over.
pub(super) struct Start {
    pub(super) sockets: Sockets,
    pub(super) lock: DataLock,
    pub(super) inheritance: Option<Succession>,
}

impl Start {
    pub(super) async fn find(
        arguments: &cli::Run,
        env: &Env,
    ) -> Result<Self, Box<dyn Error + Send + Sync>> {
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
                inheritance: Some(succession),
            });
        }
        let lock = DataLock::take(&arguments.data_dir)?;
        Ok(Self {
            sockets: Sockets::new(inherited_listeners()?)?,
            lock,
            inheritance: None,
        })
    }
}
