//! The control plane's listeners: admin, native registry API, status.

use std::{error::Error, net::SocketAddr, sync::Arc, time::Duration};

use portolan_catalog::{InboxHub, Witness};
use portolan_config::Plan;
use portolan_model::Revision;
use portolan_runtime::{Env, sockets::Sockets};
use portolan_snapshot::View;
use portolan_telemetry::{AccessLog, Meters};
use tokio::sync::oneshot;

pub struct ControlParts<'a> {
    pub env: Env,
    pub plan: Arc<Plan>,
    pub view: View,
    pub meters: Arc<Meters>,
    pub witness: Arc<dyn Witness>,
    pub hub: &'a mut InboxHub,
    pub access: Option<AccessLog>,
}

pub struct Control {
    plan: Arc<Plan>,
}

impl Control {
    pub fn new(parts: ControlParts<'_>) -> Self {
        Self { plan: parts.plan }
    }
    pub fn open(&mut self, _plan: &Plan, _sockets: &mut Sockets) -> Result<(), Box<dyn Error + Send + Sync>> {
        Ok(())
    }
    pub async fn wait_for_sources(&self, _within: Duration) {}
    pub async fn take_in(&self, _state: &[u8]) {}
    pub fn set_ready(&self, _ready: bool) {}
    pub fn apply(&mut self, _plan: &Plan, _sockets: &mut Sockets) {}
    pub fn resume(&mut self, _plan: &Plan, _sockets: &mut Sockets) {}
    pub async fn stop_and_export(&mut self) -> Vec<u8> {
        Vec::new()
    }
    pub async fn close(&mut self) {}
    pub async fn asked_to_reload(&mut self) -> oneshot::Sender<Result<Revision, String>> {
        std::future::pending().await
    }
    pub fn admin_address(&self) -> SocketAddr {
        self.plan.admin.address
    }
}
