//! The source at work, whichever way it speaks.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    sync::Arc,
};

use portolan_model::{ByteSize, SourceId};
use portolan_runtime::Env;
use portolan_sources::frame::{Ended, Follow, Servers, Teller};
use portolan_wire::tls::Connector;

use super::{
    calls::{self, Token},
    map::{self, Service, ServiceInfo},
    settings::{Settings, Speech},
};
use crate::held::{Held, Made};

/// The largest answer that is read over HTTP.
const ANSWER_MAX: ByteSize = ByteSize::from_bytes(16 << 20);

pub(super) struct Nacos {
    pub(super) settings: Settings,
    pub(super) env: Env,
    pub(super) servers: Servers,
    pub(super) connector: Option<Arc<Connector>>,
    pub(super) token: Option<Token>,
    pub(super) held: Held,
    /// Something is missing that was not told yet.
    pub(super) untold: bool,
    /// The services that are known, or subscribed to.
    pub(super) services: BTreeSet<Service>,
    id: SourceId,
}

impl Nacos {
    pub(super) fn new(settings: Settings, id: SourceId, env: Env) -> Self {
        Self {
            servers: Servers::new(settings.servers.clone(), ANSWER_MAX, env.clone()),
            settings,
            env,
            connector: None,
            token: None,
            held: Held::default(),
            untold: false,
            services: BTreeSet::new(),
            id,
        }
    }

    /// Gets a token, if one is needed and there is none that lasts.
    pub(super) async fn renew(&mut self) -> Result<(), Ended> {
        let Some(login) = &self.settings.login else {
            return Ok(());
        };
        if self
            .token
            .as_ref()
            .is_none_or(|token| token.is_old(&self.env))
        {
            self.token = Some(calls::log_in(&mut self.servers, login, &self.env).await?);
        }
        Ok(())
    }

    /// The instances of a service, by their path.
    pub(super) fn read(&self, service: &Service, info: &ServiceInfo) -> BTreeMap<String, Made> {
        map::read(&self.settings.basics, &self.id, service, info)
    }

    /// Says everything, with services that are empty.
    pub(super) async fn tell(&self, teller: &mut Teller) -> Result<(), Ended> {
        let mut view = self.held.view();
        let keys = self.services.iter();
        let keys = keys.filter_map(|service| service.key(&self.settings.basics));
        keys.for_each(|key| view.add_service(key));
        teller.all(view).await?;
        self.held.tell_unfit(teller);
        Ok(())
    }
}

impl Follow for Nacos {
    async fn session(&mut self, teller: &mut Teller) -> Result<Infallible, Ended> {
        let before = self.servers.url().cloned();
        let ended = match self.settings.speech {
            Speech::Grpc => self.subscribe(teller).await,
            Speech::Http => self.poll(teller).await,
        };
        // Another server may not know this token, and this one not any more.
        self.token = None;
        if self.servers.url() == before.as_ref() {
            self.servers.next_server();
        }
        ended
    }
}
