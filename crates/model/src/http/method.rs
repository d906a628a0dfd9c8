//! Request methods.

use std::fmt;

/// A request method. Unknown ones are kept by name (RFC 9110, section 9.1).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// Safe, no body expected.
    Get,
    /// GET without the answer's body.
    Head,
    /// Neither safe nor idempotent.
    Post,
    /// Idempotent.
    Put,
    /// Idempotent.
    Delete,
    /// A tunnel.
    Connect,
    /// Safe.
    Options,
    /// Safe; the answer echoes the request.
    Trace,
    /// Neither safe nor idempotent (RFC 5789).
    Patch,
    /// Any other token.
    Other(Box<str>),
}

impl Method {
    /// Reads a method; it is case-sensitive.
    ///
    /// Returns `None` unless `text` is a token of at most 32 characters.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "GET" => Self::Get,
            "HEAD" => Self::Head,
            "POST" => Self::Post,
            "PUT" => Self::Put,
            "DELETE" => Self::Delete,
            "CONNECT" => Self::Connect,
            "OPTIONS" => Self::Options,
            "TRACE" => Self::Trace,
            "PATCH" => Self::Patch,
            other if other.len() <= 32 && super::line::is_token(other.as_bytes()) => {
                Self::Other(other.into())
            }
            _ => return None,
        })
    }

    /// The token.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
            Self::Connect => "CONNECT",
            Self::Options => "OPTIONS",
            Self::Trace => "TRACE",
            Self::Patch => "PATCH",
            Self::Other(token) => token,
        }
    }

    /// Whether sending it twice does what sending it once does (RFC 9110, 9.2.2).
    #[must_use]
    pub const fn is_idempotent(&self) -> bool {
        match self {
            Self::Get | Self::Head | Self::Put | Self::Delete | Self::Options | Self::Trace => true,
            Self::Post | Self::Connect | Self::Patch | Self::Other(_) => false,
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
