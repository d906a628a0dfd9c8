//! Who is who, as a request looks it up: made whole from the book, then never changed.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use portolan_access::{Caller, Grant, Rights, SecretHash};
use portolan_model::Timestamp;

use crate::record::TokenId;

/// Somebody who is known: the owner of a token or of a certificate, or nobody by name.
#[derive(Clone, Debug)]
pub(crate) struct Principal {
    /// What changes are said to be by; none for who shows nothing.
    pub(crate) name: Option<Arc<str>>,
    /// The id of the token, if it has one.
    pub(crate) token: Option<TokenId>,
    /// What it may do.
    pub(crate) grant: Grant,
    /// Which of its rights that is; shared by all directories.
    pub(crate) rights: Rights,
    pub(crate) expires: Option<Timestamp>,
    /// When it was used last, in milliseconds since 1970; shared by all directories.
    pub(crate) used: Arc<AtomicU64>,
    /// Whether its secret counts on this machine only.
    pub(crate) is_for_this_machine: bool,
}

/// Nobody has this token, or no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unknown;

/// Who is who.
#[derive(Debug, Default)]
pub(crate) struct Directory {
    /// Whether there is access control.
    pub(crate) is_on: bool,
    /// Who shows nothing.
    pub(crate) anonymous: Principal,
    /// Owners of tokens.
    pub(crate) by_secret: HashMap<SecretHash, Arc<Principal>>,
    /// Owners of certificates, by a name that theirs carries.
    pub(crate) by_certificate: BTreeMap<String, Arc<Principal>>,
}

/// What a request shows of its sender.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shown<'r> {
    pub(crate) address: IpAddr,
    pub(crate) secret: Option<&'r str>,
    /// The names on its certificate.
    pub(crate) names: &'r [String],
}

impl Principal {
    pub(crate) fn new(name: Option<Arc<str>>, grant: Grant) -> Self {
        Self {
            name,
            token: None,
            grant,
            rights: Rights::default(),
            expires: None,
            used: Arc::default(),
            is_for_this_machine: false,
        }
    }

    /// As its requests are told to fronts.
    pub(crate) fn caller(&self, address: IpAddr) -> Caller {
        Caller {
            address,
            name: self.name.clone(),
            token: self.token.clone(),
            grant: self.grant.clone(),
            rights: self.rights.clone(),
        }
    }

    /// Takes the place of one that was known before. `may_differ` if its requests were
    /// answered by another one's rights. Who waits as another principal, and is this one from
    /// now on, learns of it with its next request.
    fn follow(&mut self, before: Option<&Self>, number: u64, may_differ: bool) {
        self.rights = match before {
            None => Rights::new(number),
            Some(before) if may_differ || before.grant != self.grant => {
                before.rights.replace(number)
            }
            Some(before) => before.rights.clone(),
        };
    }

    /// Notes that it was used. Says whether that has not been noted in a while.
    pub(crate) fn note_use(&self, now: Timestamp, grain: Duration) -> bool {
        let before = Timestamp::from_millis(self.used.load(Ordering::Relaxed));
        let is_news = now.since(before) >= grain;
        if is_news {
            self.used.store(now.as_millis(), Ordering::Relaxed);
        }
        is_news
    }
}

impl Default for Principal {
    fn default() -> Self {
        Self::new(None, Grant::Open)
    }
}

impl Directory {
    /// Takes the place of another one, with the number of that change: whose rights are others
    /// now, or gone, are told so.
    pub(crate) fn follow(&mut self, before: &Self, number: u64) {
        let may_differ = self.is_on != before.is_on;
        self.anonymous
            .follow(Some(&before.anonymous), number, may_differ);
        for (secret, principal) in &mut self.by_secret {
            let before = before.by_secret.get(secret).map(|known| &**known);
            Arc::make_mut(principal).follow(before, number, may_differ);
        }
        for (name, principal) in &mut self.by_certificate {
            let before = before.by_certificate.get(name).map(|known| &**known);
            Arc::make_mut(principal).follow(before, number, may_differ);
        }
        let secrets = before.by_secret.iter();
        let secrets = secrets.filter(|(secret, _)| !self.by_secret.contains_key(secret));
        let names = before.by_certificate.iter();
        let names = names.filter(|(name, _)| !self.by_certificate.contains_key(*name));
        let gone = secrets.map(|(_, gone)| gone);
        for gone in gone.chain(names.map(|(_, gone)| gone)) {
            let _none = gone.rights.replace(number);
        }
    }

    /// Who calls. Without access control a secret says nothing, but a certificate that was
    /// verified still has a name.
    pub(crate) fn find(
        &self,
        shown: Shown<'_>,
        now: Timestamp,
    ) -> Result<(Caller, &Principal), Unknown> {
        if let Some(secret) = shown.secret.filter(|_| self.is_on) {
            let known = self.by_secret.get(&SecretHash::of(secret));
            let known = known.filter(|known| known.counts(shown.address, now));
            let known = known.ok_or(Unknown)?;
            return Ok((known.caller(shown.address), known));
        }
        let mut named = shown.names.iter();
        if let Some(known) = named.clone().find_map(|name| self.by_certificate.get(name)) {
            return Ok((known.caller(shown.address), known));
        }
        let mut caller = self.anonymous.caller(shown.address);
        if !self.is_on {
            caller.name = named.next().map(|name| name.as_str().into());
        }
        Ok((caller, &self.anonymous))
    }
}

impl Principal {
    fn counts(&self, address: IpAddr, now: Timestamp) -> bool {
        let is_here = address.to_canonical().is_loopback();
        (is_here || !self.is_for_this_machine) && self.expires.is_none_or(|end| now < end)
    }
}
