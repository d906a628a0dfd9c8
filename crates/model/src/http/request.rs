//! The head of a request.

use super::{BadTarget, Fields, Method, PathBuffer};

/// Version of HTTP that a message came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1.
    Http11,
    /// HTTP/2.
    Http2,
}

impl Version {
    /// The name that Via and access records show: `1.0`, `1.1`, `2`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http10 => "1.0",
            Self::Http11 => "1.1",
            Self::Http2 => "2",
        }
    }
}

/// Scheme of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// In the clear.
    Http,
    /// Over TLS.
    Https,
}

impl Scheme {
    /// `http` or `https`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// The head of a request, normalised: one authority, a canonical path.
#[derive(Clone, Debug, PartialEq)]
pub struct RequestHead {
    /// The method.
    pub method: Method,
    /// The version that it came in.
    pub version: Version,
    /// The scheme that the client used.
    pub scheme: Scheme,
    /// Host and port as the client named them, lower-case; empty if HTTP/1.0 named none.
    /// No field `host` stands in `fields`: this is the one place.
    pub authority: String,
    /// Path and query, or `*`.
    pub target: PathBuffer,
    /// The protocol of an extended CONNECT (RFC 8441), such as `websocket`.
    pub protocol: Option<Box<str>>,
    /// All other fields.
    pub fields: Fields,
}

impl Default for RequestHead {
    fn default() -> Self {
        Self {
            method: Method::Get,
            version: Version::Http11,
            scheme: Scheme::Http,
            authority: String::new(),
            target: PathBuffer::default(),
            protocol: None,
            fields: Fields::default(),
        }
    }
}

impl RequestHead {
    /// Forgets the request and keeps the memory.
    pub fn clear(&mut self) {
        self.method = Method::Get;
        self.version = Version::Http11;
        super::forget(&mut self.authority);
        self.target.clear();
        self.protocol = None;
        self.fields.clear();
    }

    /// The host without its port; an IPv6 literal keeps its brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        host_of(&self.authority)
    }

    /// The canonical path, without the query.
    #[must_use]
    pub fn path(&self) -> &str {
        self.target.path()
    }

    /// The query, without the `?`.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        self.target.query()
    }

    /// Puts another path in place of the path, keeping the query.
    ///
    /// # Errors
    /// [`BadTarget`] if `path` is not one.
    pub fn set_path(&mut self, path: &str) -> Result<(), BadTarget> {
        self.target.set_path(path)
    }
}

fn host_of(authority: &str) -> &str {
    // A port is the digits at the end; other colons belong to an IPv6 literal.
    let digits = authority.bytes().rev().take_while(u8::is_ascii_digit);
    let host = &authority[..authority.len() - digits.count()];
    host.strip_suffix(':').unwrap_or(authority)
}

#[cfg(test)]
mod tests {
    use super::host_of;

    #[test]
    fn host_leaves_out_the_port() {
        assert_eq!(host_of("a.example:8080"), "a.example");
        assert_eq!(host_of("[::1]:80"), "[::1]");
        assert_eq!(host_of("[::1]"), "[::1]");
        assert_eq!(host_of("127.0.0.1"), "127.0.0.1");
        assert_eq!(host_of("host8:80"), "host8");
        assert_eq!(host_of(""), "");
    }
}
