//! Reads configuration and certificates again and puts them in force.

use std::sync::Arc;

use portolan_config::Plan;
use portolan_model::Revision;
use portolan_snapshot::Ended;

use super::{needs::workers, program::Program};
use crate::{
    load::{LoadError, Loaded, chain, load},
    report,
};

/// A configuration that is not put in force; the running one stays.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReloadError {
    /// It can't be used.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The program is coming to its end.
    #[error(transparent)]
    Ended(#[from] Ended),
}

impl ReloadError {
    /// Everything that is wrong, for whoever asked for the reload.
    pub(super) fn in_one_line(&self) -> String {
        match self {
            Self::Load(error) => report::load_error(error),
            Self::Ended(error) => error.to_string(),
        }
    }
}

impl Program {
    /// Reads everything again. What is wrong is logged.
    ///
    /// # Errors
    /// [`ReloadError`]: the running configuration stays.
    pub(super) async fn reload(&mut self) -> Result<Revision, ReloadError> {
        self.reopen_files();
        let reloaded = self.reload_plan().await;
        if let Err(error) = &reloaded {
            if let ReloadError::Load(error) = error {
                report::findings_of(error);
            }
            tracing::error!(
                error = chain(error),
                "the new configuration is not used; the running one stays"
            );
        }
        reloaded
    }

    fn reopen_files(&mut self) {
        if let Some((log, _)) = &self.access {
            log.reopen();
        }
        if let Err(errors) = self.gateway.reload_certificates() {
            for error in errors {
                tracing::error!(error = chain(&error), "certificates stay as they were");
            }
        }
        self.control.reload_certificates();
        for error in self
            .client_tls
            .lock()
            .map(|mut tls| tls.reload())
            .unwrap_or_default()
        {
            tracing::error!(error = chain(&error), "upstream TLS stays as it was");
        }
    }

    async fn reload_plan(&mut self) -> Result<Revision, ReloadError> {
        let now = self.view.snapshot().revision();
        let Some(path) = self.arguments.config.clone() else {
            tracing::info!(
                revision = now.as_u64(),
                "there is no configuration file; nothing changed"
            );
            return Ok(now);
        };
        let loaded = load(&path)?;
        report::loaded(&loaded, &path);
        let Loaded { plan, .. } = loaded;
        if plan.digest == self.plan.digest {
            tracing::info!(
                revision = now.as_u64(),
                "the configuration says what it said before; nothing changed"
            );
            return Ok(now);
        }
        self.put_in_force(Arc::new(plan)).await
    }

    async fn put_in_force(&mut self, plan: Arc<Plan>) -> Result<Revision, ReloadError> {
        if workers(&plan) != workers(&self.plan) {
            tracing::warn!("another number of workers needs a restart or an upgrade");
        }
        self.sources.apply(&plan);
        let revision = self.plans.apply(Arc::clone(&plan)).await?;
        if let Err(errors) = self.gateway.apply(&plan, &mut self.sockets) {
            for error in &errors {
                tracing::error!(error = chain(error), "a listener is not as configured");
            }
        }
        self.control.apply(&plan, &mut self.sockets).await;
        self.tell_where();
        self.follow_files(&plan);
        self.plan = plan;
        tracing::info!(revision = revision.as_u64(), "configuration in force");
        Ok(revision)
    }
}
