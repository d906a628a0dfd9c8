//! Watches: server-sent events, or a long poll when `wait` is given.
//!
//! A stream tells `reset`, `put` and `remove`, and after each batch `synced` with the
//! revision as its id: only there may a client resume, by `Last-Event-ID` or `after`.

use std::{fmt::Write as _, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use portolan_dialects::native::{Change, ChangeList, Gone, InstanceView, Synced};
use portolan_model::{Revision, ServiceKey};
use portolan_runtime::{Env, drain::DrainWatch};
use portolan_wire::serve::{Query, Response, streamed};
use serde::Serialize;

use super::{Parts, Refusal, json, query, response};
use crate::watch::{Scope, Told, Watcher};

/// The longest wait of a long poll.
const WAIT_MAX: Duration = Duration::from_mins(10);
/// How often a silent stream says that it is there.
const SIGN_OF_LIFE: Duration = Duration::from_secs(15);
/// Bytes after which a piece of the stream goes out.
const PIECE_BYTES: usize = 64 << 10;

pub(super) async fn watch(
    parts: &Parts,
    query: &Query<'_>,
    headers: &HeaderMap,
) -> Result<Response, Refusal> {
    let scope = match query.find("service") {
        Some(text) => Scope::Service(ServiceKey::parse(text)?),
        None => Scope::Everything,
    };
    let wait = query::span(query, "wait", WAIT_MAX)?;
    let after = match resumed(headers)? {
        Some(revision) => Some(revision),
        None => query::revision(query, "after")?,
    };
    let reader = Arc::clone(parts.registry.reader());
    let watcher = Watcher::new(&parts.hub, reader, scope, after).await;
    let watcher = watcher.ok_or_else(|| {
        let detail = "the program is coming to its end";
        Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "registry_stopped", detail)
    })?;
    let stream = Stream {
        watcher,
        drain: parts.drain.clone(),
        env: parts.env.clone(),
        is_begun: false,
    };
    match wait {
        Some(wait) => json(StatusCode::OK, &stream.poll(wait).await),
        None => Ok(response(
            StatusCode::OK,
            "text/event-stream",
            streamed(stream, Stream::piece),
        )),
    }
}

fn resumed(headers: &HeaderMap) -> Result<Option<Revision>, Refusal> {
    let Some(id) = headers.get("last-event-id") else {
        return Ok(None);
    };
    let number = id.to_str().ok().and_then(|text| text.parse().ok());
    let number = number.ok_or_else(|| Refusal::malformed("Last-Event-ID is not a revision"))?;
    Ok(Some(Revision::from_u64(number)))
}

struct Stream {
    watcher: Watcher,
    drain: DrainWatch,
    env: Env,
    is_begun: bool,
}

impl Stream {
    /// The next piece of an event stream.
    async fn piece(mut self) -> Option<(Bytes, Self)> {
        let mut piece = String::new();
        if !self.is_begun {
            self.is_begun = true;
            piece.push_str("retry: 1000\n\n");
            if !self.watcher.has_news() {
                return Some((piece.into(), self));
            }
        }
        tokio::select! {
            told = self.watcher.next() => write_event(&mut piece, &told?),
            () = self.drain.draining() => return None,
            () = self.env.sleep(SIGN_OF_LIFE) => piece.push_str(": still here\n\n"),
        }
        while self.watcher.has_news() && piece.len() < PIECE_BYTES {
            write_event(&mut piece, &self.watcher.next().await?);
        }
        Some((piece.into(), self))
    }

    /// Everything up to the next point where a client may resume.
    async fn poll(mut self, wait: Duration) -> ChangeList {
        let mut list = ChangeList {
            revision: self.watcher.revision(),
            reset: false,
            changes: Vec::new(),
        };
        let until = self.env.instant() + wait;
        loop {
            let told = tokio::select! {
                biased;
                told = self.watcher.next() => told,
                () = self.drain.draining() => None,
                () = self.env.sleep_until(until) => None,
            };
            match told {
                None => return list,
                Some(Told::Synced(revision)) => {
                    list.revision = revision;
                    return list;
                }
                Some(Told::Reset(_)) => list.reset = true,
                Some(Told::Put(instance)) => {
                    let view = InstanceView::from(&*instance);
                    list.changes.push(Change::Put(Box::new(view)));
                }
                Some(Told::Remove(key, id)) => {
                    list.changes
                        .push(Change::Remove(Gone::new(&key, id.as_str())));
                }
            }
        }
    }
}

fn write_event(out: &mut String, told: &Told) {
    match told {
        Told::Reset(revision) => event(
            out,
            "reset",
            &Synced {
                revision: *revision,
            },
        ),
        Told::Put(instance) => event(out, "put", &InstanceView::from(&**instance)),
        Told::Remove(key, id) => event(out, "remove", &Gone::new(key, id.as_str())),
        Told::Synced(revision) => {
            // Writing to a string can't fail.
            let _written = writeln!(out, "id: {revision}");
            event(
                out,
                "synced",
                &Synced {
                    revision: *revision,
                },
            );
        }
    }
}

fn event(out: &mut String, name: &str, data: &impl Serialize) {
    // The shapes are ours and have JSON; it has no line ends.
    let data = serde_json::to_string(data).unwrap_or_default();
    let _written = write!(out, "event: {name}\ndata: {data}\n\n");
}
