//! All of the ledger as one stream, in a format of our own: under `snapshot`.

use std::sync::Arc;

use bytes::Bytes;
use http::header;
use portolan_dialects::consul::Refusal;
use portolan_ledger::{Chunks, LedgerError, SNAPSHOT_BYTES_MAX, Snapshot};
use portolan_model::ByteSize;
use portolan_wire::serve::{Request, Response, streamed};
use tokio::sync::OwnedSemaphorePermit;

use super::{Parts, answering, asking, nodes, terms::Others, writing};

/// The largest snapshot that is taken in.
pub(super) const BODY_MAX: ByteSize = ByteSize::from_bytes(SNAPSHOT_BYTES_MAX as u64);

/// Snapshots at a time, in either direction: each is as large as the ledger.
pub(super) const SNAPSHOTS_MAX: usize = 1;

/// A snapshot on its way out, and the right to be so.
type Leaving = (Chunks, OwnedSemaphorePermit);

fn permit(parts: &Parts) -> Result<OwnedSemaphorePermit, Refusal> {
    let permit = Arc::clone(&parts.snapshots).try_acquire_owned();
    permit.map_err(|_| Refusal::new(503, "another snapshot is under way; try again"))
}

pub(super) async fn save(parts: &Parts) -> Result<Response, Refusal> {
    let permit = permit(parts)?;
    let snapshot = parts.ledger.snapshot().await;
    let snapshot = snapshot.map_err(|error| asking::failed(&error))?;
    let mut response = Response::new(streamed((snapshot.chunks(), permit), next));
    answering::put(
        &mut response,
        header::CONTENT_TYPE,
        "application/octet-stream",
    );
    Ok(response)
}

async fn next((mut chunks, permit): Leaving) -> Option<(Bytes, Leaving)> {
    let chunk = chunks.next()?;
    Some((chunk, (chunks, permit)))
}

pub(super) async fn restore(parts: &Parts, request: Request) -> Result<Response, Refusal> {
    let _permit = permit(parts)?;
    let body = writing::body_up_to(request, BODY_MAX).await?;
    let snapshot = Snapshot::read(&body).map_err(|bad| Refusal::bad(bad.to_string()))?;
    drop(body);
    match parts.ledger.restore(snapshot).await {
        Ok(()) => {}
        Err(LedgerError::Record(bad)) => return Err(Refusal::bad(bad.to_string())),
        Err(error) => return Err(asking::failed(&error)),
    }
    // Whoever reads after this answer sees the nodes that came back.
    let shown = nodes::reload(&parts.clerk, Others::Go).await;
    shown.map_err(|error| asking::failed(&error))?;
    tracing::info!("the ledger was restored from a snapshot");
    Ok(answering::done())
}
