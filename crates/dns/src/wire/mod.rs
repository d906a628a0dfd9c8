//! The wire format, as far as the hot path needs it: queries in, answers out.

mod cookie;
mod message;
mod name;
mod query;
mod reader;
#[cfg(test)]
mod tests;

pub(crate) use cookie::Cookies;
pub(crate) use message::{Closing, Message, Owner, Section, can_point, is_name, put_labels};
pub(crate) use name::{LABEL_BYTES_MAX, NAME_BYTES_MAX, Name};
pub(crate) use query::Query;
pub(crate) use reader::Reader;

/// Why a message is no query to answer from the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bad {
    /// It gets no answer: it has no whole header, or is an answer itself.
    Silent,
    /// It is not as the RFCs have it.
    Form,
    /// It asks for an operation that there is not.
    Operation,
    /// It is an update (RFC 2136).
    Update,
}

/// Types of records (IANA).
pub(crate) mod kind {
    pub(crate) const A: u16 = 1;
    pub(crate) const NS: u16 = 2;
    pub(crate) const CNAME: u16 = 5;
    pub(crate) const SOA: u16 = 6;
    pub(crate) const PTR: u16 = 12;
    pub(crate) const HINFO: u16 = 13;
    pub(crate) const TXT: u16 = 16;
    pub(crate) const AAAA: u16 = 28;
    pub(crate) const SRV: u16 = 33;
    pub(crate) const OPT: u16 = 41;
    pub(crate) const SVCB: u16 = 64;
    pub(crate) const HTTPS: u16 = 65;
    pub(crate) const TKEY: u16 = 249;
    pub(crate) const MAILA: u16 = 254;
    pub(crate) const ANY: u16 = 255;
}

/// What an answer says of itself (RFC 1035, section 4.1.1; RFC 6891).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Code {
    NoError = 0,
    FormErr = 1,
    /// We could not find out.
    ServFail = 2,
    NxDomain = 3,
    NotImp = 4,
    Refused = 5,
    /// Needs EDNS to be told.
    BadVers = 16,
}

impl Code {
    pub(crate) const fn number(self) -> u8 {
        match self {
            Self::NoError => 0,
            Self::FormErr => 1,
            Self::ServFail => 2,
            Self::NxDomain => 3,
            Self::NotImp => 4,
            Self::Refused => 5,
            Self::BadVers => 16,
        }
    }
}
