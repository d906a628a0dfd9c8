//! Bodies of answers: whole ones within a limit, and those that are read while they come.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use portolan_model::ByteSize;

use super::{CallError, Line};

/// An answer whose body is read while it comes. The line is used up by it.
#[derive(Debug)]
pub struct Stream {
    /// The status.
    pub status: StatusCode,
    /// The fields.
    pub headers: HeaderMap,
    pub(super) body: Incoming,
    /// Ends the connection when it is dropped.
    pub(super) line: Line,
}

impl Stream {
    /// What came next; `None` at the end of the body. Waits for as long as it takes.
    ///
    /// # Errors
    /// [`CallError::Broken`] if the other side broke off.
    ///
    /// # Cancellation
    /// Nothing is lost.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, CallError> {
        while let Some(frame) = self.body.frame().await {
            if let Ok(data) = frame.map_err(CallError::Broken)?.into_data() {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }

    /// The rest of the body, up to the limit of the line, `within` in all.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn rest(self, within: Duration) -> Result<Bytes, CallError> {
        let whole = collect(self.body, self.line.answer_max);
        let whole = self.line.env.timeout(within, whole).await;
        whole.map_err(|_| CallError::TimedOut { within })?
    }
}

/// A whole body, if it is within the limit.
pub(super) async fn collect(mut body: Incoming, limit: ByteSize) -> Result<Bytes, CallError> {
    let max = usize::try_from(limit.as_bytes()).unwrap_or(usize::MAX);
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(CallError::Broken)?.into_data() else {
            continue;
        };
        if whole.len().saturating_add(data.len()) > max {
            return Err(CallError::TooLarge { limit });
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole.freeze())
}
