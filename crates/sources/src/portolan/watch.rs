//! Follows the native watch of another Portolan.

use std::{collections::BTreeSet, convert::Infallible, time::Duration};

use http::{HeaderMap, HeaderValue, StatusCode, header};
use portolan_dialects::native::{Gone, InstanceView};
use portolan_model::{ByteSize, Departure, NodeId, SourceId};
use portolan_runtime::Env;
use portolan_wire::call::{Answer, Call, Stream};

use super::{
    claims::{Claims, Theirs},
    events::{Event, Events},
    map,
    settings::Settings,
};
use crate::frame::{Ended, Follow, Place, Provenance, Servers, Teller};

/// How long the answer may take to begin.
const BEGIN: Duration = Duration::from_secs(10);
/// A stream that says every 15 seconds that it is there is lost when it is silent for so long.
const SILENCE: Duration = Duration::from_secs(45);
/// The largest refusal that is read.
const REFUSAL_MAX: ByteSize = ByteSize::from_bytes(64 << 10);

/// The watch, and what is needed to take it up again.
pub(super) struct Watch {
    settings: Settings,
    source: SourceId,
    env: Env,
    servers: Servers,
    cursor: Option<Cursor>,
    claims: Claims,
}

/// Up to where everything is known, and whose revision that is.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Cursor {
    node: Option<NodeId>,
    id: String,
}

/// A watch that is on.
struct Session {
    stream: Stream,
    provenance: Provenance,
    /// What was named so far, while everything is being told.
    whole: Option<BTreeSet<Theirs>>,
}

impl Watch {
    pub(super) fn new(settings: Settings, source: SourceId, env: Env) -> Self {
        let servers = Servers::new(settings.servers.clone(), REFUSAL_MAX, env.clone());
        Self {
            settings,
            source,
            env,
            servers,
            cursor: None,
            claims: Claims::default(),
        }
    }

    /// Opens the watch where it ended, if the same Portolan answers. Says whether it did.
    async fn open(&mut self, teller: &Teller) -> Result<(Session, bool), Ended> {
        let begun = Provenance::new(teller);
        let resumed = self.ask(self.cursor.clone()).await?;
        let provenance = self.provenance(&begun, &resumed)?;
        let Some(cursor) = &self.cursor else {
            return Ok((session(resumed, provenance), false));
        };
        if cursor.node.as_ref() == provenance.server() {
            return Ok((session(resumed, provenance), true));
        }
        // Revisions of one Portolan mean nothing to another.
        self.cursor = None;
        let stream = self.ask(None).await?;
        let provenance = self.provenance(&begun, &stream)?;
        Ok((session(stream, provenance), false))
    }

    async fn ask(&mut self, cursor: Option<Cursor>) -> Result<Stream, Ended> {
        let accept = HeaderValue::from_static("text/event-stream");
        let mut call = Call {
            headers: HeaderMap::from_iter([(header::ACCEPT, accept)]),
            ..Call::get("/v1/watch")
        };
        let id = cursor.and_then(|cursor| HeaderValue::from_str(&cursor.id).ok());
        if let Some(id) = id {
            call.headers.insert("last-event-id", id);
        }
        let stream = self.servers.stream(call, BEGIN).await?;
        if stream.status == StatusCode::OK {
            return Ok(stream);
        }
        let (status, headers) = (stream.status, stream.headers.clone());
        let body = stream.rest(BEGIN).await.unwrap_or_default();
        let refusal = self.servers.refused(&Answer {
            status,
            headers,
            body,
        });
        self.servers.next_server();
        Err(refusal)
    }

    fn provenance(&mut self, begun: &Provenance, stream: &Stream) -> Result<Provenance, Ended> {
        let made = begun.of_answer(&stream.headers, self.servers.url());
        made.inspect_err(|_| self.servers.next_server())
    }

    async fn take(
        &mut self,
        session: &mut Session,
        event: Event,
        teller: &mut Teller,
    ) -> Result<(), Ended> {
        match event.name.as_str() {
            "reset" => {
                self.cursor = None;
                session.whole = Some(BTreeSet::new());
            }
            "put" => {
                let view: InstanceView = self.read(&event)?;
                self.put(session, &view, teller).await?;
            }
            "remove" => {
                let gone: Gone = self.read(&event)?;
                self.remove(session, &gone, teller).await?;
            }
            "synced" => {
                if let Some(whole) = session.whole.take() {
                    self.claims.keep(&whole);
                    teller.all(self.claims.view()).await?;
                    self.tell_unfit(teller);
                }
                let node = session.provenance.server().cloned();
                self.cursor = event.id.map(|id| Cursor { node, id });
            }
            // What newer ones say besides is not for us.
            _ => {}
        }
        Ok(())
    }

    async fn put(
        &mut self,
        session: &mut Session,
        view: &InstanceView,
        teller: &mut Teller,
    ) -> Result<(), Ended> {
        let theirs = theirs(&view.namespace, &view.service, &view.id);
        let made = map::instance(&self.settings, &self.source, &session.provenance, view);
        if let Some(whole) = &mut session.whole {
            whole.insert(theirs.clone());
            self.claims.take(theirs, made);
            return Ok(());
        }
        let touched = self.claims.take(theirs, made);
        self.tell(touched, teller).await
    }

    async fn remove(
        &mut self,
        session: &mut Session,
        gone: &Gone,
        teller: &mut Teller,
    ) -> Result<(), Ended> {
        let theirs = theirs(&gone.namespace, &gone.service, &gone.id);
        if let Some(whole) = &mut session.whole {
            // What is not in a whole view is not there.
            whole.remove(&theirs);
            return Ok(());
        }
        let touched = self.claims.forget(&theirs);
        self.tell(touched, teller).await
    }

    /// Says what is at these places now. Their guard has judged already: what they say is
    /// gone is gone.
    async fn tell(&self, touched: BTreeSet<Place>, teller: &mut Teller) -> Result<(), Ended> {
        let mut gone = Vec::new();
        for place in touched {
            // New ones first, so that the guard can tell a move from an outage.
            match self.claims.at(&place) {
                Some(instance) => teller.put(instance.clone()).await?,
                None => gone.push(place),
            }
        }
        for (key, id) in gone {
            teller.remove(&key, &id, Departure::Explicit).await?;
        }
        self.tell_unfit(teller);
        Ok(())
    }

    fn tell_unfit(&self, teller: &Teller) {
        let (count, example) = self.claims.unfit();
        teller.passed_over(count, example.as_deref());
    }

    fn read<T: serde::de::DeserializeOwned>(&self, event: &Event) -> Result<T, Ended> {
        serde_json::from_str(&event.data).map_err(|error| {
            let name = &event.name;
            self.lost(&format!("an event `{name}` makes no sense: {error}"))
        })
    }

    fn lost(&self, what: &str) -> Ended {
        let url = self.servers.url().map(ToString::to_string);
        Ended::lost(format!("{}: {what}", url.unwrap_or_default()))
    }
}

impl Follow for Watch {
    async fn session(&mut self, teller: &mut Teller) -> Result<Infallible, Ended> {
        let (mut session, mut is_resumed) = self.open(teller).await?;
        let mut events = Events::default();
        loop {
            let chunk = self.env.timeout(SILENCE, session.stream.chunk()).await;
            let chunk = match chunk {
                Ok(Ok(Some(chunk))) => chunk,
                Ok(Ok(None)) => return Err(self.lost("the watch was ended by the other side")),
                Ok(Err(error)) => {
                    let ended = Ended::by(&error);
                    self.servers.next_server();
                    return Err(ended);
                }
                Err(_) => {
                    let lost = self.lost(&format!("nothing was heard for {SILENCE:?}"));
                    self.servers.next_server();
                    return Err(lost);
                }
            };
            let read = events.push(&chunk);
            let read = read.map_err(|bad| self.lost(&bad.to_string()))?;
            let is_quiet = read.is_empty() && session.whole.is_none();
            // Who takes a watch up and does not begin with everything knows it still.
            let is_alive = self.cursor.is_some() && (is_quiet || is_resumed);
            let begins_anew = read.first().is_some_and(|event| event.name == "reset");
            if is_alive && !begins_anew {
                teller.still().await?;
            }
            is_resumed = false;
            for event in read {
                self.take(&mut session, event, teller).await?;
            }
        }
    }
}

fn session(stream: Stream, provenance: Provenance) -> Session {
    Session {
        stream,
        provenance,
        whole: None,
    }
}

fn theirs(namespace: &str, service: &str, id: &str) -> Theirs {
    (namespace.to_owned(), service.to_owned(), id.to_owned())
}
