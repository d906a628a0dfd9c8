//! Behaviour of `respond`.

use portolan_policy::{Answer, Exchange, Flow, Policy, Reply};

use super::settings::Spec;

/// The policy.
#[derive(Debug)]
pub(super) struct Respond(Spec);

impl Respond {
    pub(super) const fn new(spec: Spec) -> Self {
        Self(spec)
    }
}

impl Policy for Respond {
    fn request<'a>(&'a self, _: &'a mut Exchange) -> Answer<'a> {
        Answer::Now(Flow::Reply(Box::new(Reply {
            status: self.0.status,
            fields: self.0.fields.clone(),
            body: self.0.body.clone(),
        })))
    }
}
