//! Behaviour of `redirect`.

use std::fmt::Write as _;

use bytes::Bytes;
use portolan_model::{
    Cause,
    http::{Fields, Scheme},
};
use portolan_policy::{Answer, Exchange, Fault, Flow, Policy, Reply};

use super::settings::Spec;

/// The policy.
#[derive(Debug)]
pub(super) struct Redirect(Spec);

impl Redirect {
    pub(super) const fn new(spec: Spec) -> Self {
        Self(spec)
    }

    fn location(&self, exchange: &Exchange) -> Result<String, Fault> {
        let head = &exchange.head;
        let scheme = self.0.scheme.unwrap_or(head.scheme);
        let host = self.0.host.as_deref().unwrap_or(head.host());
        if host.is_empty() {
            return Err(Fault::new(
                Cause::RequestMalformed,
                "the request names no host to redirect to",
            ));
        }
        let port = match (self.0.port, self.0.scheme, &self.0.host) {
            (Some(port), _, _) => Some(port),
            (None, None, None) => port_of(&head.authority),
            (None, _, _) => None,
        };
        let mut location = format!("{}://{host}", scheme.as_str());
        if let Some(port) = port.filter(|port| *port != own_port(scheme)) {
            // Writing to a text can't fail.
            let _ = write!(location, ":{port}");
        }
        match &self.0.path {
            None => location.push_str(head.target.as_str()),
            Some(change) => {
                let mut target = head.target.clone();
                change.apply(&mut target, exchange)?;
                location.push_str(target.as_str());
            }
        }
        Ok(location)
    }
}

fn port_of(authority: &str) -> Option<u16> {
    authority.rsplit_once(':')?.1.parse().ok()
}

const fn own_port(scheme: Scheme) -> u16 {
    match scheme {
        Scheme::Http => 80,
        Scheme::Https => 443,
    }
}

impl Policy for Redirect {
    fn request<'a>(&'a self, exchange: &'a mut Exchange) -> Answer<'a> {
        let location = match self.location(exchange) {
            Ok(location) => location,
            Err(fault) => return Answer::Now(Flow::Fail(Box::new(fault))),
        };
        let mut fields = Fields::default();
        if let Err(bad) = fields.push("location", location.as_bytes()) {
            let fault = Fault::new(Cause::UriTooLong, "the new location is too long")
                .with_detail(bad.to_string());
            return Answer::Now(Flow::Fail(Box::new(fault)));
        }
        Answer::Now(Flow::Reply(Box::new(Reply {
            status: self.0.status,
            fields,
            body: Bytes::new(),
        })))
    }
}
