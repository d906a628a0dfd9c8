//! What the caller of one request may see and do.
//!
//! Other rights are a change of all that is shown, although nothing else has changed: the
//! indexes that go out have the number of the caller's rights added to what they are within,
//! so they grow with either. An index that was given for other rights is therefore not that of
//! what there is now, short of a coincidence: who is answered by another principal's rights, and
//! who comes back after a restart, which counts rights anew, may get a lower one.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use http::{HeaderName, HeaderValue};
use portolan_access::{Caller, Level, Need, Resource};
use portolan_auth::Access;
use portolan_dialects::consul::{Refusal, blocking::shown};
use portolan_wire::serve::{Peer, Request, Response};

/// What a client names when it waits for something else than it has seen.
const INDEX: HeaderName = HeaderName::from_static("x-consul-index");
/// Says whether something was left out.
const FILTERED: HeaderName = HeaderName::from_static("x-consul-results-filtered-by-acls");
/// What holds where no policy speaks.
const DEFAULT_POLICY: HeaderName = HeaderName::from_static("x-consul-default-acl-policy");

/// What the caller of one request may see and do.
#[derive(Debug, Default)]
pub(crate) struct Permit {
    caller: Caller,
    /// Something was left out of what was read.
    has_left_out: AtomicBool,
}

impl Permit {
    /// What the gate found out of a request's caller.
    pub(crate) fn of(request: &Request) -> Self {
        let extensions = request.extensions();
        let peer = extensions.get::<Peer>();
        let unnamed = || {
            peer.map(|peer| Caller::unnamed(peer.address.ip()))
                .unwrap_or_default()
        };
        let caller = extensions.get::<Caller>().cloned();
        Self {
            caller: caller.unwrap_or_else(unnamed),
            has_left_out: AtomicBool::default(),
        }
    }

    /// Whether everything is permitted, because there is no access control.
    pub(crate) const fn is_open(&self) -> bool {
        self.caller.grant.is_open()
    }

    pub(crate) const fn caller(&self) -> &Caller {
        &self.caller
    }

    /// Who is said to have changed something.
    pub(crate) fn actor(&self) -> Arc<str> {
        self.caller.actor()
    }

    /// Whether that level is allowed for a name; the empty one for what there is one of.
    pub(crate) fn allows(&self, resource: Resource, name: &str, level: Level) -> bool {
        self.caller.grant.allows_level(resource, name, level)
    }

    /// Whether something may be read; if not, the answer says that it left something out.
    pub(crate) fn shows(&self, resource: Resource, name: &str) -> bool {
        let is_shown = self.allows(resource, name, Level::Read);
        if !is_shown {
            self.has_left_out.store(true, Ordering::Relaxed);
        }
        is_shown
    }

    /// Demands a level.
    ///
    /// # Errors
    /// 403 in Consul's words.
    pub(crate) fn require(
        &self,
        resource: Resource,
        name: &str,
        level: Level,
    ) -> Result<(), Refusal> {
        if self.allows(resource, name, level) {
            return Ok(());
        }
        Err(self.denied(resource, name, level))
    }

    /// Demands a level of everything that begins so.
    ///
    /// # Errors
    /// 403 in Consul's words.
    pub(crate) fn require_tree(
        &self,
        resource: Resource,
        prefix: &str,
        level: Level,
    ) -> Result<(), Refusal> {
        if self.caller.grant.allows_tree(resource, prefix, level) {
            return Ok(());
        }
        Err(self.denied(resource, prefix, level))
    }

    /// Demands that a service may be taken out: by who may write it, or by an operator.
    ///
    /// # Errors
    /// 403 in Consul's words.
    pub(crate) fn require_maintenance(&self, service: &str) -> Result<(), Refusal> {
        if self.caller.may(&Need::Operate) {
            return Ok(());
        }
        self.require(Resource::Service, service, Level::Write)
    }

    fn denied(&self, resource: Resource, name: &str, level: Level) -> Refusal {
        let permission = format!("{}:{}", resource.as_str(), level.as_str());
        let about = if name.is_empty() {
            String::new()
        } else {
            format!(" on {name:?}")
        };
        let text = match (&self.caller.token, &self.caller.name) {
            (Some(token), _) => format!(
                "Permission denied: token with AccessorID '{token}' lacks permission '{permission}'{about}"
            ),
            (None, Some(name)) => {
                format!("Permission denied: '{name}' lacks permission '{permission}'{about}")
            }
            (None, None) => format!(
                "Permission denied: anonymous token lacks permission '{permission}'{about}. The anonymous token is used implicitly when a request does not specify a token."
            ),
        };
        Refusal::new(403, text)
    }

    /// What a client has seen, by the index that it was given. One that comes from elsewhere
    /// may name any: numbers wrap.
    pub(crate) fn seen(&self, index: Option<u64>) -> Option<u64> {
        Some(index?.wrapping_sub(self.caller.rights.number()))
    }

    /// Resolves when the caller may do something else than this says. Cancel-safe.
    pub(crate) async fn outdated(&self, access: &Access) {
        let mut changes = access.changes();
        let outdated = changes.wait_for(|_| !self.caller.rights.are_current());
        if outdated.await.is_err() {
            // Nobody changes rights any more.
            std::future::pending::<()>().await;
        }
    }

    /// An answer that says what access control did to it.
    pub(crate) fn finished(&self, mut response: Response) -> Response {
        let index = response.headers_mut().get_mut(&INDEX);
        if let Some(index) = index
            && let Some(within) = index
                .to_str()
                .ok()
                .and_then(|text| text.parse::<u64>().ok())
        {
            let given = within.wrapping_add(self.caller.rights.number());
            *index = HeaderValue::from(shown(given));
        }
        if self.is_open() {
            return response;
        }
        let headers = response.headers_mut();
        headers.insert(DEFAULT_POLICY, HeaderValue::from_static("deny"));
        if self.has_left_out.load(Ordering::Relaxed) && self.caller.name.is_some() {
            headers.insert(FILTERED, HeaderValue::from_static("true"));
        }
        response
    }
}
