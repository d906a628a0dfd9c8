//! Asks for the document, over and over.

use std::{convert::Infallible, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use portolan_model::SourceId;
use portolan_runtime::{Dice, Env};
use portolan_wire::call::{Answer, Call};

use super::{map, settings::Settings};
use crate::frame::{Ended, Follow, Provenance, Servers, Teller};

/// How long an answer may take.
const WITHIN: Duration = Duration::from_secs(20);
/// What says which version an answer is, and how to ask for another one only.
const VERSIONS: [(HeaderName, HeaderName); 2] = [
    (header::ETAG, header::IF_NONE_MATCH),
    (header::LAST_MODIFIED, header::IF_MODIFIED_SINCE),
];

pub(super) struct Watch {
    settings: Settings,
    source: SourceId,
    env: Env,
    dice: Dice,
    servers: Servers,
    /// The version that was told last, and which server's.
    seen: Option<(String, HeaderMap)>,
}

impl Follow for Watch {
    async fn session(&mut self, teller: &mut Teller) -> Result<Infallible, Ended> {
        let begun = Provenance::new(teller);
        loop {
            self.look(&begun, teller).await?;
            let jitter = 0.95 + self.dice.unit_f64() / 10.0;
            self.env.sleep(self.settings.interval.mul_f64(jitter)).await;
        }
    }
}

impl Watch {
    pub(super) fn new(settings: Settings, source: SourceId, env: Env) -> Self {
        let limit = settings.size_max;
        Self {
            servers: Servers::new(settings.servers.clone(), limit, env.clone()),
            settings,
            source,
            dice: env.dice(),
            env,
            seen: None,
        }
    }

    async fn look(&mut self, begun: &Provenance, teller: &mut Teller) -> Result<(), Ended> {
        let answer = self.ask().await?;
        if answer.status == StatusCode::NOT_MODIFIED && self.seen.is_some() {
            teller.still().await?;
            return Ok(());
        }
        if answer.status != StatusCode::OK {
            let refused = self.servers.refused(&answer);
            self.servers.next_server();
            return Err(refused);
        }
        let provenance = begun.of_answer(&answer.headers, self.servers.url());
        let provenance = provenance.inspect_err(|_| self.servers.next_server())?;
        let document = serde_json::from_slice(&answer.body)
            .map_err(|error| self.lost(&format!("the answer is no JSON: {error}")))?;
        let view = map::view(&self.settings, &self.source, &provenance, document);
        let view = view.map_err(|why| self.lost(&why))?;
        teller.all(view).await?;
        self.seen = self.version(&answer);
        Ok(())
    }

    /// Asks one server after the other until one answers.
    async fn ask(&mut self) -> Result<Answer, Ended> {
        let mut tries = self.settings.servers.urls.len();
        loop {
            let call = self.call();
            match self.servers.ask(call, WITHIN).await {
                Ok(answer) => return Ok(answer),
                Err(ended) if tries <= 1 => return Err(ended),
                Err(_) => tries = tries.saturating_sub(1),
            }
        }
    }

    fn call(&self) -> Call {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        let seen = self.seen.as_ref();
        let same = seen.filter(|(server, _)| *server == self.server());
        if let Some((_, version)) = same {
            headers.extend(version.clone());
        }
        Call {
            headers,
            ..Call::get(self.target())
        }
    }

    fn target(&self) -> String {
        let is_bare = self.servers.url().is_some_and(|url| url.path().is_empty());
        let path = if is_bare { "/" } else { "" };
        match &self.settings.query {
            Some(query) => format!("{path}?{query}"),
            None => path.to_owned(),
        }
    }

    /// Which version was told, in the fields that ask for another one only.
    fn version(&self, answer: &Answer) -> Option<(String, HeaderMap)> {
        let fields = VERSIONS.iter().filter_map(|(says, asks)| {
            let value = answer.headers.get(says)?;
            Some((asks.clone(), value.clone()))
        });
        let fields: HeaderMap = fields.collect();
        (!fields.is_empty()).then(|| (self.server(), fields))
    }

    fn server(&self) -> String {
        let url = self.servers.url();
        url.map(ToString::to_string).unwrap_or_default()
    }

    /// The answer is of no use: the next server may know better.
    fn lost(&mut self, why: &str) -> Ended {
        let server = self.server();
        self.servers.next_server();
        Ended::lost(format!("{server}: {why}"))
    }
}
