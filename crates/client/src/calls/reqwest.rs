//! Calls over reqwest's client.

use reqwest::{Client, Request, RequestBuilder, Response, Url};

use super::{CallError, Target, failure, report, safety};
use crate::{Discovery, Picked, Service};

/// A reqwest client whose requests go to instances.
///
/// Cloning is cheap. Time limits, headers and TLS are those of the client; one that speaks
/// TLS verifies certificates for the addresses of instances. Redirects are followed by the
/// client, to hosts as everybody knows them.
#[derive(Clone, Debug)]
pub struct Reqwest {
    target: Target,
    client: Client,
}

impl Discovery {
    /// Calls services by a reqwest client: the host of a URL is the name of a service.
    #[must_use]
    pub fn reqwest(&self, client: Client) -> Reqwest {
        let target = Target::Host(self.clone());
        Reqwest { target, client }
    }
}

impl Service {
    /// Calls this service by a reqwest client, whatever the host of a URL.
    #[must_use]
    pub fn reqwest(&self, client: Client) -> Reqwest {
        let target = Target::Service(self.clone());
        Reqwest { target, client }
    }
}

impl Reqwest {
    /// The client, to build requests with.
    #[must_use]
    pub const fn client(&self) -> &Client {
        &self.client
    }

    /// Sends what was built, as [`Self::execute`] does.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn send(&self, builder: RequestBuilder) -> Result<Response, CallError> {
        let request = builder.build();
        let request = request.map_err(|error| CallError::Request(error.into()))?;
        self.execute(request).await
    }

    /// Sends a request to an instance, and to another one if that is safe and the body is no
    /// stream.
    ///
    /// # Errors
    /// [`CallError`].
    ///
    /// # Cancellation
    /// The call may have been carried out.
    pub async fn execute(&self, request: Request) -> Result<Response, CallError> {
        let safety = safety(request.method(), None);
        let mut course = self.target.course(request.url().host_str(), safety)?;
        let (mut next, mut failed) = (Some(request), None);
        loop {
            let picked = course.pick(failed.take()).await?;
            let Some(mut request) = next.take() else {
                return Err(course.failed("the body can't be sent again".into()));
            };
            next = request.try_clone();
            aim(request.url_mut(), &picked);
            let error = match self.client.execute(request).await {
                Ok(answer) => {
                    report(&picked, answer.status(), answer.headers());
                    return Ok(answer);
                }
                Err(error) => error,
            };
            let failure = failure(&error);
            picked.failed(failure);
            if !course.allows_retry(failure) || next.is_none() {
                return Err(course.failed(error.into()));
            }
            failed = Some(error.into());
        }
    }
}

/// Puts the address of an instance into a URL.
fn aim(url: &mut Url, picked: &Picked) {
    let address = picked.address();
    // URLs of HTTP have a host and a port.
    let _host = url.set_ip_host(address.ip());
    let _port = url.set_port(Some(address.port()));
}
