//! Behaviour of `headers`.

use portolan_model::{
    Cause,
    http::{FieldError, Fields, ResponseHead},
};
use portolan_policy::{Answer, Exchange, Fault, Flow, Policy};

use super::settings::{Changes, Spec};

/// The policy.
#[derive(Debug)]
pub(super) struct Headers(Spec);

impl Headers {
    pub(super) const fn new(spec: Spec) -> Self {
        Self(spec)
    }
}

impl Policy for Headers {
    fn request<'a>(&'a self, exchange: &'a mut Exchange) -> Answer<'a> {
        if self.0.request.apply(&mut exchange.head.fields).is_ok() {
            return Answer::Now(Flow::Next);
        }
        let fault = Fault::new(Cause::HeadTooLarge, "the head of the request is too large");
        Answer::Now(Flow::Fail(Box::new(fault)))
    }

    fn response(&self, _: &Exchange, head: &mut ResponseHead) {
        // Can only fail over 16 MiB of fields: what does not fit is then left out.
        let _ = self.0.response.apply(&mut head.fields);
    }
}

impl Changes {
    fn apply(&self, fields: &mut Fields) -> Result<(), FieldError> {
        for name in &self.remove {
            fields.remove(name);
        }
        for (name, value) in &self.set {
            fields.remove(name);
            fields.push_checked(name, value)?;
        }
        for (name, value) in &self.add {
            fields.push_checked(name, value)?;
        }
        Ok(())
    }
}
