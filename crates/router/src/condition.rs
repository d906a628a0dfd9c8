//! Conditions besides host and path: listener, method, headers, query, body.

use std::fmt;

use portolan_model::{
    ByteSize, Name,
    http::{Method, RequestHead},
    route::Match,
};
use smallvec::SmallVec;

use crate::{find::Body, text::TextTest};

/// What a rule asks for besides host and path.
#[derive(Debug)]
pub(crate) struct Conditions {
    listeners: Box<[Name]>,
    methods: Box<[Method]>,
    headers: Box<[Part]>,
    query: Box<[Part]>,
    body: Option<BodyTest>,
}

/// A condition over one header field or query parameter.
#[derive(Debug)]
struct Part {
    name: Box<str>,
    test: TextTest,
}

#[derive(Debug)]
struct BodyTest {
    limit: ByteSize,
    test: TextTest,
}

/// Why a route does not get a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unmet<'r> {
    /// It serves other hosts.
    Host,
    /// It serves other paths.
    Path,
    /// It serves other listeners.
    Listener,
    /// It serves these methods.
    Method(&'r [Method]),
    /// This header field is missing or different.
    Header(&'r str),
    /// This query parameter is missing or different.
    Query(&'r str),
    /// The body is different, or larger than its limit.
    Body,
    /// All else holds; it depends on the body, of which more must be read.
    BodyUnknown(ByteSize),
}

impl fmt::Display for Unmet<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host => f.write_str("it serves other hosts"),
            Self::Path => f.write_str("it serves other paths"),
            Self::Listener => f.write_str("it serves other listeners"),
            Self::Method(methods) => {
                f.write_str("it serves only the methods")?;
                for (place, method) in methods.iter().enumerate() {
                    write!(f, "{} {method}", if place == 0 { "" } else { "," })?;
                }
                Ok(())
            }
            Self::Header(name) => write!(f, "the header `{name}` is missing or different"),
            Self::Query(name) => write!(f, "the query parameter `{name}` is missing or different"),
            Self::Body => f.write_str("the body is different or too large"),
            Self::BodyUnknown(_) => f.write_str("it depends on the body, which is not read here"),
        }
    }
}

/// Something that can't be compiled: where in the match, and why.
pub(crate) type Complaint = (String, String);

impl Conditions {
    /// Compiles what `condition` asks for, `None` if that is nothing.
    pub(crate) fn compile(
        listeners: &[Name],
        condition: &Match,
    ) -> Result<Option<Self>, Vec<Complaint>> {
        let mut complaints = Vec::new();
        let headers = compile_parts(&condition.headers, "headers", &mut complaints);
        let query = compile_parts(&condition.query, "query", &mut complaints);
        let body = condition.body.as_ref().and_then(|body| {
            let test = TextTest::compile(&body.value)
                .map_err(|reason| complaints.push(("/body".to_owned(), reason)))
                .ok()?;
            Some(BodyTest {
                limit: body.limit,
                test,
            })
        });
        if !complaints.is_empty() {
            return Err(complaints);
        }
        let conditions = Self {
            listeners: listeners.into(),
            methods: condition.methods.clone().into(),
            headers,
            query,
            body,
        };
        Ok(Some(conditions).filter(|conditions| !conditions.is_empty()))
    }

    fn is_empty(&self) -> bool {
        self.listeners.is_empty()
            && self.methods.is_empty()
            && self.headers.is_empty()
            && self.query.is_empty()
            && self.body.is_none()
    }

    /// Whether everything holds, or the first thing that does not.
    pub(crate) fn check(
        &self,
        listener: &Name,
        head: &RequestHead,
        body: Body<'_>,
    ) -> Result<(), Unmet<'_>> {
        if !self.methods.is_empty() && !self.methods.contains(&head.method) {
            return Err(Unmet::Method(&self.methods));
        }
        self.check_all_but_method(listener, head)?;
        self.body.as_ref().map_or(Ok(()), |test| test.check(body))
    }

    /// The methods that would make a request match which fails by its method alone.
    /// The body is not looked at: with another method it would be another one.
    pub(crate) fn methods_wanted(&self, listener: &Name, head: &RequestHead) -> &[Method] {
        match self.check_all_but_method(listener, head) {
            Ok(()) if !self.methods.contains(&head.method) => &self.methods,
            Ok(()) | Err(_) => &[],
        }
    }

    fn check_all_but_method(&self, listener: &Name, head: &RequestHead) -> Result<(), Unmet<'_>> {
        if !self.listeners.is_empty() && !self.listeners.contains(listener) {
            return Err(Unmet::Listener);
        }
        let unmet = |part: &&Part| !part.header_holds(head);
        if let Some(part) = self.headers.iter().find(unmet) {
            return Err(Unmet::Header(&part.name));
        }
        let query = head.query();
        let unmet = |part: &&Part| !query.is_some_and(|query| part.query_holds(query));
        if let Some(part) = self.query.iter().find(unmet) {
            return Err(Unmet::Query(&part.name));
        }
        Ok(())
    }
}

fn compile_parts(
    parts: &[portolan_model::route::FieldMatch],
    within: &str,
    complaints: &mut Vec<Complaint>,
) -> Box<[Part]> {
    let mut compiled = Vec::with_capacity(parts.len());
    for part in parts {
        match TextTest::compile(&part.value) {
            Ok(test) => compiled.push(Part {
                name: part.name.as_str().into(),
                test,
            }),
            Err(reason) => {
                let name = part.name.replace('~', "~0").replace('/', "~1");
                complaints.push((format!("/{within}/{name}"), reason));
            }
        }
    }
    compiled.into()
}

impl Part {
    fn header_holds(&self, head: &RequestHead) -> bool {
        if self.name.eq_ignore_ascii_case("host") {
            return !head.authority.is_empty() && self.test.holds(head.authority.as_bytes());
        }
        let mut values = head.fields.get_all(&self.name);
        let Some(first) = values.next() else {
            return false;
        };
        let Some(second) = values.next() else {
            return self.test.holds(first);
        };
        // Cookies that HTTP/2 has split are put together by another rule than lists
        // are (RFC 9113, section 8.2.3).
        let is_cookie = self.name.eq_ignore_ascii_case("cookie");
        let glue: &[u8] = if is_cookie { b"; " } else { b"," };
        let mut joined: SmallVec<[u8; 256]> = SmallVec::from_slice(first);
        for value in std::iter::once(second).chain(values) {
            joined.extend_from_slice(glue);
            joined.extend_from_slice(value);
        }
        self.test.holds(&joined)
    }

    fn query_holds(&self, query: &str) -> bool {
        let mut pairs = query.split('&').map(|pair| match pair.split_once('=') {
            Some((name, value)) => (name, value),
            None => (pair, ""),
        });
        let Some((_, value)) = pairs.find(|(name, _)| decoded(name).eq(self.name.bytes())) else {
            return false;
        };
        if !value.contains(['%', '+']) {
            return self.test.holds(value.as_bytes());
        }
        let value: SmallVec<[u8; 256]> = decoded(value).collect();
        self.test.holds(&value)
    }
}

/// The bytes of a name or value of a query: `+` is a space and escapes are resolved;
/// a broken escape stands for itself.
fn decoded(text: &str) -> impl Iterator<Item = u8> {
    let mut rest = text.as_bytes();
    std::iter::from_fn(move || {
        let (byte, after) = rest.split_first()?;
        rest = after;
        match (byte, after) {
            (b'+', _) => Some(b' '),
            (b'%', [high, low, after @ ..]) => {
                let Some(value) = escape(*high, *low) else {
                    return Some(b'%');
                };
                rest = after;
                Some(value)
            }
            _ => Some(*byte),
        }
    })
}

fn escape(high: u8, low: u8) -> Option<u8> {
    let high = char::from(high).to_digit(16)?;
    let low = char::from(low).to_digit(16)?;
    u8::try_from(high << 4 | low).ok()
}

impl BodyTest {
    fn check(&self, body: Body<'_>) -> Result<(), Unmet<'_>> {
        let limit = self.limit.as_usize();
        let bytes = match body {
            Body::Whole(bytes) => bytes,
            Body::Part(bytes) if bytes.len() > limit => return Err(Unmet::Body),
            Body::Part(_) | Body::Unread => return Err(Unmet::BodyUnknown(self.limit)),
        };
        let there = !matches!(self.test, TextTest::Present) || !bytes.is_empty();
        if bytes.len() <= limit && there && self.test.holds(bytes) {
            return Ok(());
        }
        Err(Unmet::Body)
    }
}

#[cfg(test)]
mod tests {
    use portolan_model::route::{BodyMatch, FieldMatch, TextMatch};

    use super::*;

    fn part(name: &str, value: TextMatch) -> Vec<FieldMatch> {
        vec![FieldMatch {
            name: name.to_owned(),
            value,
        }]
    }

    fn exact(text: &str) -> TextMatch {
        TextMatch::Exact(text.to_owned())
    }

    fn holds(condition: &Match, head: &RequestHead, body: Body<'_>) -> bool {
        let listener = Name::parse("web").unwrap();
        Conditions::compile(&[], condition)
            .unwrap()
            .is_none_or(|conditions| conditions.check(&listener, head, body).is_ok())
    }

    #[test]
    fn repeated_header_matches_as_one_list() {
        let mut head = RequestHead::default();
        head.authority.push_str("a.example:80");
        for (name, value) in [("X-A", "1"), ("x-b", "2"), ("x-a", "3"), ("cookie", "a=b")] {
            head.fields.push(name, value.as_bytes()).unwrap();
        }
        head.fields.push("cookie", b"c=d").unwrap();
        for (name, value, expected) in [
            ("x-a", exact("1,3"), true),
            ("X-A", TextMatch::Regex("[0-9],.".to_owned()), true),
            ("x-a", exact("1"), false),
            ("x-b", exact("2"), true),
            ("x-b", TextMatch::Present, true),
            ("x-c", TextMatch::Present, false),
            ("cookie", exact("a=b; c=d"), true),
            ("host", exact("a.example:80"), true),
        ] {
            let condition = Match {
                headers: part(name, value.clone()),
                ..Match::default()
            };
            let result = holds(&condition, &head, Body::Unread);
            assert_eq!(result, expected, "{name} {value:?}");
        }
    }

    #[test]
    fn query_is_decoded_and_its_first_value_counts() {
        let mut head = RequestHead::default();
        head.target
            .set(b"/?a=1&a=2&b%20c=d+e%2ff&flag&bad=%zz%4&=x")
            .unwrap();
        for (name, value, expected) in [
            ("a", exact("1"), true),
            ("a", exact("2"), false),
            ("b c", exact("d e/f"), true),
            ("b+c", TextMatch::Present, false),
            ("flag", exact(""), true),
            ("bad", exact("%zz%4"), true),
            ("none", TextMatch::Present, false),
            ("", exact("x"), true),
            ("a", TextMatch::Regex("[0-9]+".to_owned()), true),
        ] {
            let condition = Match {
                query: part(name, value.clone()),
                ..Match::default()
            };
            let result = holds(&condition, &head, Body::Unread);
            assert_eq!(result, expected, "{name} {value:?}");
        }
    }

    #[test]
    fn body_is_asked_for_up_to_its_limit_and_not_further() {
        let condition = Match {
            body: Some(BodyMatch {
                limit: ByteSize::from_bytes(4),
                value: TextMatch::Present,
            }),
            ..Match::default()
        };
        let conditions = Conditions::compile(&[], &condition).unwrap().unwrap();
        let listener = Name::parse("web").unwrap();
        let head = RequestHead::default();
        let check = |body| conditions.check(&listener, &head, body);
        let wants = Err(Unmet::BodyUnknown(ByteSize::from_bytes(4)));
        assert_eq!(check(Body::Unread), wants);
        assert_eq!(check(Body::Part(b"1234")), wants);
        assert_eq!(check(Body::Part(b"12345")), Err(Unmet::Body));
        assert_eq!(check(Body::Whole(b"1234")), Ok(()));
        assert_eq!(check(Body::Whole(b"12345")), Err(Unmet::Body));
        assert_eq!(check(Body::Whole(b"")), Err(Unmet::Body));
    }

    #[test]
    fn bad_parts_are_all_reported_with_their_place() {
        let condition = Match {
            headers: part("x-a", TextMatch::Regex("(".to_owned())),
            query: part("a/b", TextMatch::Regex("[".to_owned())),
            ..Match::default()
        };
        let complaints = Conditions::compile(&[], &condition).unwrap_err();
        let places: Vec<_> = complaints.iter().map(|(place, _)| place.as_str()).collect();
        assert_eq!(places, ["/headers/x-a", "/query/a~1b"]);
    }
}
