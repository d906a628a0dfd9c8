//! Behaviour of `rewrite`.

use portolan_policy::{Answer, Exchange, Flow, Policy};

use super::settings::Spec;
use crate::path_change::PathChange;

/// The policy.
#[derive(Debug)]
pub(super) struct Rewrite(Spec);

impl Rewrite {
    pub(super) const fn new(spec: Spec) -> Self {
        Self(spec)
    }
}

impl Policy for Rewrite {
    fn request<'a>(&'a self, exchange: &'a mut Exchange) -> Answer<'a> {
        if let Some(host) = &self.0.host {
            exchange.head.authority.clear();
            exchange.head.authority.push_str(host);
        }
        let Some(change) = &self.0.path else {
            return Answer::Now(Flow::Next);
        };
        let mut target = std::mem::take(&mut exchange.head.target);
        let done = change.apply(&mut target, exchange);
        exchange.head.target = target;
        match done {
            Ok(()) => {
                exchange.prefix_bytes = match change {
                    PathChange::Prefix(prefix) => prefix.len(),
                    PathChange::Path(_) => exchange.head.path().len(),
                };
                Answer::Now(Flow::Next)
            }
            Err(fault) => Answer::Now(Flow::Fail(Box::new(fault))),
        }
    }
}
