//! Servers that speak HTTP: one after the other until one answers.

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use portolan_model::{
    ByteSize,
    route::{CertificateFiles, Protocol, UpstreamTls, Verify},
};
use portolan_runtime::Env;
use portolan_wire::{
    call::{Answer, Call, CallError, Line, Scheme, Stream, Url},
    tls::{ClientTls, Connector},
};
use serde_json::{Map, Value, json};

use super::{Ended, Fields, InTheClear, Seat, Seats};

/// Most servers of one source.
const SERVERS_MAX: usize = 16;
/// Connections that wait for their next call.
const IDLE_MAX: usize = 8;
/// What is told of a body that explains a refusal.
const TOLD_BYTES_MAX: usize = 200;

/// Where a source's servers are, and how they are spoken to.
#[derive(Clone, PartialEq, Eq)]
pub struct ServersSettings {
    /// The servers, in the order in which they are tried.
    pub urls: Vec<Url>,
    /// For those over TLS.
    pub tls: UpstreamTls,
    /// Sent with every call.
    pub fields: HeaderMap,
}

/// Tokens are not shown.
impl fmt::Debug for ServersSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServersSettings")
            .field("urls", &self.urls)
            .field("tls", &self.tls)
            .finish_non_exhaustive()
    }
}

impl ServersSettings {
    /// Reads `urls` (or a single `url`), `tls` and `headers`. `example` is shown to whoever
    /// named no server.
    pub fn read(fields: &mut Fields<'_>, example: &str) -> Self {
        let single = fields.text("url").map(|text| ("url".to_owned(), text));
        let several = fields.texts("urls").into_iter();
        let several = several.map(|(index, text)| (format!("urls/{index}"), text));
        let texts: Vec<_> = single.into_iter().chain(several).collect();
        if texts.is_empty() {
            let problem = portolan_model::Problem::new("/urls", "there is no server to ask");
            fields.problem(problem.with_help(format!("write `urls: [\"{example}\"]`")));
        }
        if texts.len() > SERVERS_MAX {
            fields.refuse("urls", format!("there are more than {SERVERS_MAX} servers"));
        }
        let mut urls = Vec::new();
        for (path, text) in texts {
            match Url::parse(text) {
                Ok(url) => urls.push(url),
                Err(bad) => fields.refuse(&path, bad.to_string()),
            }
        }
        let is_plain = urls.iter().all(|url| url.scheme() == Scheme::Http);
        if is_plain && !urls.is_empty() && fields.value("tls").is_some() {
            fields.refuse("tls", "no server is spoken to by TLS: every URL is http://");
        }
        Self {
            urls,
            tls: tls(fields),
            fields: headers(fields),
        }
    }

    /// Shows a token with every call.
    pub fn authorize(&mut self, fields: &mut Fields<'_>, (name, value): (&'static str, String)) {
        self.show(fields, header::AUTHORIZATION, (name, value));
    }

    /// Sends a secret in that field with every call; `name` is the setting it came from.
    pub fn show(
        &mut self,
        fields: &mut Fields<'_>,
        field: HeaderName,
        (name, value): (&'static str, String),
    ) {
        match HeaderValue::from_str(&value) {
            Ok(mut value) => {
                value.set_sensitive(true);
                self.fields.insert(field, value);
            }
            Err(_) => fields.refuse(name, format!("`{name}` has characters that can't be sent")),
        }
    }

    /// Adds the schema of these settings to a kind's `properties`.
    pub fn describe(properties: &mut Map<String, Value>) {
        let text = |what: &str| json!({"type": "string", "description": what});
        let file = |what: &str| json!({"type": "string", "format": "path", "description": what});
        let own = [
            (
                "url",
                text("The server, like http://127.0.0.1:8500. One of `url` and `urls` is needed."),
            ),
            (
                "urls",
                json!({
                    "type": "array", "maxItems": SERVERS_MAX, "items": {"type": "string"},
                    "description": "Servers that know the same; the next one is asked when one does not answer."
                }),
            ),
            (
                "headers",
                json!({
                    "type": "object", "additionalProperties": {"type": "string"},
                    "description": "Header fields that are sent with every call."
                }),
            ),
            (
                "tls",
                json!({
                    "type": "object", "additionalProperties": false,
                    "description": "How servers with https:// are spoken to.",
                    "properties": {
                        "ca": file("Trust these roots (PEM) instead of the system's."),
                        "certificate": file("Show this certificate chain (PEM)."),
                        "key": file("Its private key (PEM)."),
                        "server_name": text("The name to ask for and to verify; the URL's host by default."),
                        "verify": json!({"enum": ["full", "off"], "default": "full", "description": "How much of the server's certificate is verified."})
                    }
                }),
            ),
        ];
        properties.extend(own.map(|(name, schema)| (name.to_owned(), schema)));
    }
}

/// Reads `tls`.
pub fn tls(fields: &mut Fields<'_>) -> UpstreamTls {
    let mut tls = UpstreamTls {
        server_name: None,
        ca: None,
        certificate: None,
        verify: Verify::Full,
    };
    let Some(mut inner) = fields.within("tls") else {
        return tls;
    };
    tls.server_name = inner.text("server_name").map(str::to_owned);
    tls.ca = inner.text("ca").map(PathBuf::from);
    let files = (inner.text("certificate"), inner.text("key"));
    tls.certificate = match files {
        (Some(certificate), Some(key)) => Some(CertificateFiles {
            certificate: certificate.into(),
            key: key.into(),
        }),
        (None, None) => None,
        (Some(_), None) | (None, Some(_)) => {
            inner.refuse("", "`certificate` and `key` go together");
            None
        }
    };
    let verify = [("full", Verify::Full), ("off", Verify::Off)];
    tls.verify = inner.word("verify", &verify).unwrap_or_default();
    fields.absorb("tls", inner);
    tls
}

fn headers(fields: &mut Fields<'_>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let Some(value) = fields.value("headers") else {
        return headers;
    };
    let Some(map) = value.as_object() else {
        fields.refuse("headers", "`headers` is not a map");
        return headers;
    };
    for (name, value) in map {
        let path = format!("headers/{name}");
        let read = value
            .as_str()
            .map(|text| (HeaderName::try_from(name), HeaderValue::from_str(text)));
        match read {
            Some((Ok(name), Ok(mut value))) => {
                value.set_sensitive(true);
                headers.insert(name, value);
            }
            _ => fields.refuse(&path, "this is no header field"),
        }
    }
    headers
}

/// A source's servers at work. One of them is asked until it fails.
pub struct Servers {
    settings: ServersSettings,
    env: Env,
    answer_max: ByteSize,
    connector: Option<Arc<Connector>>,
    current: usize,
    idle: Vec<Line>,
    seat: Option<Seat>,
}

impl fmt::Debug for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Servers")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl Servers {
    /// Servers that nobody spoke to yet, whose answers are read up to `answer_max`.
    #[must_use]
    pub const fn new(settings: ServersSettings, answer_max: ByteSize, env: Env) -> Self {
        Self {
            settings,
            env,
            answer_max,
            connector: None,
            current: 0,
            idle: Vec::new(),
            seat: None,
        }
    }

    /// The seats at the server that is asked, on so many connections.
    ///
    /// # Errors
    /// [`Ended::Lost`]: a file of the settings for TLS is bad.
    pub async fn seats(
        &self,
        connections: usize,
        in_the_clear: InTheClear,
    ) -> Result<Seats, Ended> {
        let url = self.url().ok_or_else(no_server)?;
        let server = (&self.settings, url);
        Seats::find(
            server,
            self.answer_max,
            connections,
            in_the_clear,
            &self.env,
        )
        .await
    }

    /// Asks on this seat from now on, one question at a time.
    pub fn sit(&mut self, seat: Seat) {
        if let Seat::Single(_, tls) = &seat {
            self.connector.clone_from(tls);
        }
        self.seat = Some(seat);
    }

    /// The server that is asked.
    #[must_use]
    pub fn url(&self) -> Option<&Url> {
        self.settings.urls.get(self.current)
    }

    /// Asks the next server from now on, unless the seat is at this one.
    pub fn next_server(&mut self) {
        if matches!(self.seat, Some(Seat::Shared(_))) {
            return;
        }
        self.idle.clear();
        let count = self.settings.urls.len().max(1);
        let next = self.current.wrapping_add(1);
        self.current = if next < count { next } else { 0 };
    }

    /// Asks, on a connection that is open already if there is one. A call is repeated once,
    /// on a new connection, if an old one turns out to be closed: it must be one that may be.
    ///
    /// # Errors
    /// [`Ended::Lost`] names the server; the next one is asked from then on.
    ///
    /// # Cancellation
    /// The call may have been carried out.
    pub async fn ask(&mut self, call: Call, within: Duration) -> Result<Answer, Ended> {
        if let Some(Seat::Shared(lane)) = &mut self.seat {
            let answered = lane.call(call, within).await;
            return answered.map_err(|error| self.lost(&error));
        }
        while let Some(mut line) = self.idle.pop() {
            if !line.is_open() {
                continue;
            }
            match line.call(call.clone(), within).await {
                Ok(answer) => {
                    self.keep(line);
                    return Ok(answer);
                }
                // A server that is silent would be silent to the next call, too.
                Err(error @ CallError::TimedOut { .. }) => return Err(self.lost(&error)),
                Err(_) => break,
            }
        }
        let mut line = self.open().await?;
        match line.call(call, within).await {
            Ok(answer) => {
                self.keep(line);
                Ok(answer)
            }
            Err(error) => Err(self.lost(&error)),
        }
    }

    /// Asks, and hands on the answer's body while it comes, on a connection of its own.
    ///
    /// # Errors
    /// [`Ended::Lost`] names the server; the next one is asked from then on.
    pub async fn stream(&mut self, call: Call, within: Duration) -> Result<Stream, Ended> {
        let line = self.open().await?;
        let answered = line.stream(call, within).await;
        answered.map_err(|error| self.lost(&error))
    }

    /// A connection of one's own to the current server, for calls that wait for long.
    ///
    /// # Errors
    /// [`Ended::Lost`] names the server; the next one is asked from then on.
    pub async fn open(&mut self) -> Result<Line, Ended> {
        let Some(url) = self.url().cloned() else {
            return Err(no_server());
        };
        if url.scheme() == Scheme::Https && self.connector.is_none() {
            let made = ClientTls::new().connector(&self.settings.tls, Protocol::Http1);
            self.connector = Some(made.map_err(|error| Ended::by(&error))?);
        }
        let line = Line::open(&url, self.connector.as_deref(), &self.env).await;
        let line = line.map_err(|error| self.lost(&error))?;
        let line = line.with_answers_up_to(self.answer_max);
        Ok(line.with_fields(self.settings.fields.clone()))
    }

    /// What to say of an answer that is no success: the server, the status, and its words.
    #[must_use]
    pub fn refused(&self, answer: &Answer) -> Ended {
        let words = String::from_utf8_lossy(&answer.body);
        let words = words.trim();
        let end = words
            .char_indices()
            .map(|(at, _)| at)
            .find(|at| *at >= TOLD_BYTES_MAX);
        let words = words.get(..end.unwrap_or(words.len())).unwrap_or_default();
        let server = self.url().map(ToString::to_string).unwrap_or_default();
        let hint = match answer.status {
            StatusCode::UNAUTHORIZED => " (is the token or password right?)",
            StatusCode::FORBIDDEN => " (may this token read that?)",
            _ => "",
        };
        let mut reason = format!("{server} answered {}{hint}", answer.status);
        if !words.is_empty() {
            reason = format!("{reason}: {words}");
        }
        let after = answer.headers.get(header::RETRY_AFTER);
        let after = after.and_then(|value| value.to_str().ok()?.trim().parse().ok());
        Ended::Lost {
            reason,
            after: after.map(Duration::from_secs),
        }
    }

    fn keep(&mut self, line: Line) {
        if line.is_open() && self.idle.len() < IDLE_MAX {
            self.idle.push(line);
        }
    }

    /// The current server failed: the next one has its turn.
    fn lost(&mut self, error: &CallError) -> Ended {
        let server = self.url().map(ToString::to_string).unwrap_or_default();
        self.next_server();
        match Ended::by(error) {
            Ended::Lost { reason, after } => Ended::Lost {
                reason: format!("{server}: {reason}"),
                after,
            },
            Ended::Closed => Ended::Closed,
        }
    }
}

fn no_server() -> Ended {
    Ended::lost("there is no server to ask")
}
