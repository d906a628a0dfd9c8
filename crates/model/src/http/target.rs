//! Path and query of a request, in one canonical form.
//!
//! Routing, policies and the upstream must all see the same path, or a rule can
//! be walked around. Percent-encoded unreserved characters are decoded, other
//! escapes get upper-case digits, dot segments are resolved, bytes above ASCII
//! are escaped (RFC 3986, section 6.2.2). An encoded slash stays encoded.

use std::fmt;

/// A target that cannot be made canonical. The client's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadTarget {
    /// Does not begin with `/`.
    #[error("a path does not begin with a slash")]
    NotAPath,
    /// Holds a control character, a space or a fragment.
    #[error("a path holds a forbidden character")]
    Character,
    /// A percent sign without two hexadecimal digits, or an encoded NUL.
    #[error("a path holds a broken escape")]
    Escape,
    /// More `..` than there are segments.
    #[error("a path climbs above its root")]
    AboveRoot,
}

/// A canonical path with its query; the memory is reused from request to request.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct PathBuffer {
    text: String,
    path_bytes: usize,
}

impl PathBuffer {
    /// Forgets the target and keeps the memory, unless it is more than a usual one needs.
    pub fn clear(&mut self) {
        super::forget(&mut self.text);
        self.path_bytes = 0;
    }

    /// Takes an origin-form target (`/path?query`) or `*`.
    ///
    /// # Errors
    /// [`BadTarget`] says what is wrong; the buffer is then empty.
    pub fn set(&mut self, target: &[u8]) -> Result<(), BadTarget> {
        match std::str::from_utf8(target) {
            Ok(text) => self.set_text(text),
            Err(_) => self.normalise(target),
        }
    }

    /// Takes a target like [`PathBuffer::set`], where it is known to be text.
    ///
    /// # Errors
    /// [`BadTarget`] says what is wrong; the buffer is then empty.
    pub fn set_text(&mut self, target: &str) -> Result<(), BadTarget> {
        let Some(path_bytes) = canonical(target.as_bytes()) else {
            return self.normalise(target.as_bytes());
        };
        self.clear();
        self.text.push_str(target);
        self.path_bytes = path_bytes;
        Ok(())
    }

    fn normalise(&mut self, target: &[u8]) -> Result<(), BadTarget> {
        self.clear();
        if target == b"*" {
            self.text.push('*');
            self.path_bytes = 1;
            return Ok(());
        }
        let (path, query) = match target.iter().position(|byte| *byte == b'?') {
            Some(at) => (&target[..at], Some(&target[at + 1..])),
            None => (target, None),
        };
        let done = push_path(&mut self.text, path).and_then(|()| {
            self.path_bytes = self.text.len();
            let Some(query) = query else { return Ok(()) };
            self.text.push('?');
            push_query(&mut self.text, query)
        });
        if done.is_err() {
            self.clear();
        }
        done
    }

    /// The path.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.text[..self.path_bytes]
    }

    /// The query, without the `?`.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        self.text.get(self.path_bytes + 1..)
    }

    /// Path and query as they go on the wire.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Removes the first `bytes` of the path, as a prefix route does; the rest begins with `/`.
    pub fn strip_prefix(&mut self, bytes: usize) {
        self.replace_prefix(bytes, "");
    }

    /// Puts `prefix` in place of the first `bytes` of the path; an empty path becomes `/`.
    /// A prefix is in canonical form and does not end in a slash.
    pub fn replace_prefix(&mut self, bytes: usize, prefix: &str) {
        let bytes = bytes.min(self.path_bytes);
        self.text.replace_range(..bytes, prefix);
        self.path_bytes = self.path_bytes - bytes + prefix.len();
        if !self.text.starts_with('/') {
            self.text.insert(0, '/');
            self.path_bytes += 1;
        }
    }

    /// Puts another path in place of the path, keeping the query.
    ///
    /// # Errors
    /// [`BadTarget`] if `path` is not one; nothing is changed then.
    pub fn set_path(&mut self, path: &str) -> Result<(), BadTarget> {
        let mut text = String::with_capacity(path.len() + self.text.len() - self.path_bytes);
        push_path(&mut text, path.as_bytes())?;
        let path_bytes = text.len();
        text.push_str(&self.text[self.path_bytes..]);
        (self.text, self.path_bytes) = (text, path_bytes);
        Ok(())
    }
}

impl fmt::Debug for PathBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// What a byte may mean in a path.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    /// Itself.
    Plain,
    /// A dot segment, behind a slash.
    Dot,
    /// The beginning of the query.
    Question,
    /// Something that is escaped or decoded in a path.
    Special,
    /// Something that is escaped everywhere.
    Wide,
    /// Nothing.
    Forbidden,
}

static CLASSES: [Class; 256] = {
    let mut classes = [Class::Plain; 256];
    let mut byte = 0_u8;
    loop {
        classes[byte as usize] = match byte {
            0..=b' ' | 0x7f | b'#' => Class::Forbidden,
            b'.' => Class::Dot,
            b'?' => Class::Question,
            b'%' | b'\\' => Class::Special,
            0x80.. => Class::Wide,
            _ => Class::Plain,
        };
        if byte == u8::MAX {
            break classes;
        }
        byte += 1;
    }
};

fn class(byte: u8) -> Class {
    CLASSES[usize::from(byte)]
}

fn is_forbidden(byte: u8) -> bool {
    class(byte) == Class::Forbidden
}

/// The length of the path of a target that nothing is to be changed about.
fn canonical(target: &[u8]) -> Option<usize> {
    if target.first() != Some(&b'/') {
        return None;
    }
    let mut previous = b'/';
    let mut path_bytes = target.len();
    for (at, byte) in target.iter().enumerate() {
        let class = class(*byte);
        if class == Class::Question {
            path_bytes = at;
            break;
        }
        if class != Class::Plain && (class != Class::Dot || previous == b'/') {
            return None;
        }
        previous = *byte;
    }
    let is_kept = |byte: &u8| !matches!(class(*byte), Class::Wide | Class::Forbidden);
    target[path_bytes..]
        .iter()
        .all(is_kept)
        .then_some(path_bytes)
}

fn push_path(out: &mut String, path: &[u8]) -> Result<(), BadTarget> {
    if path.first() != Some(&b'/') {
        return Err(BadTarget::NotAPath);
    }
    if path.iter().any(|byte| is_forbidden(*byte)) {
        return Err(BadTarget::Character);
    }
    push_normalised(out, path)
}

fn push_normalised(out: &mut String, path: &[u8]) -> Result<(), BadTarget> {
    let mut decoded = String::with_capacity(path.len());
    push_escaped(&mut decoded, path)?;
    let root = out.len();
    let mut segments = decoded[1..].split('/').peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        match segment {
            "." => {}
            ".." => {
                let Some(at) = out[root..].rfind('/') else {
                    return Err(BadTarget::AboveRoot);
                };
                out.truncate(root + at);
            }
            _ => {
                out.push('/');
                out.push_str(segment);
            }
        }
        if is_last && matches!(segment, "." | "..") {
            out.push('/');
        }
    }
    Ok(())
}

fn push_query(out: &mut String, query: &[u8]) -> Result<(), BadTarget> {
    if query.iter().any(|byte| is_forbidden(*byte)) {
        return Err(BadTarget::Character);
    }
    // A query is the application's own: only what is not ASCII is escaped.
    for chunk in query.chunk_by(|a, b| a.is_ascii() == b.is_ascii()) {
        match std::str::from_utf8(chunk) {
            Ok(text) if chunk.is_ascii() => out.push_str(text),
            Ok(_) | Err(_) => chunk.iter().for_each(|byte| push_escape(out, *byte)),
        }
    }
    Ok(())
}

fn push_escaped(out: &mut String, text: &[u8]) -> Result<(), BadTarget> {
    let mut rest = text.iter();
    while let Some(byte) = rest.next() {
        match byte {
            b'%' => {
                let (high, low) = (rest.next().copied(), rest.next().copied());
                let value = hex(high).zip(hex(low)).map(|(high, low)| high << 4 | low);
                match value {
                    None | Some(0) => return Err(BadTarget::Escape),
                    Some(value) if is_unreserved(value) => out.push(char::from(value)),
                    Some(value) => push_escape(out, value),
                }
            }
            // Some origins take a backslash for a slash: keep it from meaning one.
            b'\\' | 0x80.. => push_escape(out, *byte),
            _ => out.push(char::from(*byte)),
        }
    }
    Ok(())
}

fn push_escape(out: &mut String, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.push('%');
    out.push(char::from(DIGITS[usize::from(byte >> 4)]));
    out.push(char::from(DIGITS[usize::from(byte & 15)]));
}

fn hex(byte: Option<u8>) -> Option<u8> {
    let digit = char::from(byte?).to_digit(16)?;
    u8::try_from(digit).ok()
}

const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// Reads an authority (`host`, `host:port`, `[v6]:port`) into lower case, appended to `out`.
///
/// Returns `false`, and leaves `out` as it was, if it is none: user information, an empty
/// host, a bad port, a character that no host has.
#[must_use]
pub fn normalise_authority(out: &mut String, authority: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(authority) else {
        return false;
    };
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((host, port)) if host.parse::<std::net::Ipv6Addr>().is_ok() => {
                (&text[..host.len() + 2], port)
            }
            Some(_) | None => return false,
        },
        None => text.split_at(
            authority
                .iter()
                .position(|byte| !HOST[usize::from(*byte)])
                .unwrap_or(authority.len()),
        ),
    };
    let port_is_good = match port.as_bytes() {
        [] => true,
        [b':', digits @ ..] => is_port(digits),
        _ => false,
    };
    if host.is_empty() || !port_is_good {
        return false;
    }
    let from = out.len();
    out.push_str(text);
    out[from..].make_ascii_lowercase();
    true
}

/// Which bytes may stand in a host that is no IPv6 literal (RFC 3986, section 3.2.2).
static HOST: [bool; 256] = {
    let mut host = [false; 256];
    let mut byte = 0_u8;
    while byte.is_ascii() {
        host[byte as usize] = byte.is_ascii_alphanumeric();
        byte += 1;
    }
    let marks = b"-._~!$&'()*+,;=%";
    let mut at = 0;
    while at < marks.len() {
        host[marks[at] as usize] = true;
        at += 1;
    }
    host
};

fn is_port(digits: &[u8]) -> bool {
    let value = |digits: &[u8]| {
        let digit = |byte: &u8| u32::from(byte.wrapping_sub(b'0'));
        digits.iter().fold(0, |sum, byte| sum * 10 + digit(byte))
    };
    matches!(digits.len(), 1..=5)
        && digits.iter().all(u8::is_ascii_digit)
        && u16::try_from(value(digits)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(target: &str) -> Result<String, BadTarget> {
        let mut buffer = PathBuffer::default();
        buffer.set(target.as_bytes())?;
        Ok(buffer.as_str().to_owned())
    }

    #[test]
    fn paths_become_canonical() {
        for (given, expected) in [
            ("/", "/"),
            ("/a/b?c=d%2f#", "!"),
            ("/a/b?c=/../d%2f", "/a/b?c=/../d%2f"),
            ("/a/./b/../c", "/a/c"),
            ("/a.b/c..d/e.", "/a.b/c..d/e."),
            ("/a?b?c.%zz\\", "/a?b?c.%zz\\"),
            ("/a?\u{e9}", "/a?%C3%A9"),
            ("/a/%2e%2e/b", "/b"),
            ("/a/..", "/"),
            ("/a/b/.", "/a/b/"),
            ("/%7Euser/%2f%c3%a9", "/~user/%2F%C3%A9"),
            ("/é", "/%C3%A9"),
            ("/a\\..\\b", "/a%5C..%5Cb"),
            ("/.well-known/x", "/.well-known/x"),
            ("//a//b", "//a//b"),
            ("*", "*"),
        ] {
            let result = canonical(given).unwrap_or_else(|_| "!".to_owned());
            assert_eq!(result, expected, "{given}");
        }
    }

    #[test]
    fn hostile_paths_are_refused() {
        for (given, expected) in [
            ("", BadTarget::NotAPath),
            ("a", BadTarget::NotAPath),
            ("/a b", BadTarget::Character),
            ("/a\tb", BadTarget::Character),
            ("/%zz", BadTarget::Escape),
            ("/%0", BadTarget::Escape),
            ("/%00", BadTarget::Escape),
            ("/..", BadTarget::AboveRoot),
            ("/a/../../b", BadTarget::AboveRoot),
        ] {
            assert_eq!(canonical(given), Err(expected), "{given}");
        }
    }

    #[test]
    fn stripping_leaves_a_path() {
        let mut buffer = PathBuffer::default();
        buffer.set(b"/orders/1?x=y").unwrap();
        buffer.strip_prefix("/orders".len());
        assert_eq!((buffer.path(), buffer.query()), ("/1", Some("x=y")));
        buffer.set(b"/orders").unwrap();
        buffer.strip_prefix("/orders".len());
        assert_eq!(buffer.as_str(), "/");
        buffer.set(b"/orders/1?x=y").unwrap();
        buffer.replace_prefix("/orders".len(), "/v2/shop");
        assert_eq!((buffer.path(), buffer.query()), ("/v2/shop/1", Some("x=y")));
    }

    #[test]
    fn authorities_are_checked() {
        let read = |text: &str| {
            let mut out = String::new();
            normalise_authority(&mut out, text.as_bytes()).then_some(out)
        };
        assert_eq!(
            read("Shop.Example:8080").as_deref(),
            Some("shop.example:8080")
        );
        assert_eq!(read("[::1]:80").as_deref(), Some("[::1]:80"));
        assert_eq!(read("a:65535").as_deref(), Some("a:65535"));
        for bad in [
            "",
            "a@b",
            "a:b",
            "a:99999",
            "a:65536",
            "a:000080",
            "a:99999999999",
            "a:",
            "a:+1",
            "a:1:1",
            "[::1",
            "a b",
            "a/b",
            ":80",
            "[x]",
            "[::1]x",
            "\u{e4}",
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
