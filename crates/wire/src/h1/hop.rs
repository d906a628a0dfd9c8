//! What a head says about its own connection: framing, persistence, upgrade.

use portolan_model::http::{Known, KnownSet, Version};

use super::{Persistence, Refusal, Sender};

/// Most names that Connection may nominate; each costs a walk over all fields.
pub(super) const NOMINATIONS_MAX: usize = 16;

/// Content-Length has at most so many digits: any such number fits 64 bits.
const LENGTH_DIGITS_MAX: usize = 19;

/// Fields that end at this hop. They are never forwarded, only understood.
pub(super) const HOP_BY_HOP: KnownSet = KnownSet::of(&[
    Known::Host,
    Known::Connection,
    Known::ContentLength,
    Known::TransferEncoding,
    Known::KeepAlive,
    Known::ProxyConnection,
    Known::Te,
    Known::Upgrade,
    Known::Expect,
    Known::Http2Settings,
]);

/// The elements of a comma-separated list, without the blanks around them.
pub(super) fn elements(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    list.split(|byte| *byte == b',').map(trim)
}

/// `text` without the blanks around it.
pub(super) fn trim(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}

/// What all Transfer-Encoding fields say together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    /// There is none.
    Absent,
    /// `chunked` and nothing else.
    Chunked,
    /// Others, then `chunked`: the end is known, the coding is not.
    Stacked,
    /// Others without a final `chunked`: the end is not known.
    Endless,
    /// Something behind `chunked`, or an empty element.
    Broken,
}

impl Coding {
    fn and(self, coding: &[u8]) -> Self {
        let is_chunked = coding.eq_ignore_ascii_case(b"chunked");
        match self {
            _ if coding.is_empty() => Self::Broken,
            Self::Absent if is_chunked => Self::Chunked,
            Self::Endless if is_chunked => Self::Stacked,
            Self::Absent | Self::Endless => Self::Endless,
            Self::Chunked | Self::Stacked | Self::Broken => Self::Broken,
        }
    }
}

/// The hop-by-hop fields of one head, understood.
#[derive(Debug)]
pub(super) struct Hop<'a> {
    sender: Sender,
    pub(super) host: Option<&'a [u8]>,
    pub(super) content_length: Option<u64>,
    pub(super) coding: Coding,
    pub(super) expectation: Expectation,
    pub(super) accepts_trailers: bool,
    connection: Connection,
    protocol: Option<&'a str>,
}

/// What all Connection fields say together.
#[derive(Debug, Default)]
struct Connection {
    close: bool,
    keep_alive: bool,
    upgrade: bool,
    /// How many fields it nominates that [`HOP_BY_HOP`] does not have.
    nominations: usize,
}

/// What Expect says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expectation {
    /// Nothing.
    None,
    /// `100-continue`.
    Continue,
    /// Something that nobody knows.
    Unknown,
}

impl<'a> Hop<'a> {
    pub(super) const fn new(sender: Sender) -> Self {
        Self {
            sender,
            host: None,
            content_length: None,
            coding: Coding::Absent,
            expectation: Expectation::None,
            accepts_trailers: false,
            connection: Connection {
                close: false,
                keep_alive: false,
                upgrade: false,
                nominations: 0,
            },
            protocol: None,
        }
    }

    /// Takes a hop-by-hop field.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "nothing depends on any other name"
    )]
    pub(super) fn note(&mut self, known: Known, value: &'a [u8]) -> Result<(), Refusal> {
        match known {
            Known::Host => self.note_host(value)?,
            Known::Connection => self.note_connection(value)?,
            Known::ContentLength => self.note_length(value)?,
            Known::TransferEncoding => {
                self.coding = elements(value).fold(self.coding, Coding::and);
            }
            Known::Te => {
                self.accepts_trailers |=
                    elements(value).any(|coding| coding.eq_ignore_ascii_case(b"trailers"));
            }
            Known::Upgrade => self.note_upgrade(value),
            Known::Expect => self.note_expectation(value),
            _ => {}
        }
        Ok(())
    }

    /// Whether Connection nominates a field that [`HOP_BY_HOP`] does not have.
    pub(super) const fn nominates(&self) -> bool {
        self.connection.nominations > 0
    }

    pub(super) const fn persistence(&self, version: Version) -> Persistence {
        let lasts = match version {
            Version::Http10 => self.connection.keep_alive,
            Version::Http11 | Version::Http2 => true,
        };
        if lasts && !self.connection.close {
            Persistence::KeepAlive
        } else {
            Persistence::Close
        }
    }

    /// The protocol to switch to, if Connection nominates Upgrade as it must.
    pub(super) fn upgrade(&self, version: Version) -> Option<Box<str>> {
        if self.connection.upgrade && version == Version::Http11 {
            self.protocol.map(Into::into)
        } else {
            None
        }
    }

    fn note_host(&mut self, value: &'a [u8]) -> Result<(), Refusal> {
        match self.host.replace(value) {
            None => Ok(()),
            Some(_) => Err(self.sender.malformed("more than one Host")),
        }
    }

    fn note_connection(&mut self, value: &[u8]) -> Result<(), Refusal> {
        let connection = &mut self.connection;
        if value.eq_ignore_ascii_case(b"keep-alive") {
            // What most connections say, and all of it.
            connection.keep_alive = true;
            return Ok(());
        }
        for option in elements(value) {
            // An option is a token; what is not UTF-8 names no field and changes nothing.
            let name = std::str::from_utf8(option).unwrap_or_default();
            let known = Known::of(name);
            if known == Known::KeepAlive {
                connection.keep_alive = true;
            } else if known == Known::Upgrade {
                connection.upgrade = true;
            } else if name.eq_ignore_ascii_case("close") {
                connection.close = true;
            } else if !HOP_BY_HOP.has(known) && !name.is_empty() {
                connection.nominations = connection.nominations.saturating_add(1);
            }
        }
        if connection.nominations > NOMINATIONS_MAX {
            return Err(self
                .sender
                .malformed("Connection nominates too many fields"));
        }
        Ok(())
    }

    fn note_length(&mut self, value: &[u8]) -> Result<(), Refusal> {
        let Some(length) = read_length(value) else {
            return Err(self.sender.malformed("Content-Length is no number"));
        };
        // Even equal ones: who merges them and who takes the first may disagree on a third.
        match self.content_length.replace(length) {
            None => Ok(()),
            Some(_) => Err(self.sender.malformed("more than one Content-Length")),
        }
    }

    fn note_upgrade(&mut self, value: &'a [u8]) {
        // HTTP/2 is never entered this way (RFC 9113, section 3.1): tunnelled to an instance,
        // it would carry requests past the gateway.
        let is_http = |name: &str| {
            name.eq_ignore_ascii_case("h2c")
                || name
                    .get(..5)
                    .is_some_and(|start| start.eq_ignore_ascii_case("http/"))
        };
        if self.protocol.is_none() {
            self.protocol = elements(value)
                .filter(|name| !name.is_empty() && name.iter().all(|byte| is_protocol(*byte)))
                .filter_map(|name| std::str::from_utf8(name).ok())
                .find(|name| !is_http(name));
        }
    }

    fn note_expectation(&mut self, value: &[u8]) {
        let is_continue = value.eq_ignore_ascii_case(b"100-continue");
        self.expectation = if is_continue && self.expectation != Expectation::Unknown {
            Expectation::Continue
        } else {
            Expectation::Unknown
        };
    }
}

const fn is_protocol(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'/' | b'+' | b'!' | b'~')
}

/// A length of digits only that also fits a signed number, which some origins use.
fn read_length(value: &[u8]) -> Option<u64> {
    if value.is_empty() || value.len() > LENGTH_DIGITS_MAX {
        return None;
    }
    let length = value.iter().try_fold(0_u64, |sum, byte| {
        let digit = byte.wrapping_sub(b'0');
        // Nineteen digits cannot overflow.
        (digit <= 9).then(|| sum.wrapping_mul(10).wrapping_add(u64::from(digit)))
    })?;
    i64::try_from(length).is_ok().then_some(length)
}
