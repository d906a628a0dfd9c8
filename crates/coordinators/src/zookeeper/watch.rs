//! Reads the tree, and follows what happens to it.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use portolan_catalog::{Inbox, Source, SourceRun};
use portolan_model::{ServiceKey, SourceId, route::Protocol};
use portolan_runtime::Env;
use portolan_sources::frame::{Ended, Follow, Teller, Unfit, follow};
use portolan_wire::{
    call::{Scheme, Url},
    tls::{ClientTls, Connector},
};

use super::{
    dirty::{Dirty, Place},
    jute::{self, Ask, Malformed, Refusal},
    map,
    session::{Answer, Session, SessionError},
    settings::{Settings, Watches},
};
use crate::held::{Held, Made};

/// How long nothing may happen until services that came or went are told.
const CALM: Duration = Duration::from_millis(200);
/// How long they may wait for that.
const UNTOLD_MAX: Duration = Duration::from_secs(2);
/// Most nodes below the base.
const NODES_MAX: usize = 200_000;

#[derive(Debug)]
pub(super) struct Zookeeper {
    settings: Settings,
    id: SourceId,
    env: Env,
    connector: Option<Arc<Connector>>,
    current: usize,
    /// A server said that it knows no watch over all.
    single: bool,
    held: Held,
    /// Since when there are services that nobody was told of, or that went. They are told
    /// with everything else, so not one by one.
    untold_since: Option<Instant>,
    /// Services, which may be empty, by name.
    services: BTreeMap<String, Option<ServiceKey>>,
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
            untold_since: None,
            services: BTreeMap::new(),
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
        for (place, made) in self.read(session, nodes).await? {
            match made {
                Some(made) => self.held.take(&self.path_of(&place), made),
                None => self.held.forget(&self.path_of(&place)),
            }
        }
        self.held.retain(|path| places.contains(path));
        let key = |name: String| (name.clone(), self.settings.basics.service(&name));
        self.services = known.into_iter().map(key).collect();
        self.tell_services(teller).await
    }

    async fn names_of_services(&self, session: &mut Session) -> Result<Vec<String>, Ended> {
        let base = self.settings.tree.base();
        loop {
            let answer = session.ask(Ask::Children(base, self.single)).await;
            match answer.map_err(|error| Ended::by(&error))? {
                Ok(body) => return jute::children(body).map_err(malformed),
                Err(Refusal::NoNode) if !self.single => return Ok(Vec::new()),
                Err(Refusal::NoNode) => {}
                Err(refusal) => return Err(refused(base, refusal)),
            }
            // To hear of it when somebody makes it.
            let answer = session.ask(Ask::Exists(base)).await;
            match answer.map_err(|error| Ended::by(&error))? {
                // Somebody made it just now.
                Ok(_) => {}
                Err(Refusal::NoNode) => return Ok(Vec::new()),
                Err(refusal) => return Err(refused(base, refusal)),
            }
        }
    }

    /// The services of these that are there, and the nodes of their instances.
    async fn nodes_of(
        &self,
        session: &mut Session,
        services: Vec<String>,
    ) -> Result<(Vec<String>, Vec<Place>), Ended> {
        let paths = services.iter().map(|name| self.settings.tree.service(name));
        let paths: Vec<_> = paths.collect();
        let asks = paths.iter().map(|path| Ask::Children(path, self.single));
        let asks: Vec<_> = asks.collect();
        let answers = session.ask_all(&asks).await;
        let mut nodes = Vec::new();
        let mut known = Vec::new();
        for (service, answer) in services
            .into_iter()
            .zip(answers.map_err(|e| Ended::by(&e))?)
        {
            let children = match answer {
                Ok(body) => jute::children(body).map_err(malformed)?,
                Err(Refusal::NoNode) => continue,
                Err(refusal) => {
                    return Err(refused(&self.settings.tree.service(&service), refusal));
                }
            };
            nodes.extend(children.into_iter().map(|node| (service.clone(), node)));
            known.push(service);
            if nodes.len() > NODES_MAX {
                let message = format!("there are more than {NODES_MAX} nodes below the base");
                return Err(Ended::lost(message));
            }
        }
        Ok((known, nodes))
    }

    /// What stands at these nodes; `None` where a node is gone by now.
    async fn read(
        &self,
        session: &mut Session,
        places: Vec<Place>,
    ) -> Result<Vec<(Place, Option<Made>)>, Ended> {
        if !self.settings.tree.has_data() {
            let made = |place: Place| {
                let made = self.made(&place, Ok(&[]));
                (place, Some(made))
            };
            return Ok(places.into_iter().map(made).collect());
        }
        let paths: Vec<_> = places.iter().map(|place| self.path_of(place)).collect();
        let asks = paths.iter().map(|path| Ask::Data(path, self.single));
        let asks: Vec<_> = asks.collect();
        let answers = session.ask_all(&asks).await.map_err(|e| Ended::by(&e))?;
        let read = places.into_iter().zip(answers);
        let read = read.map(|(place, answer)| {
            let made = self.answered(&place, answer)?;
            Ok((place, made))
        });
        read.collect()
    }

    fn answered(&self, place: &Place, answer: Answer) -> Result<Option<Made>, Ended> {
        match answer {
            Ok(body) => {
                let data: Bytes = jute::data(body).map_err(malformed)?;
                Ok(Some(self.made(place, Ok(&data))))
            }
            Err(Refusal::NoNode) => Ok(None),
            Err(Refusal::NoAuth) => {
                let message = "it may not be read (may this user read that?)";
                Ok(Some(
                    self.made(place, Err(Unfit::Because(message.to_owned()))),
                ))
            }
            Err(refusal) => Err(refused(&self.path_of(place), refusal)),
        }
    }

    fn made(&self, (service, node): &Place, content: map::Content<'_>) -> Made {
        map::read(&self.settings, &self.id, (service, node), content)
    }

    fn path_of(&self, (service, node): &Place) -> String {
        format!("{}/{node}", self.settings.tree.service(service))
    }

    async fn catch_up(
        &mut self,
        session: &mut Session,
        mut dirty: Dirty,
        teller: &mut Teller,
    ) -> Result<(), Ended> {
        if dirty.base {
            // It was made, or taken away, or has other children.
            return self.list(session, teller).await;
        }
        self.look_at_services(session, &mut dirty).await?;
        let (there, gone): (Vec<_>, Vec<_>) = dirty
            .instances
            .into_iter()
            .partition(|(_, is_there)| *is_there);
        let there = there.into_iter().map(|(place, _)| place).collect();
        let read = self.read(session, there).await?;
        let gone = gone.into_iter().map(|(place, _)| (place, None));
        let changes = read.into_iter().chain(gone);
        let changes = changes
            .map(|(place, made)| (self.path_of(&place), made))
            .collect();
        self.held.change(changes, teller).await?;
        let mut is_new = false;
        for name in &dirty.gone_services {
            is_new |= self.services.remove(name).is_some();
        }
        for name in dirty.services {
            let key = self.settings.basics.service(&name);
            is_new |= self.services.insert(name, key).is_none();
        }
        if is_new && self.untold_since.is_none() {
            self.untold_since = Some(self.env.instant());
        }
        Ok(())
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
        let services: Vec<_> = dirty.services.iter().cloned().collect();
        if !self.single || services.is_empty() {
            return Ok(());
        }
        let (_, nodes) = self.nodes_of(session, services.clone()).await?;
        let now: BTreeSet<_> = nodes.into_iter().collect();
        for service in services {
            let folder = format!("{}/", self.settings.tree.service(&service));
            for path in self.held.below(&folder) {
                let node = path.strip_prefix(&folder).unwrap_or_default();
                let place = (service.clone(), node.to_owned());
                if !now.contains(&place) {
                    dirty.instances.insert(place, false);
                }
            }
        }
        let new = now
            .into_iter()
            .filter(|place| !self.held.has(&self.path_of(place)));
        dirty.instances.extend(new.map(|place| (place, true)));
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

impl Source for Zookeeper {
    fn run(self: Box<Self>, inbox: Inbox) -> SourceRun {
        let env = self.env.clone();
        Box::pin(follow(*self, inbox, env))
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

fn malformed(error: Malformed) -> Ended {
    Ended::by(&SessionError::from(error))
}

fn refused(path: &str, refusal: Refusal) -> Ended {
    let words = match refusal {
        Refusal::NoNode => "there is no such node".to_owned(),
        Refusal::NoAuth => "it may not be read (may this user read that?)".to_owned(),
        Refusal::AuthFailed => "it does not take `username` and `password`".to_owned(),
        Refusal::Unimplemented => "the server does not know how".to_owned(),
        Refusal::Other(code) => format!("the server says error {code}"),
    };
    Ended::lost(format!("{path}: {words}"))
}
