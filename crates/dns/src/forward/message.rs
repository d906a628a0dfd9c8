//! What a forwarder reads and writes of a message: its header, its question, lifetimes and OPT.
//!
//! Everything else stays the bytes that the recursor sent, so that types which nobody here
//! knows pass unharmed. Names are only measured; pointers are not followed.
//!
//! Source: RFC 1035, section 4; RFC 6891; RFC 2308; RFC 8914.

/// Bytes of a header.
const HEADER: usize = 12;
/// Most bytes of a name.
const NAME_MAX: usize = 255;
/// Most bytes of a label; longer ones are pointers or unknown.
const LABEL_MAX: u8 = 63;
/// What we can take over UDP, as recommended on the DNS flag day of 2020.
const UDP_PAYLOAD: u16 = 1232;
/// Lifetimes from here on are negative, which means none (RFC 2181, section 8).
const TTL_SIGN: u32 = 1 << 31;

const RESPONSE: u16 = 1 << 15;
const OPCODE: u16 = 0xf << 11;
const TRUNCATED: u16 = 1 << 9;
const RECURSION_DESIRED: u16 = 1 << 8;
const RECURSION_AVAILABLE: u16 = 1 << 7;
const AUTHENTIC: u16 = 1 << 5;
const CHECKING_DISABLED: u16 = 1 << 4;
const RCODE: u16 = 0xf;
const DNSSEC_OK: u16 = 1 << 15;

const TYPE_NS: u16 = 2;
const TYPE_SOA: u16 = 6;
const TYPE_OPT: u16 = 41;
const OPTION_EDE: u16 = 15;

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
    pub(super) is_dnssec_ok: bool,
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

/// A recursor's answer without its OPT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    bytes: Box<[u8]>,
    name_end: usize,
    question_end: usize,
    ttls: Box<[usize]>,
    /// The outcome, extended by OPT.
    pub(super) rcode: u16,
    pub(super) is_truncated: bool,
    is_authentic: bool,
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
                    is_dnssec_ok: low & DNSSEC_OK != 0,
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

    fn put_header(&self, out: &mut Vec<u8>, bits: u16, counts: [u16; 4]) {
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
    fn put_opt(&self, out: &mut Vec<u8>, note: Option<Note>) {
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
    fn put(&self, out: &mut Vec<u8>) {
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
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
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
        Self::read_records(cursor, &head, got.name.len()).ok_or(Mismatch::Broken)
    }

    fn read_records(mut cursor: Cursor<'_>, head: &Head, name_bytes: usize) -> Option<Self> {
        let question_end = cursor.at;
        let mut found = Found::default();
        let mut counts = [head.answers, head.authorities, 0];
        // A message that was cut may promise more records than it has.
        let is_truncated = head.flags & TRUNCATED != 0;
        for section in 0..3 {
            let count = [head.answers, head.authorities, head.additionals]
                .get(section)
                .copied()?;
            for place in 0..count {
                let start = cursor.at;
                let Some(record) = cursor.record() else {
                    if is_truncated {
                        return Some(Self::cut(&cursor, question_end, head, name_bytes));
                    }
                    return None;
                };
                if record.kind == TYPE_OPT {
                    // OPT speaks of one hop only. What stands behind it could point across the
                    // gap; all of it is additional, and goes as well.
                    counts = [head.answers, head.authorities, place];
                    let extended = u16::try_from(record.ttl >> 24).unwrap_or_default() << 4;
                    let end = Some(start);
                    return Self::made(
                        &cursor,
                        (question_end, end),
                        head,
                        (counts, found, extended, name_bytes),
                    );
                }
                found.note(section, &record, &cursor);
            }
            if section == 2 {
                counts = [head.answers, head.authorities, count];
            }
        }
        Self::made(
            &cursor,
            (question_end, None),
            head,
            (counts, found, 0, name_bytes),
        )
    }

    fn made(
        cursor: &Cursor<'_>,
        (question_end, end): (usize, Option<usize>),
        head: &Head,
        (counts, found, extended, name_bytes): ([u16; 3], Found, u16, usize),
    ) -> Option<Self> {
        let end = end.unwrap_or(cursor.at);
        let mut bytes: Box<[u8]> = cursor.bytes.get(..end)?.into();
        for (place, count) in (6..).step_by(2).zip(counts) {
            put(&mut bytes, place, count.to_be_bytes());
        }
        let rcode = head.flags & RCODE | extended;
        let is_truncated = head.flags & TRUNCATED != 0;
        let is_final = [u16::from(NOERROR), u16::from(NXDOMAIN)].contains(&rcode);
        Some(Self {
            bytes,
            name_end: HEADER.saturating_add(name_bytes),
            question_end,
            rcode,
            is_truncated,
            is_authentic: head.flags & AUTHENTIC != 0,
            ttl: found
                .ttl(head.answers > 0 && rcode == u16::from(NOERROR))
                .filter(|_| is_final && !is_truncated),
            is_lame: found.is_referral
                && head.answers == 0
                && head.flags & RECURSION_AVAILABLE == 0,
            ttls: found.ttls.into(),
        })
    }

    /// An answer of which only the question counts: it was cut.
    fn cut(cursor: &Cursor<'_>, question_end: usize, head: &Head, name_bytes: usize) -> Self {
        let bytes = cursor.bytes.get(..question_end).unwrap_or_default().into();
        Self {
            bytes,
            name_end: HEADER.saturating_add(name_bytes),
            question_end,
            ttls: Box::default(),
            rcode: head.flags & RCODE,
            is_truncated: true,
            is_authentic: false,
            ttl: None,
            is_lame: false,
        }
    }

    fn empty(rcode: u8) -> Self {
        Self {
            bytes: Box::default(),
            name_end: 0,
            question_end: 0,
            ttls: Box::default(),
            rcode: u16::from(rcode),
            is_truncated: false,
            is_authentic: false,
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
    pub(super) fn is_nothing(&self) -> bool {
        peek_u16(&self.bytes, 6).is_none_or(|answers| answers == 0)
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
    ttls: Vec<usize>,
    least: Option<u32>,
    /// The lifetime of the word that there is nothing.
    negative: Option<u32>,
    is_referral: bool,
}

impl Found {
    fn note(&mut self, section: usize, record: &Record, cursor: &Cursor<'_>) {
        let ttl = if record.ttl >= TTL_SIGN {
            0
        } else {
            record.ttl
        };
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

struct Head {
    id: u16,
    flags: u16,
    questions: u16,
    answers: u16,
    authorities: u16,
    additionals: u16,
}

struct Record {
    kind: u16,
    ttl: u32,
    ttl_at: usize,
}

/// A place in a message. Every step says whether there was enough to read.
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    fn u8(&mut self) -> Option<u8> {
        let byte = self.bytes.get(self.at).copied()?;
        self.at = self.at.checked_add(1)?;
        Some(byte)
    }

    fn u16(&mut self) -> Option<u16> {
        let word = peek_u16(self.bytes, self.at)?;
        self.at = self.at.checked_add(2)?;
        Some(word)
    }

    fn u32(&mut self) -> Option<u32> {
        let word = peek_u32(self.bytes, self.at)?;
        self.at = self.at.checked_add(4)?;
        Some(word)
    }

    fn skip(&mut self, count: usize) -> Option<()> {
        let end = self.at.checked_add(count)?;
        self.bytes.get(self.at..end)?;
        self.at = end;
        Some(())
    }

    fn head(&mut self) -> Option<Head> {
        Some(Head {
            id: self.u16()?,
            flags: self.u16()?,
            questions: self.u16()?,
            answers: self.u16()?,
            authorities: self.u16()?,
            additionals: self.u16()?,
        })
    }

    /// A question, whose name has nothing to point at yet.
    fn question(&mut self) -> Option<Question> {
        let start = self.at;
        loop {
            let length = self.u8()?;
            if length == 0 {
                break;
            }
            if length > LABEL_MAX {
                return None;
            }
            self.skip(usize::from(length))?;
        }
        let name = self.bytes.get(start..self.at)?;
        if name.len() > NAME_MAX {
            return None;
        }
        Some(Question {
            name: name.into(),
            kind: self.u16()?,
            class: self.u16()?,
        })
    }

    fn record(&mut self) -> Option<Record> {
        self.skip_name()?;
        let (kind, _class, ttl_at) = (self.u16()?, self.u16()?, self.at);
        let (ttl, length) = (self.u32()?, self.u16()?);
        self.skip(usize::from(length))?;
        Some(Record { kind, ttl, ttl_at })
    }

    fn skip_name(&mut self) -> Option<()> {
        let start = self.at;
        loop {
            let length = self.u8()?;
            match length {
                0 => break,
                1..=LABEL_MAX => self.skip(usize::from(length))?,
                0xc0.. => return self.skip(1),
                _ => return None,
            }
            if self.at.saturating_sub(start) > NAME_MAX {
                return None;
            }
        }
        Some(())
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

fn put<const N: usize>(out: &mut [u8], at: usize, bytes: [u8; N]) {
    if let Some(place) = at.checked_add(N).and_then(|end| out.get_mut(at..end)) {
        place.copy_from_slice(&bytes);
    }
}

fn peek_u16(bytes: &[u8], at: usize) -> Option<u16> {
    let end = at.checked_add(2)?;
    bytes.get(at..end)?.try_into().ok().map(u16::from_be_bytes)
}

fn peek_u32(bytes: &[u8], at: usize) -> Option<u32> {
    let end = at.checked_add(4)?;
    bytes.get(at..end)?.try_into().ok().map(u32::from_be_bytes)
}
