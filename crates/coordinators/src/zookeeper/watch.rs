//! Reads the tree, and follows what happens to it.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    sync::Arc,
    time::{Duration, Instant},
};

use portolan_model::{Departure, ServiceKey, SourceId, route::Protocol};
use portolan_runtime::Env;
use portolan_sources::frame::{Ended, Follow, Teller};
use portolan_wire::{
    call::{Scheme, Url},
    tls::{ClientTls, Connector},
};

use super::{
    dirty::Dirty,
    jute::{Ask, Refusal},
    read::{Node, refused},
    session::Session,
    settings::{Settings, Watches},
};
use crate::held::{Entry, Held};

/// How long nothing may happen until services that came or went are told.
const CALM: Duration = Duration::from_millis(200);
/// How long they may wait for that.
const UNTOLD_MAX: Duration = Duration::from_secs(2);
/// Most services below the base, and most nodes of their instances.
const NODES_MAX: usize = 200_000;

#[derive(Debug)]
pub(super) struct Zookeeper {
    pub(super) settings: Settings,
    pub(super) id: SourceId,
    env: Env,
    connector: Option<Arc<Connector>>,
    current: usize,
    /// A server said that it knows no watch over all.
    pub(super) single: bool,
    held: Held,
    /// Paths of nodes that do not go with the session of their maker.
    staying: BTreeSet<String>,
    /// Since when there are services that nobody was told of, or that went. They are told
    /// with everything else, so not one by one.
    untold_since: Option<Instant>,
    /// Services, which may be empty, by name.
    services: BTreeMap<String, Option<ServiceKey>>,
    /// Most services, and most nodes of their instances.
    pub(super) nodes_max: usize,
}

impl Zookeeper {
    pub(super) fn new(settings: Settings, id: SourceId, env: Env) -> Self {
        let count = u32::try_from(settings.servers.len()).unwrap_or(1).max(1);
        // Not everybody begins with the first server.
        let current = env.dice().u32_below(count);
        Self {
            single: settings.watches == Watches::Single,
            settings,
            id,
            env,
            connector: None,
            current: usize::try_from(current).unwrap_or(0),
            held: Held::default(),
            staying: BTreeSet::new(),
            untold_since: None,
            services: BTreeMap::new(),
            nodes_max: NODES_MAX,
        }
    }

    async fn talk(&mut self, url: &Url, teller: &mut Teller) -> Result<Infallible, Ended> {
        let mut session = self.open(url).await?;
        self.arm(&mut session).await?;
        self.list(&mut session, teller).await?;
        loop {
            let wait = self.untold_since.map(|_| CALM);
            let events = session
                .events(wait)
                .await
                .map_err(|error| Ended::by(&error))?;
            let is_calm = events.is_empty();
            if !is_calm {
                let dirty = Dirty::of(&self.settings.tree, events);
                self.catch_up(&mut session, dirty, teller).await?;
            }
            if self
                .untold_since
                .is_some_and(|since| is_calm || self.is_long_ago(since))
            {
                self.tell_services(teller).await?;
            } else if is_calm {
                teller.still().await?;
            }
        }
    }

    async fn open(&mut self, url: &Url) -> Result<Session, Ended> {
        if url.scheme() == Scheme::Https && self.connector.is_none() {
            let made = ClientTls::new().connector(&self.settings.tls, Protocol::Http1);
            self.connector = Some(made.map_err(|error| Ended::by(&error))?);
        }
        let tls = self.connector.as_deref();
        let opened = Session::open(url, tls, self.settings.session, &self.env).await;
        let mut session = opened.map_err(|error| Ended::by(&error))?;
        if let Some(login) = &self.settings.login {
            let secret = format!("{}:{}", login.username, login.password);
            let answer = session.authorize(secret.as_bytes()).await;
            if answer.map_err(|error| Ended::by(&error))?.is_err() {
                return Err(Ended::lost("it does not take `username` and `password`"));
            }
        }
        Ok(session)
    }

    /// Sets the watch over all, before anything is read, so that nothing is missed; and has
    /// the server catch up, so that what is read is not older than what was said.
    async fn arm(&mut self, session: &mut Session) -> Result<(), Ended> {
        let base = self.settings.tree.base().to_owned();
        if !self.single {
            let answer = session.ask(Ask::Watch(&base)).await;
            match answer.map_err(|error| Ended::by(&error))? {
                Ok(_) => {}
                Err(Refusal::Unimplemented) => {
                    // The server ends the session over it.
                    self.single = true;
                    return Err(Ended::lost(
                        "it knows no recursive watches: using single ones",
                    ));
                }
                Err(refusal) => return Err(refused(&base, refusal)),
            }
        }
        let answer = session.ask(Ask::Sync(&base)).await;
        match answer.map_err(|error| Ended::by(&error))? {
            Ok(_) | Err(Refusal::NoNode) => Ok(()),
            Err(refusal) => Err(refused(&base, refusal)),
        }
    }

    /// Reads everything, and says it at once.
    async fn list(&mut self, session: &mut Session, teller: &mut Teller) -> Result<(), Ended> {
        let services = self.names_of_services(session).await?;
        let (known, nodes) = self.nodes_of(session, services).await?;
        let places: BTreeSet<_> = nodes.iter().map(|place| self.path_of(place)).collect();
        for (place, node) in self.read(session, nodes).await? {
            let path = self.path_of(&place);
            self.note(&path, node.as_ref());
            match node {
                Some(node) => self.held.take(&path, node.made),
                None => self.held.forget(&path),
            }
        }
        self.held.retain(|path| places.contains(path));
        self.staying.retain(|path| places.contains(path));
        let key = |name: String| (name.clone(), self.settings.basics.service(&name));
        self.services = known.into_iter().map(key).collect();
        self.tell_services(teller).await
    }

    async fn catch_up(
        &mut self,
        session: &mut Session,
        mut dirty: Dirty,
        teller: &mut Teller,
    ) -> Result<(), Ended> {
        if dirty.base && !self.single {
            // It was made or taken away.
            return self.list(session, teller).await;
        }
        if dirty.base {
            let names: BTreeSet<_> = self.names_of_services(session).await?.into_iter().collect();
            let known = self.services.keys().cloned().collect();
            dirty.names_found(names, &known);
        }
        self.look_at_services(session, &mut dirty).await?;
        let (there, gone): (Vec<_>, Vec<_>) = dirty
            .instances
            .into_iter()
            .partition(|(_, is_there)| *is_there);
        let there = there.into_iter().map(|(place, _)| place).collect();
        let read = self.read(session, there).await?;
        let gone = gone.into_iter().map(|(place, _)| (place, None));
        let mut changes = Vec::new();
        for (place, node) in read.into_iter().chain(gone) {
            let path = self.path_of(&place);
            let entry = match node {
                Some(node) => {
                    self.note(&path, Some(&node));
                    Entry::Read(node.made)
                }
                None => Entry::Gone(self.departure_of(&path)),
            };
            changes.push((path, entry));
        }
        self.held.change(changes, teller).await?;
        let mut is_new = false;
        for name in &dirty.gone_services {
            is_new |= self.services.remove(name).is_some();
        }
        for name in dirty.services {
            let key = self.settings.basics.service(&name);
            is_new |= self.services.insert(name, key).is_none();
        }
        if self.services.len() > self.nodes_max || self.held.has_more_than(self.nodes_max) {
            return Err(self.too_many());
        }
        if is_new && self.untold_since.is_none() {
            self.untold_since = Some(self.env.instant());
        }
        Ok(())
    }

    fn note(&mut self, path: &str, node: Option<&Node>) {
        if node.is_some_and(|node| node.stays) {
            self.staying.insert(path.to_owned());
        } else {
            self.staying.remove(path);
        }
    }

    /// A node that stays goes only where somebody takes it away. Another may have been taken
    /// away as well, which can't be told from the end of a session.
    fn departure_of(&mut self, path: &str) -> Departure {
        if self.staying.remove(path) {
            Departure::Explicit
        } else {
            Departure::Inferred
        }
    }

    fn is_long_ago(&self, since: Instant) -> bool {
        self.env.instant().saturating_duration_since(since) > UNTOLD_MAX
    }

    /// Lists the services that changed, for what came and what went with them.
    async fn look_at_services(
        &self,
        session: &mut Session,
        dirty: &mut Dirty,
    ) -> Result<(), Ended> {
        if !self.single {
            return Ok(());
        }
        dirty.doubt_deletions();
        let services: Vec<_> = dirty.services.iter().cloned().collect();
        let mut known = BTreeSet::new();
        for service in &services {
            let folder = format!("{}/", self.settings.tree.service(service));
            for path in self.held.below(&folder) {
                let node = path.strip_prefix(&folder).unwrap_or_default();
                known.insert((service.clone(), node.to_owned()));
            }
        }
        let (there, nodes) = self.nodes_of(session, services).await?;
        dirty.services_found(there);
        dirty.nodes_found(&nodes.into_iter().collect(), &known);
        Ok(())
    }

    /// Says everything, with services that are empty.
    async fn tell_services(&mut self, teller: &mut Teller) -> Result<(), Ended> {
        self.untold_since = None;
        let mut view = self.held.view();
        let keys = self.services.values().flatten();
        keys.for_each(|key| view.add_service(key.clone()));
        teller.all(view).await?;
        self.held.tell_unfit(teller);
        Ok(())
    }
}

impl Follow for Zookeeper {
    async fn session(&mut self, teller: &mut Teller) -> Result<Infallible, Ended> {
        let Some(url) = self.settings.servers.get(self.current).cloned() else {
            return Err(Ended::lost("there is no server to ask"));
        };
        let ended = self.talk(&url, teller).await;
        let next = self.current.saturating_add(1);
        let count = self.settings.servers.len();
        self.current = if next < count { next } else { 0 };
        match ended {
            Ok(never) => Ok(never),
            Err(ended) => Err(named(ended, &url)),
        }
    }
}

/// Says which server it was.
fn named(ended: Ended, url: &Url) -> Ended {
    match ended {
        Ended::Closed => Ended::Closed,
        Ended::Lost { reason, after } => Ended::Lost {
            reason: format!("zookeeper at {}:{}: {reason}", url.host(), url.port()),
            after,
        },
    }
}
