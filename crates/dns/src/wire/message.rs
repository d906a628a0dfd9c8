//! Writes an answer into a buffer that is used again and again.
//!
//! Invariant: what is in the buffer is a whole message no longer than its limit, but for the
//! counts and flags in its header, which [`Message::finish`] writes. A record that does not
//! fit leaves no trace.

use std::net::IpAddr;

use super::{
    LABEL_BYTES_MAX, NAME_BYTES_MAX, kind,
    query::{HEADER_BYTES, Query, Subnet},
};

/// Class IN.
const INTERNET: u16 = 1;
/// Where a pointer may point to (RFC 1035, section 4.1.4).
const POINTER_MAX: usize = 0x3fff;
/// What OPT takes with a cookie and a subnet: 11, 4 + 24, 4 + 4 + 16.
const OPT_BYTES_MAX: usize = 64;

/// A message in the making.
pub(crate) struct Message<'b> {
    out: &'b mut Vec<u8>,
    limit: usize,
    section: Section,
    counts: [u16; 3],
    is_cut: bool,
}

/// Whose name a record has.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Owner<'n> {
    /// That of the question, from this byte of it on.
    Question(usize),
    /// The name that was written at that place of the message.
    At(usize),
    /// A name in wire form.
    Name(&'n [u8]),
}

/// Where records go; only ever forwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Section {
    Answer = 0,
    Authority = 1,
    Additional = 2,
}

/// What the header and OPT say besides.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Closing {
    pub(crate) code: u8,
    pub(crate) is_authoritative: bool,
    pub(crate) is_recursive: bool,
    /// What we take by UDP.
    pub(crate) udp_bytes: u16,
    pub(crate) cookie: Option<([u8; 8], [u8; 16])>,
    /// The client's subnet and how much of it mattered.
    pub(crate) subnet: Option<(Subnet, u8)>,
}

impl<'b> Message<'b> {
    /// An answer to `query`, whose bytes are `asked`, of at most so many bytes.
    pub(crate) fn new(out: &'b mut Vec<u8>, asked: &[u8], query: &Query, limit: usize) -> Self {
        out.clear();
        out.extend_from_slice(&[0; HEADER_BYTES]);
        out.extend_from_slice(
            asked
                .get(HEADER_BYTES..query.question_end)
                .unwrap_or_default(),
        );
        let opt = if query.edns.is_some() {
            OPT_BYTES_MAX
        } else {
            0
        };
        Self {
            out,
            limit: limit.saturating_sub(opt),
            section: Section::Answer,
            counts: [0; 3],
            is_cut: false,
        }
    }

    /// Says that there is more than the message holds.
    pub(crate) const fn cut(&mut self) {
        self.is_cut = true;
    }

    /// Whether something of the answer did not fit.
    pub(crate) const fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// Where the next byte goes.
    pub(crate) const fn place(&self) -> usize {
        self.out.len()
    }

    /// Records in the section.
    pub(crate) fn count(&self, section: Section) -> u16 {
        self.counts
            .get(section as usize)
            .copied()
            .unwrap_or_default()
    }

    /// Goes on to a later section.
    pub(crate) fn section(&mut self, section: Section) {
        self.section = self.section.max(section);
    }

    /// Adds a record and says whether it fitted. An answer or an authority that does not
    /// makes the message a cut one (RFC 2181, section 9).
    pub(crate) fn record(
        &mut self,
        owner: Owner<'_>,
        kind: u16,
        ttl: u32,
        data: impl FnOnce(&mut Vec<u8>),
    ) -> bool {
        let mark = self.out.len();
        owner.put(self.out);
        put(self.out, kind);
        put(self.out, INTERNET);
        self.out.extend_from_slice(&ttl.to_be_bytes());
        let at = self.out.len();
        put(self.out, 0);
        data(self.out);
        let length = self.out.len().saturating_sub(at).saturating_sub(2);
        let length = u16::try_from(length).ok();
        let Some(length) = length.filter(|_| self.out.len() <= self.limit) else {
            self.out.truncate(mark);
            self.is_cut |= self.section != Section::Additional;
            return false;
        };
        patch(self.out, at, length);
        if let Some(count) = self.counts.get_mut(self.section as usize) {
            *count = count.saturating_add(1);
        }
        true
    }

    /// Adds an address.
    pub(crate) fn address(&mut self, owner: Owner<'_>, ip: IpAddr, ttl: u32) -> bool {
        match ip {
            IpAddr::V4(ip) => self.record(owner, kind::A, ttl, |out| {
                out.extend_from_slice(&ip.octets());
            }),
            IpAddr::V6(ip) => self.record(owner, kind::AAAA, ttl, |out| {
                out.extend_from_slice(&ip.octets());
            }),
        }
    }

    /// Writes header and OPT, and says whether the client is told that there is more; not if
    /// the cut is to be silent and something is left.
    pub(crate) fn finish(mut self, query: &Query, closing: &Closing, is_silent: bool) -> bool {
        let [answers, authorities, additionals] = self.counts;
        let is_cut = self.is_cut && (!is_silent || answers == 0);
        let mut additionals = additionals;
        if let Some(edns) = &query.edns {
            additionals = additionals.saturating_add(1);
            self.opt(closing, edns.is_dnssec);
        }
        // What the client said of operation, recursion and checking is said back.
        let mut flags = 0x8000 | (query.flags & 0x7910);
        for (is_set, bit) in [
            (closing.is_authoritative, 0x0400),
            (is_cut, 0x0200),
            (closing.is_recursive, 0x0080),
        ] {
            if is_set {
                flags |= bit;
            }
        }
        flags |= u16::from(closing.code & 0xf);
        let questions = u16::from(query.has_question());
        let header = [
            query.id,
            flags,
            questions,
            answers,
            authorities,
            additionals,
        ];
        for (at, value) in (0..HEADER_BYTES).step_by(2).zip(header) {
            patch(self.out, at, value);
        }
        is_cut
    }

    fn opt(&mut self, closing: &Closing, is_dnssec: bool) {
        let out = &mut *self.out;
        out.push(0);
        put(out, kind::OPT);
        put(out, closing.udp_bytes);
        out.extend_from_slice(&[closing.code >> 4, 0, if is_dnssec { 0x80 } else { 0 }, 0]);
        let at = out.len();
        put(out, 0);
        if let Some((client, server)) = &closing.cookie {
            put(out, 10);
            put(out, 24);
            out.extend_from_slice(client);
            out.extend_from_slice(server);
        }
        if let Some((subnet, scope)) = closing.subnet {
            let bytes = u16::from(subnet.prefix.div_ceil(8));
            put(out, 8);
            put(out, bytes.saturating_add(4));
            put(out, if subnet.address.is_ipv4() { 1 } else { 2 });
            out.extend_from_slice(&[subnet.prefix, scope]);
            let length = usize::from(bytes);
            match subnet.address {
                IpAddr::V4(ip) => out.extend(ip.octets().iter().take(length)),
                IpAddr::V6(ip) => out.extend(ip.octets().iter().take(length)),
            }
        }
        let length = out.len().saturating_sub(at).saturating_sub(2);
        patch(out, at, u16::try_from(length).unwrap_or_default());
    }
}

impl Owner<'_> {
    fn put(self, out: &mut Vec<u8>) {
        match self {
            Owner::Question(from) => put_pointer(out, HEADER_BYTES.saturating_add(from)),
            Owner::At(place) => put_pointer(out, place),
            Owner::Name(wire) => out.extend_from_slice(wire),
        }
    }
}

/// Points to a name; one that is too far off becomes the root, which nobody asks for: callers
/// name whole names where a message may be long.
fn put_pointer(out: &mut Vec<u8>, place: usize) {
    match u16::try_from(place) {
        Ok(place) if usize::from(place) <= POINTER_MAX => put(out, 0xc000 | place),
        _ => out.push(0),
    }
}

/// Whether a pointer can point there.
pub(crate) const fn can_point(place: usize) -> bool {
    place <= POINTER_MAX
}

/// Whether labels before the last so many bytes of a name make a name (RFC 1035, section
/// 2.3.4).
pub(crate) fn is_name<'l>(labels: impl IntoIterator<Item = &'l [u8]>, rest: usize) -> bool {
    let mut bytes = rest;
    let are_labels = labels.into_iter().all(|label| {
        bytes = bytes.saturating_add(1).saturating_add(label.len());
        (1..=LABEL_BYTES_MAX).contains(&label.len())
    });
    are_labels && bytes <= NAME_BYTES_MAX
}

/// Writes labels, and then the end of their name. What can be no label is left out: longer
/// ones would read as pointers. Whoever does not know asks [`is_name`] before.
pub(crate) fn put_labels(out: &mut Vec<u8>, labels: &[&[u8]], end: Owner<'_>) {
    let are_labels = |label: &&&[u8]| (1..=LABEL_BYTES_MAX).contains(&label.len());
    for label in labels.iter().filter(are_labels) {
        out.push(u8::try_from(label.len()).unwrap_or_default());
        out.extend_from_slice(label);
    }
    end.put(out);
}

fn put(out: &mut Vec<u8>, value: u16) {
    out.extend_from_slice(&value.to_be_bytes());
}

fn patch(out: &mut [u8], at: usize, value: u16) {
    if let Some(room) = out.get_mut(at..at.saturating_add(2)) {
        room.copy_from_slice(&value.to_be_bytes());
    }
}
