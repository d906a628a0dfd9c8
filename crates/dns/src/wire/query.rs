//! Reads a query: header, one question, and what EDNS adds.
//!
//! Only what a query may hold is read, and strictly: what the server does not look at can't
//! hurt it. Names are never followed by pointers. Sources: RFC 1035 section 4.1, RFC 6891,
//! RFC 7871 (client subnet), RFC 7873 (cookies).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Bad, Name, Reader, kind};

/// Length of a header.
pub(crate) const HEADER_BYTES: usize = 12;
/// Options of EDNS.
const SUBNET: u16 = 8;
const COOKIE: u16 = 10;
/// Records beside OPT that a query may bring along, like a signature.
const ADDITIONALS_MAX: u16 = 4;

/// What is asked.
#[derive(Clone, Debug)]
pub(crate) struct Query {
    /// The first four bytes: id and flags.
    pub(crate) id: u16,
    pub(crate) flags: u16,
    pub(crate) name: Name,
    pub(crate) kind: u16,
    pub(crate) class: u16,
    /// Where the question ends; 12 if there is none.
    pub(crate) question_end: usize,
    pub(crate) edns: Option<Edns>,
}

/// What EDNS says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Edns {
    /// What the client can take by UDP.
    pub(crate) udp_bytes: u16,
    pub(crate) version: u8,
    /// The client wants DNSSEC, which is only echoed (RFC 3225).
    pub(crate) is_dnssec: bool,
    pub(crate) cookie: Option<Cookie>,
    pub(crate) subnet: Option<Subnet>,
}

/// A cookie (RFC 7873): the client's half, and ours if it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cookie {
    pub(crate) client: [u8; 8],
    /// Only of the length that we make.
    pub(crate) server: Option<[u8; 16]>,
}

/// The network of the client behind a resolver (RFC 7871).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Subnet {
    pub(crate) address: IpAddr,
    pub(crate) prefix: u8,
}

impl Query {
    /// A place to read queries into.
    pub(crate) const fn new() -> Self {
        Self {
            id: 0,
            flags: 0,
            name: Name::root(),
            kind: 0,
            class: 0,
            question_end: HEADER_BYTES,
            edns: None,
        }
    }

    /// The operation (RFC 1035, section 4.1.1).
    pub(crate) const fn opcode(&self) -> u16 {
        self.flags >> 11 & 0xf
    }

    /// Reads a message into this place. After an error id, flags and what was read so far hold.
    ///
    /// # Errors
    /// [`Bad`].
    pub(crate) fn read(&mut self, message: &[u8]) -> Result<(), Bad> {
        self.question_end = HEADER_BYTES;
        self.edns = None;
        let mut reader = Reader::new(message);
        self.id = reader.u16().map_err(|_| Bad::Silent)?;
        self.flags = reader.u16().map_err(|_| Bad::Silent)?;
        let [questions, answers, authorities, additionals] =
            [reader.u16(), reader.u16(), reader.u16(), reader.u16()];
        // Whatever is an answer is not answered: two servers could go on for ever.
        if self.flags & 0x8000 != 0 || additionals.is_err() {
            return Err(Bad::Silent);
        }
        match self.opcode() {
            0 => {}
            5 => return Err(Bad::Update),
            _ => return Err(Bad::Operation),
        }
        let is_sound =
            questions.is_ok_and(|count| count <= 1) && answers == Ok(0) && authorities == Ok(0);
        let additionals = additionals.unwrap_or_default();
        if !is_sound || additionals > ADDITIONALS_MAX {
            return Err(Bad::Form);
        }
        if questions == Ok(1) {
            self.question(&mut reader)?;
        }
        for _ in 0..additionals {
            self.additional(&mut reader)?;
        }
        let only_cookie = self.edns.is_some_and(|edns| edns.cookie.is_some());
        if !reader.is_at_end() || (questions == Ok(0) && !only_cookie) {
            return Err(Bad::Form);
        }
        Ok(())
    }

    /// Lets go of all but id and flags.
    pub(crate) const fn forget(&mut self) {
        self.question_end = HEADER_BYTES;
        self.kind = 0;
        self.edns = None;
    }

    /// Whether there is a question; a query may only ask for a cookie (RFC 7873, section 5.4).
    pub(crate) const fn has_question(&self) -> bool {
        self.question_end > HEADER_BYTES
    }

    fn question(&mut self, reader: &mut Reader<'_>) -> Result<(), Bad> {
        let length = self.name.read(reader.rest())?;
        reader.take(length)?;
        self.kind = reader.u16()?;
        self.class = reader.u16()?;
        self.question_end = reader.place();
        Ok(())
    }

    fn additional(&mut self, reader: &mut Reader<'_>) -> Result<(), Bad> {
        let is_root = reader.skip_name()?;
        let (type_number, class) = (reader.u16()?, reader.u16()?);
        let ttl = reader.take(4)?;
        let length = usize::from(reader.u16()?);
        let data = reader.take(length)?;
        if type_number != kind::OPT {
            return Ok(());
        }
        if !is_root || self.edns.is_some() {
            return Err(Bad::Form);
        }
        // The first are the upper bits of an answer's code, which mean nothing in a query.
        let [_, version, flags, _] = *ttl else {
            return Err(Bad::Form);
        };
        let mut edns = Edns {
            udp_bytes: class,
            version,
            is_dnssec: flags & 0x80 != 0,
            ..Edns::default()
        };
        // What other versions hold is not known.
        let read = if version == 0 {
            edns.options(data)
        } else {
            Ok(())
        };
        self.edns = Some(edns);
        read
    }
}

impl Edns {
    fn options(&mut self, data: &[u8]) -> Result<(), Bad> {
        let mut reader = Reader::new(data);
        while !reader.is_at_end() {
            let code = reader.u16()?;
            let length = usize::from(reader.u16()?);
            let value = reader.take(length)?;
            match code {
                // The first cookie counts (RFC 7873, section 5.2).
                COOKIE if self.cookie.is_none() => self.cookie = Some(Cookie::read(value)?),
                SUBNET => self.subnet = Some(Subnet::read(value)?),
                _ => {}
            }
        }
        Ok(())
    }
}

impl Cookie {
    fn read(value: &[u8]) -> Result<Self, Bad> {
        let (client, server) = value.split_first_chunk().ok_or(Bad::Form)?;
        if !matches!(server.len(), 0 | 8..=32) {
            return Err(Bad::Form);
        }
        Ok(Self {
            client: *client,
            server: server.try_into().ok(),
        })
    }
}

impl Subnet {
    fn read(value: &[u8]) -> Result<Self, Bad> {
        let mut reader = Reader::new(value);
        let family = reader.u16()?;
        let [prefix, scope] = *reader.take(2)? else {
            return Err(Bad::Form);
        };
        let given = reader.rest();
        let bits_max = match family {
            1 => 32,
            2 => 128,
            _ => return Err(Bad::Form),
        };
        let bytes = usize::from(prefix.div_ceil(8));
        if prefix > bits_max || scope != 0 || given.len() != bytes {
            return Err(Bad::Form);
        }
        let mut address = [0; 16];
        let room = address.get_mut(..bytes).ok_or(Bad::Form)?;
        room.copy_from_slice(given);
        // Bits beyond the prefix must be zero (RFC 7871, section 6).
        let spare = prefix.wrapping_neg() & 7;
        let last = given.last().copied().unwrap_or_default();
        if last.trailing_zeros() < u32::from(spare) {
            return Err(Bad::Form);
        }
        let address = if family == 1 {
            let [a, b, c, d, ..] = address;
            IpAddr::V4(Ipv4Addr::new(a, b, c, d))
        } else {
            IpAddr::V6(Ipv6Addr::from(address))
        };
        Ok(Self { address, prefix })
    }
}
