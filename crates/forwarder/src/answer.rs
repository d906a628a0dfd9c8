//! What recursors answer, as the bytes that they sent.
//!
//! Only the header, the question, lifetimes and OPT are touched, so that types which nobody
//! here knows pass unharmed. Names are only measured; pointers are not followed.
//!
//! Source: RFC 1035, section 4; RFC 2308; RFC 6891.

use super::{
    cursor::{Cursor, Head, Record, peek_u16, peek_u32, put},
    message::{
        AUTHENTIC, FORMERR, HEADER, NOERROR, NOTIMP, NXDOMAIN, Note, OPCODE, Query, Question,
        RCODE, RECURSION_AVAILABLE, REFUSED, RESPONSE, SERVFAIL, TRUNCATED, TYPE_OPT,
    },
};

/// Lifetimes from here on are negative, which means none (RFC 2181, section 8).
const TTL_SIGN: u32 = 1 << 31;
const TYPE_NS: u16 = 2;
const TYPE_SOA: u16 = 6;
const TYPE_ANY: u16 = 255;

/// A recursor's answer without its OPT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    bytes: Box<[u8]>,
    name_end: usize,
    ttls: Box<[usize]>,
    /// The outcome, extended by OPT.
    pub(super) rcode: u16,
    pub(super) is_truncated: bool,
    is_authentic: bool,
    /// Answers of the type that was asked for: a CNAME may have led to none (RFC 2308,
    /// section 2).
    fitting: u16,
    /// Seconds that it holds for; none if it is not to be kept.
    pub(super) ttl: Option<u32>,
    /// It says nothing about the question, but points elsewhere: who said it does not recurse.
    pub(super) is_lame: bool,
}

/// Why bytes are no answer to what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mismatch {
    /// They answer something else, or nothing.
    Foreign,
    /// The name comes back in other letters: forged, or from a server that folds names.
    Case,
    /// They answer the question, but can't be read to their end.
    Broken,
}

impl Answer {
    /// Reads what came back for a query.
    ///
    /// # Errors
    /// [`Mismatch`]: it is no answer to this.
    pub(super) fn read(query: &[u8], bytes: &[u8]) -> Result<Self, Mismatch> {
        let mut cursor = Cursor { bytes, at: 0 };
        let head = cursor.head().ok_or(Mismatch::Foreign)?;
        let sent_head = Cursor {
            bytes: query,
            at: 0,
        }
        .head();
        let sent_id = sent_head.map(|sent| sent.id);
        let is_response = head.flags & (RESPONSE | OPCODE) == RESPONSE;
        if !is_response || sent_id != Some(head.id) {
            return Err(Mismatch::Foreign);
        }
        let rcode = u8::try_from(head.flags & RCODE).unwrap_or(SERVFAIL);
        // A server that did not understand may leave the question out.
        if head.questions == 0 && matches!(rcode, FORMERR | NOTIMP | SERVFAIL | REFUSED) {
            return Ok(Self::empty(rcode));
        }
        let mut sent = Cursor {
            bytes: query,
            at: HEADER,
        };
        let (sent, got) = (sent.question(), cursor.question());
        let (Some(sent), Some(got), 1) = (sent, got, head.questions) else {
            return Err(Mismatch::Foreign);
        };
        if got != sent {
            let is_same = got.kind == sent.kind && got.class == sent.class;
            let is_same = is_same && got.name.eq_ignore_ascii_case(&sent.name);
            return Err(if is_same {
                Mismatch::Case
            } else {
                Mismatch::Foreign
            });
        }
        Self::read_records(cursor, &head, &got).ok_or(Mismatch::Broken)
    }

    fn read_records(mut cursor: Cursor<'_>, head: &Head, asked: &Question) -> Option<Self> {
        let is_truncated = head.flags & TRUNCATED != 0;
        let mut rcode = head.flags & RCODE;
        let mut found = Found::default();
        let counts = [head.answers, head.authorities, head.additionals];
        let sections = (0..).zip(counts);
        let places = sections.flat_map(|(section, count)| (0..count).map(move |_| section));
        let mut end = cursor.at;
        for section in places {
            let Some(record) = cursor.record() else {
                // A message that was cut may promise more records than it has.
                if is_truncated {
                    break;
                }
                return None;
            };
            if record.kind == TYPE_OPT {
                // OPT speaks of one hop only. What stands behind it could point across the
                // gap; all of it is additional, and goes as well.
                rcode |= u16::try_from(record.ttl >> 24).unwrap_or_default() << 4;
                break;
            }
            found.note(section, &record, &cursor);
            if section == 0 && [record.kind, TYPE_ANY].contains(&asked.kind) {
                found.fitting = found.fitting.saturating_add(1);
            }
            end = cursor.at;
        }
        let mut bytes: Box<[u8]> = cursor.bytes.get(..end)?.into();
        for (place, count) in (6..).step_by(2).zip(found.counts) {
            put(&mut bytes, place, count.to_be_bytes());
        }
        let has_answers = head.answers > 0;
        let is_said = [u16::from(NOERROR), u16::from(NXDOMAIN)].contains(&rcode);
        let ttl = found.ttl(found.fitting > 0 && rcode == u16::from(NOERROR));
        let recurses = head.flags & RECURSION_AVAILABLE != 0;
        Some(Self {
            bytes,
            name_end: HEADER.saturating_add(asked.name.len()),
            rcode,
            is_truncated,
            is_authentic: head.flags & AUTHENTIC != 0,
            fitting: found.fitting,
            ttl: ttl.filter(|_| is_said && !is_truncated),
            is_lame: found.is_referral && !has_answers && !recurses,
            ttls: found.ttls.into(),
        })
    }

    fn empty(rcode: u8) -> Self {
        Self {
            bytes: Box::default(),
            name_end: 0,
            ttls: Box::default(),
            rcode: u16::from(rcode),
            is_truncated: false,
            is_authentic: false,
            fitting: 0,
            ttl: None,
            is_lame: false,
        }
    }

    /// The same from a server that folds names: the question may be in other letters.
    pub(super) fn read_folded(query: &[u8], bytes: &[u8]) -> Option<Self> {
        let mut cursor = Cursor { bytes, at: HEADER };
        let got = cursor.question()?;
        let mut query = query.to_vec();
        let end = HEADER.checked_add(got.name.len())?;
        let name = query.get_mut(HEADER..end)?;
        name.eq_ignore_ascii_case(&got.name)
            .then(|| name.copy_from_slice(&got.name))?;
        Self::read(&query, bytes).ok()
    }

    /// Whether it has no records that answer.
    pub(super) const fn is_nothing(&self) -> bool {
        self.fitting == 0
    }

    /// Whether the question is answered, be it by nothing.
    pub(super) fn is_final(&self) -> bool {
        let is_said = [u16::from(NOERROR), u16::from(NXDOMAIN)].contains(&self.rcode);
        is_said && !self.is_truncated && !self.is_lame
    }

    /// Bytes that it takes.
    pub(super) fn size(&self) -> usize {
        let offsets = self.ttls.len().saturating_mul(size_of::<usize>());
        self.bytes.len().saturating_add(offsets)
    }

    /// The answer for a client, in no more bytes than that, its lifetimes counted down by an
    /// age, or a stale one's set.
    pub(super) fn told(&self, query: &Query, lifetime: Lifetime, limit: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.bytes.len().saturating_add(32));
        let mut bits = self.rcode & RCODE;
        if self.is_authentic && query.wants_authentic {
            bits |= AUTHENTIC;
        }
        let counts = [4, 6, 8, 10].map(|at| peek_u16(&self.bytes, at).unwrap_or_default());
        query.put_header(&mut out, bits, counts);
        out.extend(&*query.question.name);
        out.extend(self.bytes.get(self.name_end..).unwrap_or_default());
        for at in &self.ttls {
            let said = peek_u32(&self.bytes, *at).unwrap_or_default();
            put(&mut out, *at, lifetime.of(said).to_be_bytes());
        }
        query.put_opt(&mut out, lifetime.note());
        if out.len() <= limit {
            return out;
        }
        out.clear();
        query.put_header(&mut out, bits | TRUNCATED, [1, 0, 0, 0]);
        query.question.put(&mut out);
        query.put_opt(&mut out, None);
        out
    }
}

/// How long what is told holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lifetime {
    /// As it was said so many seconds ago, and no longer than the second number says.
    Aged(u32, u32),
    /// So many seconds, although it should be gone (RFC 8767).
    Stale(u32),
}

impl Lifetime {
    const fn of(self, said: u32) -> u32 {
        match self {
            Self::Aged(age, max) => {
                let said = if said >= TTL_SIGN { 0 } else { said };
                let said = if said > max { max } else { said };
                said.saturating_sub(age)
            }
            Self::Stale(seconds) => seconds,
        }
    }

    const fn note(self) -> Option<Note> {
        match self {
            Self::Aged(..) => None,
            Self::Stale(_) => Some(Note::Stale),
        }
    }
}

/// What the records of an answer say about how long it holds.
#[derive(Debug, Default)]
struct Found {
    /// Records by section.
    counts: [u16; 3],
    ttls: Vec<usize>,
    least: Option<u32>,
    /// The lifetime of the word that there is nothing.
    negative: Option<u32>,
    is_referral: bool,
    /// Answers of the type that was asked for.
    fitting: u16,
}

impl Found {
    fn note(&mut self, section: usize, record: &Record, cursor: &Cursor<'_>) {
        let ttl = if record.ttl >= TTL_SIGN {
            0
        } else {
            record.ttl
        };
        if let Some(count) = self.counts.get_mut(section) {
            *count = count.saturating_add(1);
        }
        self.ttls.push(record.ttl_at);
        self.least = Some(self.least.map_or(ttl, |least| least.min(ttl)));
        if section == 1 && record.kind == TYPE_SOA {
            let minimum = cursor
                .at
                .checked_sub(4)
                .and_then(|at| peek_u32(cursor.bytes, at));
            self.negative = minimum.map(|minimum| minimum.min(ttl));
        }
        self.is_referral |= section == 1 && record.kind == TYPE_NS;
    }

    /// An answer holds as long as all of its records; that there is nothing, as long as the SOA
    /// says, and not at all without one (RFC 2308, section 5).
    fn ttl(&self, is_positive: bool) -> Option<u32> {
        if is_positive {
            return self.least;
        }
        let negative = self.negative?;
        Some(self.least.map_or(negative, |least| least.min(negative)))
    }
}
