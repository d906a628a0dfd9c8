//! Batches of peers: what one of Eureka's own servers was told, it tells us.

use http::StatusCode;
use portolan_access::{Caller, Need};
use portolan_dialects::eureka::{
    Deed, Format, Replicated, Replication, Sender, Status, read_batch, write_replicated,
};
use portolan_wire::serve::{Request, Response};

use super::{
    Front, Refusal, document,
    need::registering,
    operate::{self, Change},
    write::{self, Beat, Beaten},
};

/// Takes a batch in, item by item. One that fails says so in its own answer.
pub(super) async fn batch(
    front: &Front,
    format: Format,
    request: Request,
) -> Result<Response, Refusal> {
    let caller = write::caller(&request);
    let (written, body) = write::body_of(request).await?;
    let batch = read_batch(written, &body)
        .map_err(|error| Refusal::new(StatusCode::BAD_REQUEST, format!("{error}\n")))?;
    let mut answers = Vec::with_capacity(batch.len());
    for item in batch {
        answers.push(match take(front, item, &caller).await {
            Ok(answer) => answer,
            Err(refusal) => Replicated {
                status: refusal.status.as_u16(),
                info: None,
            },
        });
    }
    Ok(document(format, write_replicated(format, &answers)))
}

async fn take(front: &Front, item: Replication, caller: &Caller) -> Result<Replicated, Refusal> {
    let (app, id) = (&*item.app, &*item.id);
    let need = match item.deed {
        Deed::Heartbeat | Deed::Register | Deed::Cancel => registering(app),
        Deed::StatusUpdate | Deed::DeleteStatusOverride => Need::Operate,
    };
    if !caller.may(&need) {
        return Err(Refusal::new(StatusCode::FORBIDDEN, ""));
    }
    let done = Replicated {
        status: StatusCode::OK.as_u16(),
        info: None,
    };
    match item.deed {
        Deed::Heartbeat => {
            let beat = Beat {
                last_dirty: item.last_dirty,
                overridden: item.overridden.as_deref().and_then(Status::parse),
            };
            let beaten = write::heartbeat(front, (app, id), beat, Sender::Peer, caller).await?;
            return Ok(match beaten {
                Beaten::Heard => done,
                Beaten::Newer(info) => Replicated {
                    status: StatusCode::CONFLICT.as_u16(),
                    info: Some(*info),
                },
            });
        }
        Deed::Register => {
            let missing = || Refusal::new(StatusCode::BAD_REQUEST, "");
            let info = item.info.ok_or_else(missing)?;
            write::take_in(front, app, info, Sender::Peer, caller).await?;
        }
        Deed::Cancel => write::cancel(front, app, id, caller).await?,
        Deed::StatusUpdate => {
            let status = status_of(item.status.as_deref())?;
            let change = Change::Overrule(status, item.last_dirty);
            operate::change(front, app, id, change, caller).await?;
        }
        Deed::DeleteStatusOverride => {
            let status = match item.status.as_deref() {
                None => Status::Unknown,
                word => status_of(word)?,
            };
            let change = Change::Release(status, item.last_dirty);
            operate::change(front, app, id, change, caller).await?;
        }
    }
    Ok(done)
}

fn status_of(word: Option<&str>) -> Result<Status, Refusal> {
    let bad = || Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "");
    word.and_then(Status::parse).ok_or_else(bad)
}
