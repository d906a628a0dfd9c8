//! The head of a response.

use super::{Fields, Version};

/// A status code from 100 to 599 (999 is accepted from upstreams and passed on).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Status(u16);

impl Status {
    /// 200.
    pub const OK: Self = Self(200);
    /// 302.
    pub const FOUND: Self = Self(302);
    /// 101.
    pub const SWITCHING_PROTOCOLS: Self = Self(101);
    /// Go on and send the body.
    pub const CONTINUE: Self = Self(100);

    /// A status of three digits.
    #[must_use]
    pub const fn new(code: u16) -> Option<Self> {
        if code >= 100 && code <= 999 {
            Some(Self(code))
        } else {
            None
        }
    }

    /// The code.
    #[must_use]
    pub const fn as_u16(self) -> u16 {
        self.0
    }

    /// The first digit.
    #[must_use]
    pub const fn class(self) -> u16 {
        self.0 / 100
    }

    /// Whether another head follows (1xx other than 101).
    #[must_use]
    pub const fn is_interim(self) -> bool {
        self.class() == 1 && self.0 != 101
    }

    /// Whether the message has no body whatever its fields say (RFC 9110, 6.4.1).
    #[must_use]
    pub const fn is_bodyless(self) -> bool {
        self.class() == 1 || self.0 == 204 || self.0 == 304
    }

    /// The usual phrase; empty for a code without one.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self.0 {
            100 => "Continue",
            101 => "Switching Protocols",
            103 => "Early Hints",
            200 => "OK",
            201 => "Created",
            202 => "Accepted",
            204 => "No Content",
            206 => "Partial Content",
            301 => "Moved Permanently",
            302 => "Found",
            303 => "See Other",
            304 => "Not Modified",
            307 => "Temporary Redirect",
            308 => "Permanent Redirect",
            400 => "Bad Request",
            401 => "Unauthorized",
            403 => "Forbidden",
            404 => "Not Found",
            405 => "Method Not Allowed",
            408 => "Request Timeout",
            409 => "Conflict",
            413 => "Content Too Large",
            414 => "URI Too Long",
            417 => "Expectation Failed",
            421 => "Misdirected Request",
            422 => "Unprocessable Content",
            429 => "Too Many Requests",
            431 => "Request Header Fields Too Large",
            500 => "Internal Server Error",
            501 => "Not Implemented",
            502 => "Bad Gateway",
            503 => "Service Unavailable",
            504 => "Gateway Timeout",
            505 => "HTTP Version Not Supported",
            508 => "Loop Detected",
            _ => "",
        }
    }
}

/// The head of a response.
#[derive(Clone, Debug, PartialEq)]
pub struct ResponseHead {
    /// The status.
    pub status: Status,
    /// The version that it came in.
    pub version: Version,
    /// The fields.
    pub fields: Fields,
}

impl Default for ResponseHead {
    fn default() -> Self {
        Self {
            status: Status::OK,
            version: Version::Http11,
            fields: Fields::default(),
        }
    }
}

impl ResponseHead {
    /// Forgets the response and keeps the memory.
    pub fn clear(&mut self) {
        self.status = Status::OK;
        self.fields.clear();
    }
}
