//! What discovery is started with.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use portolan_balance::{SharedGauges, SlotTable};
use portolan_catalog::{Fold, GuardSettings, SourceKind, SourceSpec, Turn, inboxes};
use portolan_model::{BadName, Name, Revision, RevisionClock, ServiceKey, SourceId};
use portolan_runtime::Env;

use super::{
    Discovery, Retries, Shared, Source,
    memory::Memory,
    publish::{Clock, Publisher},
};
use crate::{api::Token, registration::REGISTRY};

/// Most sources of one discovery.
const SOURCES_MAX: usize = 32;

/// From where to discover, and how to call what was found.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
///
/// use portolan_client::Discovery;
///
/// let discovery = Discovery::builder()
///     .registry("http://127.0.0.1:9070")
///     .remember("/var/lib/shop/services.json")
///     .start()?;
/// discovery.ready(Duration::from_secs(5)).await?;
/// let orders = discovery.service("orders")?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "nothing is followed before `start`"]
pub struct DiscoveryBuilder {
    registries: Vec<String>,
    token: Option<Token>,
    sources: Vec<Source>,
    namespace: Option<String>,
    memory: Option<PathBuf>,
    retries: Retries,
}

/// Why discovery can't start. The caller's fault.
#[derive(Debug, thiserror::Error)]
pub enum BadDiscovery {
    /// The namespace is no name.
    #[error("the namespace is no name")]
    Namespace(#[source] BadName),
    /// There is no such kind of source.
    #[error("there is no source of kind `{kind}`: {known} are known")]
    Kind {
        /// What was asked for.
        kind: String,
        /// What there is.
        known: String,
    },
    /// A source can't be set up like that.
    #[error("source `{source_id}`: {problems}")]
    Settings {
        /// Which: its kind, with a number from the second of a kind on.
        source_id: SourceId,
        /// Everything that is wrong, in words for people.
        problems: String,
    },
    /// Too many sources.
    #[error("{count} sources; at most {SOURCES_MAX}")]
    Sources {
        /// How many.
        count: usize,
    },
}

/// A source that can be built.
pub(super) type Planned = (SourceId, Arc<dyn SourceSpec>);

impl DiscoveryBuilder {
    pub(super) fn new() -> Self {
        Self {
            registries: Vec::new(),
            token: None,
            sources: Vec::new(),
            namespace: None,
            memory: None,
            retries: Retries::default(),
        }
    }

    /// The admin listener of a Portolan, as `http://host:port` or `https://host:port`; may be
    /// called again, for others that know the same, to be asked when the first does not answer.
    /// `http://127.0.0.1:9070` if no source is named at all.
    pub fn registry(mut self, url: impl Into<String>) -> Self {
        self.registries.push(url.into());
        self
    }

    /// The token that is shown to that Portolan, if it has access control.
    pub fn token(mut self, secret: impl Into<String>) -> Self {
        self.token = Some(Token(secret.into()));
        self
    }

    /// Another source; may be called again, up to 32 times. Where several tell of the same
    /// instance, the one that was named first has the word, after [`Self::registry`].
    pub fn source(mut self, source: Source) -> Self {
        self.sources.push(source);
        self
    }

    /// The namespace of services that are asked for by name alone; `default` if nothing is
    /// said. One that is no name is refused by [`Self::start`].
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = Some(namespace.into());
        self
    }

    /// Keeps what is known in this file, for the next start of the program to find it when
    /// no source answers. It is written at most once a second, as a whole, and readable for
    /// the user of the program only; up to 64 MiB, which is some 200,000 instances. The folder
    /// has to be there. A file that can't be read, or is damaged, is told in the log and
    /// passed over; one that can't be written is told once and tried again every 30 s. Nothing
    /// is kept by default.
    pub fn remember(mut self, file: impl Into<PathBuf>) -> Self {
        self.memory = Some(file.into());
        self
    }

    /// How calls are tried again; [`Retries::default`] if nothing is said.
    pub const fn retries(mut self, retries: Retries) -> Self {
        self.retries = retries;
        self
    }

    /// Begins to follow the sources. Nothing is awaited: [`Discovery::ready`] does that. The
    /// file of [`Self::remember`] is read here.
    ///
    /// # Errors
    /// [`BadDiscovery`]. A source that is away is none.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn start(self) -> Result<Discovery, BadDiscovery> {
        self.start_in(&Env::system())
    }

    /// As [`Self::start`], in a world of the caller's: tests stop its clock.
    ///
    /// # Errors
    /// [`BadDiscovery`].
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn start_in(self, env: &Env) -> Result<Discovery, BadDiscovery> {
        let planned = self.plan()?;
        self.follow(planned, env)
    }

    /// Checks the settings of all sources.
    fn plan(&self) -> Result<Vec<Planned>, BadDiscovery> {
        let registry = (!self.registries.is_empty() || self.sources.is_empty())
            .then(|| self.registry_source());
        let sources: Vec<Source> = registry
            .into_iter()
            .chain(self.sources.iter().cloned())
            .collect();
        if sources.len() > SOURCES_MAX {
            let count = sources.len();
            return Err(BadDiscovery::Sources { count });
        }
        let mut seen: HashMap<&str, usize> = HashMap::new();
        let mut planned = Vec::new();
        for source in &sources {
            let kind = source.kind();
            let count = seen.entry(kind).or_default();
            *count += 1;
            let id = match *count {
                1 => SourceId::new(kind),
                count => SourceId::new(&format!("{kind}-{count}")),
            };
            let spec = spec(&id, source)?;
            planned.push((id, spec));
        }
        Ok(planned)
    }

    fn registry_source(&self) -> Source {
        let source = match self.registries.split_first() {
            None => Source::portolan(REGISTRY),
            Some((first, others)) => others.iter().fold(Source::portolan(first), Source::server),
        };
        match &self.token {
            Some(Token(secret)) => source.token(secret),
            None => source,
        }
    }

    /// Starts sources that were checked.
    pub(super) fn follow(
        self,
        planned: Vec<Planned>,
        env: &Env,
    ) -> Result<Discovery, BadDiscovery> {
        let namespace = self.namespace.as_deref();
        let namespace = Name::parse(namespace.unwrap_or(ServiceKey::DEFAULT_NAMESPACE));
        let namespace = namespace.map_err(BadDiscovery::Namespace)?;
        let sources: Vec<SourceId> = planned.iter().map(|(id, _)| id.clone()).collect();
        let (mut hub, inflow) = inboxes();
        let clock = Clock::new(env);
        let revisions = RevisionClock::new(Revision::FIRST);
        let mut fold = Fold::new(GuardSettings::default(), revisions, clock.now());
        fold.arrange(clock.now(), &sources);
        let gauges = Arc::new(SharedGauges::new());
        let slots = Arc::new(Mutex::new(SlotTable::default()));
        let (publisher, catalog) = Publisher::new(clock, inflow, fold, &gauges, &slots);
        let memory = self.memory.map(|path| Memory::open(path, env));
        let mut tasks = vec![env.spawn("publish what is discovered", publisher.run())];
        for (id, spec) in planned {
            let inbox = hub.open(&id, Turn::Fair);
            if let Some(memory) = &memory {
                memory.remind(&hub, &id);
            }
            tasks.push(env.spawn("a source of discovery", spec.build(&id, env).run(inbox)));
        }
        if let Some(memory) = memory {
            let recording = memory.record(catalog.clone());
            tasks.push(env.spawn("remember what is discovered", recording));
        }
        Ok(Discovery(Arc::new(Shared {
            env: env.clone(),
            began: env.instant(),
            namespace,
            retries: self.retries,
            catalog,
            gauges,
            slots,
            sources,
            handles: Mutex::default(),
            _hub: hub,
            _tasks: tasks,
        })))
    }
}

/// Kinds of sources.
const SHELVES: &[&[SourceKind]] = &[
    portolan_sources::KINDS,
    portolan_coordinators::KINDS,
    #[cfg(feature = "orchestrators")]
    portolan_orchestrators::KINDS,
    #[cfg(feature = "clouds")]
    portolan_clouds::KINDS,
];

/// The settings of a source, read by its kind.
fn spec(id: &SourceId, source: &Source) -> Result<Arc<dyn SourceSpec>, BadDiscovery> {
    let kinds = || SHELVES.iter().copied().flatten();
    let Some(kind) = kinds().find(|kind| kind.name == source.kind()) else {
        let known: Vec<&str> = kinds().map(|kind| kind.name).collect();
        return Err(BadDiscovery::Kind {
            kind: source.kind().to_owned(),
            known: known.join(", "),
        });
    };
    (kind.parse)(&source.settings()).map_err(|problems| {
        let texts = problems.iter().map(|problem| match &problem.help {
            Some(help) => format!("{}: {} ({help})", problem.path, problem.message),
            None => format!("{}: {}", problem.path, problem.message),
        });
        BadDiscovery::Settings {
            source_id: id.clone(),
            problems: texts.collect::<Vec<_>>().join("; "),
        }
    })
}
