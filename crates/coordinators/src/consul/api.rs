//! Calls to Consul that may block until something changes.

use std::{
    fmt::Write as _,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use http::{HeaderMap, StatusCode};
use portolan_model::{ByteSize, percent::encode_component};
use portolan_runtime::Env;
use portolan_wire::call::{Answer, Call, Url};

use super::{map::Entries, settings::Settings};
use portolan_sources::frame::{Ended, InTheClear, Provenance, Seat, Seats, Servers};

/// The largest answer that is read: all checks of a large Consul.
const ANSWER_MAX: ByteSize = ByteSize::from_bytes(256 << 20);
/// How long a server may take besides what it was asked to wait.
const GRACE: Duration = Duration::from_secs(10);
/// Where there is no index to wait by, it is asked again after this.
const BLIND_PAUSE: Duration = Duration::from_secs(1);
const INDEX: &str = "x-consul-index";
const FILTERED: &str = "x-consul-results-filtered-by-acls";

/// Where a query that blocks goes on. 0 asks for what is now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Cursor(u64);

/// What came of a query that may have blocked.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) answer: Answer,
    pub(super) provenance: Provenance,
    /// Where it goes on.
    pub(super) cursor: Cursor,
    /// Something may have changed since the cursor that it was asked with.
    pub(super) is_new: bool,
}

impl Cursor {
    /// Where it goes on after an answer. An index that went back, as after a restart or a
    /// restored backup, means nothing any more: it is begun anew. Says whether there may be
    /// news.
    pub(super) const fn next(self, answered: Option<u64>) -> (Self, bool) {
        match answered {
            None | Some(0) => (Self(0), true),
            Some(index) if index < self.0 => (Self(0), true),
            Some(index) => (Self(index), index != self.0),
        }
    }

    pub(super) const fn is_blind(self) -> bool {
        self.0 == 0
    }
}

/// The server of a datacenter that answered last, for all who ask there.
#[derive(Clone, Default)]
pub(super) struct Good(Arc<AtomicUsize>);

/// What became of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It was answered, be it by a refusal.
    Answered,
    /// There was no answer: the server is away, or takes no more connections of this client.
    Unanswered,
    /// The server takes no more questions of this client (429).
    TooMany,
}

/// One who asks, one question at a time.
pub(super) struct Api {
    settings: Arc<Settings>,
    servers: Servers,
    env: Env,
    datacenter: Option<String>,
    begun: Provenance,
    /// Where whoever asks next begins.
    good: Good,
    /// Any server may answer, not only the leader.
    is_stale_allowed: bool,
    /// Asks one server only, on a seat there.
    is_seated: bool,
    /// What became of the last question.
    fate: Fate,
}

impl Api {
    pub(super) fn new(
        settings: &Arc<Settings>,
        datacenter: Option<&str>,
        begun: &Provenance,
        env: &Env,
        good: &Good,
    ) -> Self {
        let mut servers = Servers::new(settings.servers.clone(), ANSWER_MAX, env.clone());
        for _ in 0..good.0.load(Relaxed) {
            servers.next_server();
        }
        Self {
            servers,
            is_seated: false,
            fate: Fate::Answered,
            good: good.clone(),
            is_stale_allowed: settings.is_stale_allowed,
            settings: Arc::clone(settings),
            env: env.clone(),
            datacenter: datacenter.map(str::to_owned),
            begun: begun.clone(),
        }
    }

    /// Whether any server may answer, if the settings allow it, or only the leader.
    pub(super) fn allow_stale(&mut self, is_allowed: bool) {
        self.is_stale_allowed = is_allowed && self.settings.is_stale_allowed;
    }

    /// Seats for questions that block, at the server that is asked.
    pub(super) async fn seats(
        &self,
        connections: usize,
        in_the_clear: InTheClear,
    ) -> Result<Seats, Ended> {
        self.servers.seats(connections, in_the_clear).await
    }

    /// The server that is asked.
    pub(super) fn url(&self) -> Option<&Url> {
        self.servers.url()
    }

    /// Asks on this seat from now on, and no other server.
    pub(super) fn sit(&mut self, seat: Seat) {
        self.servers.sit(seat);
        self.is_seated = true;
    }

    /// What became of the last question.
    pub(super) const fn fate(&self) -> Fate {
        self.fate
    }

    /// Asks for a path; blocks for up to `wait` while there is nothing new after the cursor.
    pub(super) async fn blocking(
        &mut self,
        path: &str,
        cursor: Cursor,
        wait: Duration,
    ) -> Result<Asked, Ended> {
        let mut target = self.target(path);
        let mut within = GRACE;
        if !cursor.is_blind() {
            // Writing to a string can't fail.
            let _written = write!(target, "index={}&wait={}ms", cursor.0, wait.as_millis());
            // Consul waits up to a sixteenth longer, so that not all come at once.
            let more = wait.mul_f64(1.0 / 16.0);
            within = wait.saturating_add(more).saturating_add(GRACE);
        }
        let answer = self.ask(&target, within).await?;
        let provenance = self.provenance(&answer.headers)?;
        let index = answer.headers.get(INDEX);
        let index = index.and_then(|index| index.to_str().ok()?.trim().parse().ok());
        let (next, is_new) = cursor.next(index);
        if next.is_blind() && cursor.is_blind() {
            self.env.sleep(BLIND_PAUSE).await;
        }
        Ok(Asked {
            answer,
            provenance,
            cursor: next,
            is_new,
        })
    }

    /// Asks for the entries of a service.
    pub(super) async fn service(
        &mut self,
        name: &str,
        cursor: Cursor,
        wait: Duration,
    ) -> Result<(Asked, Option<Entries>), Ended> {
        let path = format!("/v1/health/service/{}", encode_component(name));
        let asked = self.blocking(&path, cursor, wait).await?;
        if !asked.is_new {
            return Ok((asked, None));
        }
        let list = self.read(&asked.answer)?;
        let entries = Entries {
            name: None,
            datacenter: self.shown_datacenter(),
            list,
            provenance: asked.provenance.clone(),
        };
        Ok((asked, Some(entries)))
    }

    /// Executes a prepared query.
    pub(super) async fn query(&mut self, name: &str) -> Result<Entries, Ended> {
        let target = self.target(&format!("/v1/query/{}/execute", encode_component(name)));
        let answer = self.ask(&target, GRACE).await?;
        let executed: super::shape::Executed = self.read(&answer)?;
        Ok(Entries {
            name: Some(name.to_owned()),
            datacenter: self.shown_datacenter(),
            list: executed.nodes,
            provenance: self.provenance(&answer.headers)?,
        })
    }

    /// Reads an answer. If it is none, the next server may know better.
    pub(super) fn read<'a, T: serde::Deserialize<'a>>(
        &mut self,
        answer: &'a Answer,
    ) -> Result<T, Ended> {
        serde_json::from_slice(&answer.body).map_err(|error| {
            let server = self.server();
            self.servers.next_server();
            self.remember();
            Ended::lost(format!(
                "{server} answered something else than Consul would: {error}"
            ))
        })
    }

    /// Why nothing is answered, if it is for lack of a right.
    pub(super) fn check_rights(&self, asked: &Asked) -> Result<(), Ended> {
        let filtered = asked.answer.headers.get(FILTERED);
        if filtered.is_some_and(|filtered| filtered == "true") {
            let server = self.server();
            return Err(Ended::lost(format!(
                "{server} shows no service to this token: it needs `service:read` and `node:read`"
            )));
        }
        Ok(())
    }

    /// Datacenters are told apart where several are read.
    fn shown_datacenter(&self) -> Option<String> {
        let several = self.settings.datacenters.len() > 1;
        self.datacenter.clone().filter(|_| several)
    }

    /// Asks one server after the other until one answers.
    async fn ask(&mut self, target: &str, within: Duration) -> Result<Answer, Ended> {
        let mut tries = self.settings.servers.urls.len();
        if self.is_seated {
            tries = 1;
        }
        loop {
            let asked = self.servers.ask(Call::get(target), within).await;
            self.fate = match &asked {
                Ok(answer) if answer.status == StatusCode::TOO_MANY_REQUESTS => Fate::TooMany,
                Ok(_) => Fate::Answered,
                Err(_) => Fate::Unanswered,
            };
            let failed = match asked {
                Ok(answer) if answer.status == StatusCode::OK => {
                    self.remember();
                    return Ok(answer);
                }
                Ok(answer) => {
                    let refused = self.refused(&answer);
                    self.servers.next_server();
                    refused
                }
                Err(ended) => self.in_datacenter(ended),
            };
            tries = tries.saturating_sub(1);
            if tries == 0 {
                return Err(failed);
            }
        }
    }

    fn remember(&self) {
        let urls = &self.settings.servers.urls;
        let current = urls.iter().position(|url| Some(url) == self.servers.url());
        self.good.0.store(current.unwrap_or(0), Relaxed);
    }

    fn refused(&self, answer: &Answer) -> Ended {
        self.in_datacenter(self.servers.refused(answer))
    }

    fn in_datacenter(&self, ended: Ended) -> Ended {
        match (ended, &self.datacenter) {
            (Ended::Lost { reason, after }, Some(datacenter)) => Ended::Lost {
                reason: format!("datacenter {datacenter}: {reason}"),
                after,
            },
            (ended, _) => ended,
        }
    }

    fn provenance(&mut self, headers: &HeaderMap) -> Result<Provenance, Ended> {
        let made = self.begun.of_answer(headers, self.servers.url());
        made.inspect_err(|_| self.servers.next_server())
    }

    fn server(&self) -> String {
        let url = self.servers.url();
        url.map(ToString::to_string).unwrap_or_default()
    }

    fn target(&self, path: &str) -> String {
        let mut target = format!("{path}?");
        if self.is_stale_allowed {
            target.push_str("stale&");
        }
        if let Some(datacenter) = &self.datacenter {
            // Writing to a string can't fail.
            let _written = write!(target, "dc={}&", encode_component(datacenter));
        }
        target
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_goes_on_and_begins_anew_when_it_went_back() {
        let begun = Cursor::default();
        assert_eq!(begun.next(Some(7)), (Cursor(7), true));
        assert_eq!(Cursor(7).next(Some(7)), (Cursor(7), false));
        assert_eq!(Cursor(7).next(Some(9)), (Cursor(9), true));
        for answered in [Some(6), Some(0), None] {
            assert_eq!(Cursor(7).next(answered), (Cursor(0), true));
        }
    }
}
