//! One kind of request, written out.

use std::fs;

/// A body for methods that have one, where nothing else is said.
const BODY: &str = "0123456789abcdef";

/// One kind of request, written out.
pub(crate) struct Request {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) bytes: Vec<u8>,
}

impl Request {
    /// Reads `METHOD /path`.
    ///
    /// # Errors
    /// Words that are not so.
    pub(super) fn parse(text: &str, host: &str) -> Result<Self, String> {
        let (method, _) = split(text)?;
        let has_body = matches!(method, "POST" | "PUT" | "PATCH");
        Self::write(text, host, &[], if has_body { BODY } else { "" })
    }

    /// Reads a file of requests, one a line: `METHOD /path`, then, each after a tab, header
    /// fields as they are and a body behind `=`.
    ///
    /// # Errors
    /// A file that can't be read, or a line that is not so.
    pub(super) fn read_file(path: &str, host: &str) -> Result<Vec<Self>, String> {
        let text = fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
        text.lines().map(|line| Self::read(line, host)).collect()
    }

    fn read(line: &str, host: &str) -> Result<Self, String> {
        let mut parts = line.split('\t');
        let head = parts.next().unwrap_or_default();
        let (mut fields, mut body) = (Vec::new(), "");
        for part in parts {
            match part.strip_prefix('=') {
                Some(text) => body = text,
                None => fields.push(part),
            }
        }
        Self::write(head, host, &fields, body)
    }

    fn write(text: &str, host: &str, fields: &[&str], body: &str) -> Result<Self, String> {
        let (method, path) = split(text)?;
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n");
        for field in fields {
            head.push_str(field);
            head.push_str("\r\n");
        }
        if !body.is_empty() {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        Ok(Self {
            method: method.to_owned(),
            path: path.to_owned(),
            bytes: format!("{head}\r\n{body}").into_bytes(),
        })
    }

    /// May a gateway send it twice (RFC 9110, 9.2.2)?
    pub(super) fn is_idempotent(&self) -> bool {
        matches!(
            self.method.as_str(),
            "GET" | "HEAD" | "OPTIONS" | "TRACE" | "PUT" | "DELETE"
        )
    }
}

fn split(text: &str) -> Result<(&str, &str), String> {
    text.split_once(' ')
        .ok_or_else(|| format!("expected 'METHOD /path', found {text}"))
}
