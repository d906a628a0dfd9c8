//! The handle that everybody shares: tokens and policies are made, changed and taken back
//! through it, in the store first and then in memory.
//!
//! The store's compare-and-swap puts concurrent changes in order; memory follows by the
//! revisions that it gives. A revocation is the other way round: it holds in memory at
//! once, and whoever asked for it hears if the store failed.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use bytes::Bytes;
use portolan_access::{Caller, Secret, SecretHash};
use portolan_config::Access as Plan;
use portolan_model::{Revision, Timestamp};
use portolan_runtime::Env;
use portolan_store::{Ledger, Operation, Requirement, StoreError};
use tokio::sync::watch;

use crate::{
    audit::{Clerk, Trail},
    book::{Book, KeptToken, TOKENS_MAX},
    directory::{Directory, Shown, Unknown},
    record::{self, BOOTSTRAP, BadRecord, MANAGEMENT, NoEntropy, Token, key},
    stored::encoded,
};

/// How exactly it is remembered when a token was used last.
const USE_GRAIN: Duration = Duration::from_hours(1);

/// Why tokens or policies are not as somebody wanted.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Fault {
    /// There is none of that id or name. The caller's fault.
    #[error("there is no such {0}")]
    Unknown(&'static str),
    /// There is one of that id, name or secret. The caller's fault.
    #[error("there is a {0} of that name, id or secret already")]
    Taken(&'static str),
    /// There are as many as there may be.
    #[error("there are {0} of them, which is the limit")]
    TooMany(usize),
    /// It is always there and stays as it is. The caller's fault.
    #[error("`{0}` can't be changed")]
    Fixed(Arc<str>),
    /// Somebody else changed it at the same time; try again.
    #[error("somebody else changed it at the same time")]
    Raced,
    /// There is no store to keep it in, for the moment at least.
    #[error("there is no store to keep it in")]
    NoStore,
    /// The store failed; whether it was kept is unknown.
    #[error("the store failed")]
    Store(#[from] StoreError),
    /// What is stored is none of ours.
    #[error(transparent)]
    Record(#[from] BadRecord),
    /// No secret can be made.
    #[error(transparent)]
    Entropy(#[from] NoEntropy),
}

/// Tokens, policies and the audit trail. Cloning is cheap.
#[derive(Clone)]
pub struct Access(Arc<Shared>);

struct Shared {
    env: Env,
    began: Instant,
    /// Guards everything that is known; held for no await.
    book: Mutex<Book>,
    directory: ArcSwap<Directory>,
    /// How often there was another directory.
    changes: watch::Sender<u64>,
    /// Guards where it is stored; held for no await.
    store: Mutex<Option<Arc<dyn Ledger>>>,
    /// Whether what is stored has been read, or can't be.
    is_read: watch::Sender<bool>,
    trail: Trail,
    /// Writes the trail into the store.
    clerk: Clerk,
    /// The trail of earlier processes was read.
    has_trail: AtomicBool,
}

impl Access {
    /// No tokens yet, and no access control.
    #[must_use]
    pub fn new(env: &Env) -> Self {
        Self(Arc::new(Shared {
            began: env.instant(),
            book: Mutex::default(),
            directory: ArcSwap::default(),
            changes: watch::Sender::new(0),
            store: Mutex::default(),
            is_read: watch::Sender::new(false),
            trail: Trail::default(),
            clerk: Clerk::default(),
            has_trail: AtomicBool::default(),
            env: env.clone(),
        }))
    }

    /// Puts in force what the configuration says.
    pub fn follow(&self, plan: Option<&Plan>) {
        self.change(|book| book.plan = plan.cloned());
    }

    /// Whether there is access control.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.0.directory.load().is_on
    }

    /// How often it changed who may do what, now and when it does so again. Whoever keeps what
    /// it has shown to somebody learns by this when to ask whether that one's
    /// [rights](portolan_access::Rights) are current.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }

    /// Where tokens and the trail are stored from now on, and reads what is there. Without a
    /// store, tokens that are known still count, and none can be made.
    ///
    /// # Errors
    /// [`Fault`]: nothing that is stored counts, and the store is not used.
    pub async fn attach(&self, store: Option<Arc<dyn Ledger>>) -> Result<(), Fault> {
        let read = if let Some(store) = &store {
            self.read_all(&**store).await
        } else {
            self.write_out().await;
            Ok(())
        };
        *self.store() = store.filter(|_| read.is_ok());
        self.write_soon();
        // Whoever waits is told in any case: tokens of the configuration count.
        self.0.is_read.send_replace(true);
        read
    }

    async fn read_all(&self, store: &dyn Ledger) -> Result<(), Fault> {
        self.read(store).await?;
        if !self.0.has_trail.load(Ordering::Relaxed) {
            self.read_trail(store).await?;
            self.0.has_trail.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Resolves when what is stored has been read, or can't be. Cancel-safe.
    pub(crate) async fn has_read(&self) {
        let mut is_read = self.0.is_read.subscribe();
        // The sender lives as long as we.
        let _read = is_read.wait_for(|is_read| *is_read).await.is_ok();
    }

    /// How many calls each listener did not let, by how they ended: `denied` or `limited`.
    #[must_use]
    pub fn denied(&self) -> Vec<(&'static str, &'static str, u64)> {
        self.0.trail.denied()
    }

    pub(crate) fn trail(&self) -> &Trail {
        &self.0.trail
    }

    pub(crate) fn clerk(&self) -> &Clerk {
        &self.0.clerk
    }

    pub(crate) fn env(&self) -> &Env {
        &self.0.env
    }

    /// Time since it was made.
    pub(crate) fn uptime(&self) -> Duration {
        let now = self.0.env.instant();
        now.saturating_duration_since(self.0.began)
    }

    pub(crate) fn directory(&self) -> Arc<Directory> {
        self.0.directory.load_full()
    }

    /// Who calls; notes that its token was used.
    pub(crate) fn identify(
        &self,
        directory: &Directory,
        shown: Shown<'_>,
    ) -> Result<Caller, Unknown> {
        let now = self.0.env.now();
        let (caller, principal) = directory.find(shown, now)?;
        if let Some(id) = &principal.token
            && principal.note_use(now, USE_GRAIN)
        {
            self.store_use(id);
        }
        Ok(caller)
    }

    /// Every token, in the order of ids, and the revision that wrote it.
    #[must_use]
    pub fn tokens(&self) -> Vec<(Token, Revision)> {
        let book = self.book();
        let tokens = book.tokens.values();
        tokens.map(|kept| (shown(kept), kept.modified)).collect()
    }

    /// Tokens that the configuration declares, by name, with their scopes.
    #[must_use]
    pub fn declared(&self) -> Vec<(Arc<str>, Vec<String>)> {
        let book = self.book();
        let declared = book.plan.iter().flat_map(|plan| &plan.tokens);
        declared
            .map(|token| (token.name.as_str().into(), token.scopes.to_texts()))
            .collect()
    }

    /// A token by its id.
    #[must_use]
    pub fn token(&self, id: &str) -> Option<(Token, Revision)> {
        let book = self.book();
        let found = book.tokens.get(id)?;
        Some((shown(found), found.modified))
    }

    /// Makes a token, with a secret of ours unless one is given. Its id and hash are made up.
    ///
    /// # Errors
    /// [`Fault`].
    pub async fn create(
        &self,
        mut token: Token,
        secret: Option<Secret>,
    ) -> Result<(Token, Revision, Secret), Fault> {
        let secret = match secret {
            Some(secret) => secret,
            None => record::new_secret()?,
        };
        if token.id.is_empty() {
            token.id = record::uuid()?;
        }
        let hash = secret.hash();
        token.hash = hash.to_string();
        {
            let book = self.book();
            if book.tokens.len() >= TOKENS_MAX {
                return Err(Fault::TooMany(TOKENS_MAX));
            }
            let is_taken = |kept: &KeptToken| kept.extra.0 == hash;
            if book.tokens.contains_key(&token.id) || book.tokens.values().any(is_taken) {
                return Err(Fault::Taken("token"));
            }
        }
        let stored = self.put(None, token.key(), &token).await?;
        self.try_change(|book| book.put_token(token.clone(), stored))?;
        Ok((token, stored, secret))
    }

    /// Changes a token that has not been changed since.
    ///
    /// # Errors
    /// [`Fault`].
    pub async fn update(&self, token: Token) -> Result<Revision, Fault> {
        let before = self.token(&token.id).ok_or(Fault::Unknown("token"))?.1;
        let stored = self.put(Some(before), token.key(), &token).await?;
        self.try_change(|book| {
            // One that was revoked meanwhile stays so.
            if book.tokens.contains_key(&token.id) {
                book.put_token(token, stored)
            } else {
                Ok(())
            }
        })?;
        Ok(stored)
    }

    /// Takes a token back, by its id or, if it is the only one of that name, by its name.
    ///
    /// # Errors
    /// [`Fault`]; after [`Fault::Store`] it is taken back until a restart at least.
    pub async fn revoke(&self, which: &str) -> Result<(Token, Revision), Fault> {
        let mut found = None;
        self.change(|book| {
            let mut named = book
                .tokens
                .values()
                .filter(|kept| *kept.record.name == *which);
            let by_name = match (named.next(), named.next()) {
                (Some(kept), None) => Some(Arc::clone(&kept.record.id)),
                (None | Some(_), _) => None,
            };
            let id = by_name.filter(|_| !book.tokens.contains_key(which));
            found = book.tokens.remove(id.as_deref().unwrap_or(which));
        });
        let kept = found.ok_or(Fault::Unknown("token"))?;
        let operations = vec![Operation::Delete(kept.record.key())];
        let revision = self.commit(Vec::new(), operations).await?;
        Ok((shown(&kept), revision))
    }

    /// Makes the first token by Consul's bootstrap, which can be done once, and by nobody who
    /// can have us call ourselves: not when there are tokens already, nor when everybody may
    /// register, since checks and routes of instances can be made to reach our own listeners.
    ///
    /// # Errors
    /// [`Fault::Taken`] if it was done, or may not be.
    pub async fn bootstrap(
        &self,
        mut token: Token,
        secret: Secret,
    ) -> Result<(Token, Revision, Secret), Fault> {
        if !self.book().may_bootstrap() {
            return Err(Fault::Taken("first token"));
        }
        token.id = record::uuid()?;
        token.hash = secret.hash().to_string();
        token.policies = vec![MANAGEMENT.0.into()];
        let once = Requirement::Absent(key(BOOTSTRAP, ""));
        let operations = vec![
            Operation::Put(key(BOOTSTRAP, ""), Bytes::new()),
            Operation::Put(token.key(), encoded(&token)),
        ];
        let revision = self.commit(vec![once], operations).await?;
        self.try_change(|book| {
            book.is_bootstrapped = true;
            book.put_token(token.clone(), revision)
        })?;
        Ok((token, revision, secret))
    }

    /// Lets whoever has this secret do everything, on this machine.
    pub(crate) fn set_local(&self, hash: SecretHash) {
        self.change(|book| book.local = Some(hash));
    }

    /// Stores when a token was used.
    fn store_use(&self, id: &str) {
        let Some((token, _)) = self.token(id) else {
            return;
        };
        let access = self.clone();
        let storing = async move {
            // Nobody misses it much if it is lost.
            let _lost = access.update(token).await;
        };
        self.0.env.spawn("use of a token", storing).detach();
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut Book)) {
        let mut book = self.book();
        change(&mut book);
        let number = self.0.changes.borrow().saturating_add(1);
        let mut directory = book.directory();
        directory.follow(&self.0.directory.load(), number);
        self.0.directory.store(Arc::new(directory));
        self.0.changes.send_replace(number);
    }

    pub(crate) fn try_change(
        &self,
        change: impl FnOnce(&mut Book) -> Result<(), BadRecord>,
    ) -> Result<(), Fault> {
        let mut changed = Ok(());
        self.change(|book| changed = change(book));
        Ok(changed?)
    }

    pub(crate) fn book(&self) -> MutexGuard<'_, Book> {
        self.0.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn store(&self) -> MutexGuard<'_, Option<Arc<dyn Ledger>>> {
        self.0.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A token as it is now.
fn shown(kept: &KeptToken) -> Token {
    let millis = kept.extra.1.load(Ordering::Relaxed);
    Token {
        used: (millis > 0).then(|| Timestamp::from_millis(millis)),
        ..kept.record.clone()
    }
}
