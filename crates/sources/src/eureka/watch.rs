//! Asks a Eureka server for everything, then for deltas.

use std::{collections::BTreeSet, convert::Infallible, io::Read as _, time::Duration};

use flate2::read::GzDecoder;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use portolan_dialects::eureka::{
    Applications, Format, InstanceInfo, Unreadable, read_sound_applications,
};
use portolan_model::{ByteSize, Departure, Instance, SourceId};
use portolan_runtime::{Dice, Env};
use portolan_wire::call::{Answer, Call};

use super::{
    local::{Key, Local},
    map,
    settings::Settings,
};
use crate::frame::{Ended, Follow, Parts, Provenance, Servers, Teller, Unfit, View};

/// How long an answer may take.
const WITHIN: Duration = Duration::from_secs(20);
/// The largest answer that is read, and what it may unpack to.
const ANSWER_MAX: ByteSize = ByteSize::from_bytes(256 << 20);
/// Where deltas are turned off, they are tried again after so many full fetches.
const WITHOUT_DELTAS: u32 = 60;

pub(super) struct Watch {
    settings: Settings,
    source: SourceId,
    env: Env,
    dice: Dice,
    servers: Servers,
    local: Local,
    parts: Parts<Key>,
    /// Full fetches until deltas are tried again.
    without_deltas: u32,
}

/// What came of asking for a delta.
enum Delta {
    /// These changed.
    Changed(BTreeSet<Key>),
    /// Everything is to be fetched.
    Whole,
}

impl Follow for Watch {
    async fn session(&mut self, teller: &mut Teller) -> Result<Infallible, Ended> {
        let begun = Provenance::new(teller);
        self.fetch(&begun, teller).await?;
        loop {
            let jitter = 0.95 + self.dice.unit_f64() / 10.0;
            self.env.sleep(self.settings.interval.mul_f64(jitter)).await;
            if self.without_deltas > 0 {
                self.without_deltas = self.without_deltas.saturating_sub(1);
                self.fetch(&begun, teller).await?;
                continue;
            }
            let (delta, provenance) = self.delta(&begun).await?;
            match delta {
                Delta::Changed(changed) => self.tell(&changed, &provenance, teller).await?,
                Delta::Whole => self.fetch(&begun, teller).await?,
            }
        }
    }
}

impl Watch {
    pub(super) fn new(settings: Settings, source: SourceId, env: Env) -> Self {
        Self {
            servers: Servers::new(settings.servers.clone(), ANSWER_MAX, env.clone()),
            settings,
            source,
            dice: env.dice(),
            env,
            local: Local::default(),
            parts: Parts::default(),
            without_deltas: 0,
        }
    }

    /// Says everything.
    async fn fetch(&mut self, begun: &Provenance, teller: &mut Teller) -> Result<(), Ended> {
        let answer = self.ask("/apps/").await?;
        if answer.status != StatusCode::OK {
            return Err(self.refused(&answer));
        }
        let provenance = self.provenance(begun, &answer)?;
        let (read, unread) = self.read(&answer)?;
        self.local = Local::of(read, unread.len());
        let local = &self.local;
        self.parts.retain(|key| local.get(key).is_some());
        for (key, info) in self.local.iter() {
            let part = self.part(info, &provenance);
            self.parts.set(key.clone(), part);
        }
        let mut whole = self.parts.whole();
        for why in &unread {
            whole.pass_over_for("an instance", &why.to_string());
        }
        teller.all(whole).await?;
        Ok(())
    }

    async fn delta(&mut self, begun: &Provenance) -> Result<(Delta, Provenance), Ended> {
        let answer = self.ask("/apps/delta").await?;
        let provenance = self.provenance(begun, &answer)?;
        let delta = match answer.status {
            StatusCode::OK => {
                let (read, _unread) = self.read(&answer)?;
                match self.local.take(read) {
                    Some(changed) => Delta::Changed(changed),
                    None => Delta::Whole,
                }
            }
            // Turned off, or a server that is warming up, which the full fetch finds out.
            StatusCode::FORBIDDEN | StatusCode::NOT_FOUND => {
                self.without_deltas = WITHOUT_DELTAS;
                Delta::Whole
            }
            _ => return Err(self.refused(&answer)),
        };
        Ok((delta, provenance))
    }

    async fn tell(
        &mut self,
        changed: &BTreeSet<Key>,
        provenance: &Provenance,
        teller: &mut Teller,
    ) -> Result<(), Ended> {
        // New ones first, so that the guard can tell a move from an outage.
        let (here, gone): (Vec<_>, Vec<_>) = changed
            .iter()
            .partition(|key| self.local.get(key).is_some());
        for key in here.into_iter().chain(gone) {
            let part = match self.local.get(key) {
                Some(info) => self.part(info, provenance),
                None => View::default(),
            };
            let departure = Departure::Inferred;
            self.parts
                .tell(teller, (key.clone(), part), departure)
                .await?;
            if self.local.get(key).is_none() {
                self.parts.remove(key);
            }
        }
        teller.still().await?;
        Ok(())
    }

    fn part(&self, info: &InstanceInfo, provenance: &Provenance) -> View {
        let mut view = View::default();
        let made = self.instance(info, provenance);
        view.take(&map::described(info), made);
        view
    }

    fn instance(
        &self,
        info: &InstanceInfo,
        provenance: &Provenance,
    ) -> Result<Option<Instance>, Unfit> {
        let mut found = map::found(info, &self.source);
        if !provenance.admit(&mut found) {
            return Ok(None);
        }
        let basics = &self.settings.basics;
        basics.instance(&self.source, found, || map::object(info))
    }

    /// Asks one server after the other until one answers.
    async fn ask(&mut self, path: &str) -> Result<Answer, Ended> {
        let json = HeaderValue::from_static("application/json");
        let gzip = HeaderValue::from_static("gzip");
        let fields = [(header::ACCEPT, json), (header::ACCEPT_ENCODING, gzip)];
        let call = Call {
            headers: HeaderMap::from_iter(fields),
            ..Call::get(path)
        };
        let mut tries = self.settings.servers.urls.len();
        loop {
            match self.servers.ask(call.clone(), WITHIN).await {
                Ok(answer) => return Ok(answer),
                Err(ended) if tries <= 1 => return Err(ended),
                Err(_) => tries = tries.saturating_sub(1),
            }
        }
    }

    fn refused(&mut self, answer: &Answer) -> Ended {
        let refused = self.servers.refused(answer);
        self.servers.next_server();
        let warms_up = [StatusCode::FORBIDDEN, StatusCode::SERVICE_UNAVAILABLE];
        match refused {
            Ended::Lost { reason, after } if warms_up.contains(&answer.status) => Ended::Lost {
                reason: format!("{reason} (a Eureka server that is warming up says so, too)"),
                after,
            },
            ended @ (Ended::Lost { .. } | Ended::Closed) => ended,
        }
    }

    fn provenance(&mut self, begun: &Provenance, answer: &Answer) -> Result<Provenance, Ended> {
        let made = begun.of_answer(&answer.headers, self.servers.url());
        made.inspect_err(|_| self.servers.next_server())
    }

    /// Reads an answer, and why instances in it can't be read. If it is none, the next server
    /// may know better.
    fn read(&mut self, answer: &Answer) -> Result<(Applications, Vec<Unreadable>), Ended> {
        let read = self.try_to_read(answer);
        read.inspect_err(|_| self.servers.next_server())
    }

    fn try_to_read(&self, answer: &Answer) -> Result<(Applications, Vec<Unreadable>), Ended> {
        let lost = |why: String| {
            let url = self.servers.url().map(ToString::to_string);
            Ended::lost(format!("{}: {why}", url.unwrap_or_default()))
        };
        let unpacked = unpack(answer).map_err(|error| lost(error.to_string()))?;
        let body = unpacked.as_deref().unwrap_or(&answer.body);
        let kind = answer.headers.get(header::CONTENT_TYPE);
        let is_xml = kind.is_some_and(|kind| kind.as_bytes().ends_with(b"xml"));
        let format = if is_xml { Format::Xml } else { Format::Json };
        read_sound_applications(format, body)
            .map_err(|bad| lost(format!("answered something else than Eureka would: {bad}")))
    }
}

/// What is packed in the body, if it is.
fn unpack(answer: &Answer) -> std::io::Result<Option<Vec<u8>>> {
    let encoding = answer.headers.get(header::CONTENT_ENCODING);
    if encoding.is_none_or(|encoding| encoding != "gzip") {
        return Ok(None);
    }
    let limit = ANSWER_MAX.as_bytes();
    let mut unpacked = Vec::new();
    let mut reader = GzDecoder::new(&*answer.body).take(limit.saturating_add(1));
    reader.read_to_end(&mut unpacked)?;
    if u64::try_from(unpacked.len()).is_ok_and(|bytes| bytes <= limit) {
        return Ok(Some(unpacked));
    }
    let words = format!("the answer unpacks to more than {ANSWER_MAX}");
    Err(std::io::Error::new(std::io::ErrorKind::FileTooLarge, words))
}
