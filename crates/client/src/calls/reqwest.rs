//! Calls over reqwest's client.

use reqwest::{
    Body, Client, ClientBuilder, Request, RequestBuilder, Response, ResponseBuilderExt, Url,
    redirect::Policy,
};

use super::{CallError, Counted, Target, blame, report, safety};
use crate::{Discovery, Picked, Service};

/// A reqwest client whose requests go to instances.
///
/// Cloning is cheap. Time limits, headers and TLS are those of the client; one that speaks
/// TLS verifies certificates for the addresses of instances. A redirect is an answer and
/// handed to the caller: whoever follows one has made a call that must not be repeated.
#[derive(Clone, Debug)]
pub struct Reqwest {
    target: Target,
    client: Client,
}

impl Discovery {
    /// Calls services by a reqwest client of those settings: the host of a URL is the name of
    /// a service. Redirects are not followed, whatever the settings say.
    ///
    /// # Errors
    /// reqwest's: there can be no client of those settings.
    pub fn reqwest(&self, settings: ClientBuilder) -> reqwest::Result<Reqwest> {
        Reqwest::new(Target::Host(self.clone()), settings)
    }
}

impl Service {
    /// Calls this service by a reqwest client of those settings, whatever the host of a URL.
    /// Redirects are not followed, whatever the settings say.
    ///
    /// # Errors
    /// reqwest's: there can be no client of those settings.
    pub fn reqwest(&self, settings: ClientBuilder) -> reqwest::Result<Reqwest> {
        Reqwest::new(Target::Service(self.clone()), settings)
    }
}

impl Reqwest {
    fn new(target: Target, settings: ClientBuilder) -> reqwest::Result<Self> {
        // An error does not tell whether it is that of the call or of a redirect after it.
        let client = settings.redirect(Policy::none()).build()?;
        Ok(Self { target, client })
    }

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
                picked.withdraw();
                return Err(course.failed("the body can't be sent again".into()));
            };
            next = request.try_clone();
            aim(request.url_mut(), &picked);
            let error = match self.client.execute(request).await {
                Ok(answer) => {
                    report(&picked, answer.status(), answer.headers());
                    return Ok(counted(answer, picked));
                }
                Err(error) => error,
            };
            let blame = blame(&error);
            if !course.goes_on(picked, blame) || next.is_none() {
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

/// The answer, whose call is counted until its body has ended.
fn counted(answer: Response, picked: Picked) -> Response {
    let url = http::Response::builder().url(answer.url().clone()).body(());
    let mut answer: http::Response<Body> = answer.into();
    // The conversion forgets the URL.
    if let Ok(url) = url {
        let (url, ()) = url.into_parts();
        answer.extensions_mut().extend(url.extensions);
    }
    answer
        .map(|body| Body::wrap(Counted::new(body, picked)))
        .into()
}
