//! Cookies in answers that others give: every answer to a query with a cookie has ours.
//!
//! Source: RFC 7873, section 5.3.

use bytes::Bytes;

use portolan_forwarder::Cursor;

use super::Engine;
use crate::{
    Peer,
    wire::{Query, kind},
};

/// The option's code, and the length of both halves.
const OPTION: [u8; 4] = [0, 10, 0, 24];

impl Engine {
    /// The answer with our cookie, if the query has one and the answer ends with OPT.
    pub(super) fn with_cookie(&self, answer: Bytes, message: &[u8], peer: Peer) -> Bytes {
        let mut query = Query::new();
        let read = query.read(message).ok();
        let cookie = read.and(query.edns).and_then(|edns| edns.cookie);
        let Some(cookie) = cookie else { return answer };
        let client = peer.address.ip();
        let server = self.cookies.make(cookie.client, client, self.seconds());
        let option = [&OPTION[..], &cookie.client, &server].concat();
        with_option(&answer, &option).unwrap_or(answer)
    }
}

/// The answer with one more option in its OPT; none if that is not its last record.
fn with_option(answer: &[u8], option: &[u8]) -> Option<Bytes> {
    let mut cursor = Cursor {
        bytes: answer,
        at: 0,
    };
    let head = cursor.head()?;
    for _ in 0..head.questions {
        cursor.skip_question()?;
    }
    let counts = [head.answers, head.authorities, head.additionals];
    let records: usize = counts.map(usize::from).into_iter().sum();
    let mut last = None;
    for _ in 0..records {
        last = Some(cursor.record()?);
    }
    let opt = last.filter(|last| last.kind == kind::OPT && cursor.at == answer.len())?;
    let at = opt.ttl_at.checked_add(4)?;
    let place = at..at.checked_add(2)?;
    let length = u16::from_be_bytes(answer.get(place.clone())?.try_into().ok()?);
    let length = length.checked_add(u16::try_from(option.len()).ok()?)?;
    let mut longer = [answer, option].concat();
    longer
        .get_mut(place)?
        .copy_from_slice(&length.to_be_bytes());
    Some(longer.into())
}
