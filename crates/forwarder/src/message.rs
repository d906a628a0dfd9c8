//! Queries, of clients and to recursors: a header, a question and OPT.
//!
//! Source: RFC 1035, section 4; RFC 6891; RFC 8914.

use super::cursor::{Cursor, NAME_MAX, peek_u16, put};

/// Bytes of a header.
pub(super) const HEADER: usize = 12;
/// What we can take over UDP, as recommended on the DNS flag day of 2020.
const UDP_PAYLOAD: u16 = 1232;

pub(super) const RESPONSE: u16 = 1 << 15;
pub(super) const OPCODE: u16 = 0xf << 11;
pub(super) const TRUNCATED: u16 = 1 << 9;
const RECURSION_DESIRED: u16 = 1 << 8;
pub(super) const RECURSION_AVAILABLE: u16 = 1 << 7;
pub(super) const AUTHENTIC: u16 = 1 << 5;
const CHECKING_DISABLED: u16 = 1 << 4;
pub(super) const RCODE: u16 = 0xf;
const DNSSEC_OK: u16 = 1 << 15;

pub(super) const TYPE_OPT: u16 = 41;
const OPTION_EDE: u16 = 15;

/// From an OPT's flags to its end, if it has no options.
const EMPTY: usize = 6;

/// No error.
pub(super) const NOERROR: u8 = 0;
/// The query was not understood.
pub(super) const FORMERR: u8 = 1;
/// The server failed.
pub(super) const SERVFAIL: u8 = 2;
/// There is no such name.
pub(super) const NXDOMAIN: u8 = 3;
/// The server knows no such kind of query.
pub(super) const NOTIMP: u8 = 4;
/// The server does not answer that, or not to that client.
pub(super) const REFUSED: u8 = 5;

/// Why an answer is not what one may hope for (RFC 8914).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Note {
    /// The answer has outlived its time.
    Stale = 3,
    /// The client may not ask that here.
    Prohibited = 18,
    /// No recursor gave an answer.
    NoAnswer = 22,
}

/// A question, its name as it was spelled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Question {
    pub(super) name: Box<[u8]>,
    pub(super) kind: u16,
    pub(super) class: u16,
}

/// A client's query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Query {
    pub(super) id: u16,
    pub(super) question: Question,
    pub(super) is_recursion_desired: bool,
    pub(super) is_checking_disabled: bool,
    /// The client understands the bit that says that an answer is authentic.
    pub(super) wants_authentic: bool,
    pub(super) edns: Option<ClientEdns>,
}

/// What a client's OPT says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ClientEdns {
    /// What it can take by UDP.
    pub(super) udp_bytes: u16,
    pub(super) is_dnssec_ok: bool,
    /// There may be a cookie, so that there must be room for ours in the answer.
    pub(super) has_options: bool,
}

/// What equal questions have in common.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key(Box<[u8]>);

/// What a recursor is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) question: Question,
    pub(super) is_dnssec_ok: bool,
    pub(super) is_checking_disabled: bool,
}

impl Query {
    /// Reads a query with one question; none if the bytes are not one.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let mut cursor = Cursor { bytes, at: 0 };
        let (id, flags) = (cursor.u16()?, cursor.u16()?);
        let counts = [cursor.u16()?, cursor.u16()?, cursor.u16()?];
        let additional = cursor.u16()?;
        if flags & (RESPONSE | OPCODE) != 0 || counts != [1, 0, 0] {
            return None;
        }
        let question = cursor.question()?;
        let mut edns = None;
        for _ in 0..additional {
            let record = cursor.record()?;
            if record.kind == TYPE_OPT && edns.is_none() {
                let low = u16::try_from(record.ttl & 0xffff).unwrap_or_default();
                edns = Some(ClientEdns {
                    udp_bytes: record.class,
                    is_dnssec_ok: low & DNSSEC_OK != 0,
                    has_options: cursor.at > record.ttl_at.saturating_add(EMPTY),
                });
            }
        }
        let is_dnssec_ok = edns.is_some_and(|edns| edns.is_dnssec_ok);
        Some(Self {
            id,
            question,
            is_recursion_desired: flags & RECURSION_DESIRED != 0,
            is_checking_disabled: flags & CHECKING_DISABLED != 0,
            wants_authentic: flags & AUTHENTIC != 0 || is_dnssec_ok,
            edns,
        })
    }

    /// What a recursor is to be asked.
    pub(super) fn asked(&self) -> Asked {
        Asked {
            question: Question {
                name: self.question.name.to_ascii_lowercase().into(),
                ..self.question.clone()
            },
            is_dnssec_ok: self.edns.is_some_and(|edns| edns.is_dnssec_ok),
            is_checking_disabled: self.is_checking_disabled,
        }
    }

    /// An answer without records.
    pub(super) fn failed(&self, rcode: u8, note: Note) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER.saturating_add(self.question.name.len()));
        self.put_header(&mut out, u16::from(rcode), [1, 0, 0, 0]);
        self.question.put(&mut out);
        self.put_opt(&mut out, Some(note));
        out
    }

    pub(super) fn put_header(&self, out: &mut Vec<u8>, bits: u16, counts: [u16; 4]) {
        let mut flags = RESPONSE | RECURSION_AVAILABLE | bits;
        if self.is_recursion_desired {
            flags |= RECURSION_DESIRED;
        }
        if self.is_checking_disabled {
            flags |= CHECKING_DISABLED;
        }
        for word in [self.id, flags].into_iter().chain(counts) {
            out.extend(word.to_be_bytes());
        }
    }

    /// Adds the OPT of an answer, if the client has sent one.
    pub(super) fn put_opt(&self, out: &mut Vec<u8>, note: Option<Note>) {
        let Some(edns) = self.edns else { return };
        let flags = if edns.is_dnssec_ok { DNSSEC_OK } else { 0 };
        put_opt(out, flags);
        if let (Some(note), Some(length)) = (note, out.len().checked_sub(2)) {
            out.truncate(length);
            for word in [6, OPTION_EDE, 2, note as u16] {
                out.extend(word.to_be_bytes());
            }
        }
        count_additional(out);
    }
}

impl Question {
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        out.extend(&*self.name);
        out.extend(self.kind.to_be_bytes());
        out.extend(self.class.to_be_bytes());
    }
}

impl Asked {
    /// What tells this question from others.
    pub(super) fn key(&self) -> Key {
        let mut key = Vec::with_capacity(self.question.name.len().saturating_add(5));
        self.question.put(&mut key);
        key.push(u8::from(self.is_dnssec_ok) | u8::from(self.is_checking_disabled) << 1);
        Key(key.into())
    }

    /// The query, under this id. A letter of the name is a capital where chance has a bit set.
    pub(super) fn query(&self, id: u16, chance: &[u8; 32], has_edns: bool) -> Vec<u8> {
        let mut flags = RECURSION_DESIRED;
        if self.is_checking_disabled {
            flags |= CHECKING_DISABLED;
        }
        let mut out = Vec::with_capacity(HEADER.saturating_add(NAME_MAX));
        for word in [id, flags, 1, 0, 0, 0] {
            out.extend(word.to_be_bytes());
        }
        Question {
            name: spelled(&self.question.name, chance),
            ..self.question.clone()
        }
        .put(&mut out);
        if has_edns {
            put_opt(&mut out, if self.is_dnssec_ok { DNSSEC_OK } else { 0 });
            count_additional(&mut out);
        }
        out
    }
}

impl Key {
    /// The last two labels of the name, which mostly tell whose servers answer.
    pub(super) fn domain(&self) -> &[u8] {
        let mut starts = [0; 2];
        let mut at = 0_usize;
        while let Some(length) = self.0.get(at).copied().filter(|length| *length > 0) {
            starts = [starts[1], at];
            at = at.saturating_add(usize::from(length)).saturating_add(1);
        }
        self.0.get(starts[0]..at).unwrap_or_default()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

/// A name with a capital wherever chance has a bit set. A length is below every letter, so
/// that only letters of labels change.
fn spelled(name: &[u8], chance: &[u8; 32]) -> Box<[u8]> {
    let bits = chance
        .iter()
        .flat_map(|byte| (0..8).map(move |bit| byte >> bit & 1 == 1));
    let letters = name.iter().zip(bits);
    letters
        .map(|(letter, is_capital)| {
            if is_capital {
                letter.to_ascii_uppercase()
            } else {
                letter.to_ascii_lowercase()
            }
        })
        .collect()
}

/// An OPT without options, to be counted.
fn put_opt(out: &mut Vec<u8>, flags: u16) {
    out.push(0);
    for word in [TYPE_OPT, UDP_PAYLOAD, 0, flags, 0] {
        out.extend(word.to_be_bytes());
    }
}

fn count_additional(out: &mut [u8]) {
    let count = peek_u16(out, 10).unwrap_or_default().saturating_add(1);
    put(out, 10, count.to_be_bytes());
}
