//! Where a control listener is called.

use std::{fmt, str::FromStr, sync::Arc};

use http::Uri;

/// How to speak to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// In the clear.
    Http,
    /// Over TLS.
    Https,
}

/// The place of a control listener: scheme, host, port, and a path that all calls begin
/// with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    scheme: Scheme,
    host: Arc<str>,
    port: u16,
    path: Arc<str>,
}

/// A text that does not say where to call.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not the URL of a server: {reason}")]
pub struct BadUrl {
    /// The text.
    pub text: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

impl Url {
    /// Reads `http://127.0.0.1:9070` or `https://registry.example/portolan`.
    ///
    /// # Errors
    /// [`BadUrl`] if it is not such a URL. Names and passwords are refused, because they
    /// would end up in logs; so are queries, because every call has its own.
    pub fn parse(text: &str) -> Result<Self, BadUrl> {
        let bad = |reason| BadUrl {
            text: text.to_owned(),
            reason,
        };
        if text.contains(['?', '#']) {
            return Err(bad("it ends with the path"));
        }
        let uri = Uri::from_str(text).map_err(|_| bad("it is like `http://host:port`"))?;
        let scheme = match uri.scheme_str() {
            Some("http") => Scheme::Http,
            Some("https") => Scheme::Https,
            Some(_) => return Err(bad("it begins with `http://` or `https://`")),
            None => return Err(bad("it is like `http://host:port`")),
        };
        let authority = uri.authority().ok_or_else(|| bad("it has no host"))?;
        if authority.as_str().contains('@') {
            return Err(bad("it holds no name and no password"));
        }
        let host = authority.host();
        if host.is_empty() {
            return Err(bad("it has no host"));
        }
        let has_colon = authority.as_str().len() > host.len();
        let port = match (authority.port_u16(), has_colon, scheme) {
            (Some(0), ..) | (None, true, _) => return Err(bad("a port is from 1 to 65535")),
            (Some(port), ..) => port,
            (None, false, Scheme::Http) => 80,
            (None, false, Scheme::Https) => 443,
        };
        Ok(Self {
            scheme,
            host: host.into(),
            port,
            path: uri.path().trim_end_matches('/').into(),
        })
    }

    /// How to speak to it.
    #[must_use]
    pub const fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The host, without the brackets of an IPv6 address.
    #[must_use]
    pub fn host(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }

    /// The port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The path that all calls begin with; empty or without a slash at its end.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What the Host field says.
    pub(super) fn authority(&self) -> String {
        match (self.scheme, self.port) {
            (Scheme::Http, 80) | (Scheme::Https, 443) => self.host.to_string(),
            _ => format!("{}:{}", self.host, self.port),
        }
    }
}

impl FromStr for Url {
    type Err = BadUrl;

    fn from_str(text: &str) -> Result<Self, BadUrl> {
        Self::parse(text)
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.scheme {
            Scheme::Http => "http",
            Scheme::Https => "https",
        };
        write!(f, "{scheme}://{}{}", self.authority(), self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_say_where_to_call() {
        let cases = [
            ("http://127.0.0.1:9070", "127.0.0.1", 9070, ""),
            ("http://localhost/", "localhost", 80, ""),
            (
                "https://registry.example/a/b/",
                "registry.example",
                443,
                "/a/b",
            ),
            ("http://[::1]:9070", "::1", 9070, ""),
        ];
        for (text, host, port, path) in cases {
            let url = Url::parse(text).unwrap();
            assert_eq!((url.host(), url.port(), url.path()), (host, port, path));
            assert_eq!(url.to_string(), text.trim_end_matches('/'));
        }
        let usual = Url::parse("https://a:443").unwrap();
        assert_eq!(usual.to_string(), "https://a");
    }

    #[test]
    fn what_is_no_place_is_refused_with_a_reason() {
        for (text, reason) in [
            ("", "like"),
            ("localhost:9070", "like"),
            ("/a", "like"),
            ("ftp://a", "begins"),
            ("http://a:0", "port"),
            ("http://a:65536", "port"),
            ("http://a:", "port"),
            ("http://user:secret@a", "password"),
            ("http://a?b", "path"),
            ("http://a#b", "path"),
            ("http://a b", "like"),
        ] {
            let error = Url::parse(text).unwrap_err();
            assert!(error.reason.contains(reason), "{text}: {error}");
        }
    }
}
