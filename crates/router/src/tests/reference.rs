//! A naive matcher: every path condition is a regular expression, every rule is
//! tried, and the best by a list of ranks wins. Shares nothing with the real one.

use std::cmp::Reverse;

use proptest::{collection::vec, prelude::*, sample::select};
use regex::Regex;

use super::*;

/// One match of one route on one host, that holds but perhaps for its method.
struct Candidate<'a> {
    rank: Rank<'a>,
    route: &'a str,
    captures: Vec<(String, String)>,
    prefix_bytes: usize,
    methods: &'a [Method],
    wants_body: Option<ByteSize>,
}

type Rank<'a> = (
    (u8, Reverse<usize>),
    (bool, Vec<u8>, Reverse<usize>, String),
    bool,
    (Reverse<usize>, Reverse<usize>),
    bool,
    (&'a str, usize),
);

fn host_rank(hosts: &[HostMatch], given: &str) -> Option<(u8, Reverse<usize>)> {
    if hosts.is_empty() {
        return Some((2, Reverse(0)));
    }
    let rank = |host: &HostMatch| match host {
        HostMatch::Exact(text) => (text == given).then_some((0, Reverse(text.len()))),
        HostMatch::Suffix(text) => {
            (given.len() > text.len() && given.ends_with(text)).then_some((1, Reverse(text.len())))
        }
    };
    hosts.iter().filter_map(rank).min()
}

/// The condition as a regular expression, and its segments: 0 literal, 1 captured,
/// 2 rest, 3 prefix.
fn path_rule(path: &PathMatch) -> (Regex, Vec<u8>) {
    let literal = |text: &str| vec![0; text.matches('/').count()];
    let (pattern, rank) = match path {
        PathMatch::Exact(text) => (regex::escape(text), literal(text)),
        PathMatch::Prefix(text) => {
            let text = text.trim_end_matches('/');
            let mut rank = literal(text);
            rank.push(3);
            (format!("(?<prefix>{})(/.*)?", regex::escape(text)), rank)
        }
        PathMatch::Template(text) => {
            let rank = text[1..].split('/').map(|segment| match segment {
                "{*r}" => 2,
                captured if captured.starts_with('{') => 1,
                _ => 0,
            });
            let pattern = text
                .replace("{p}", "(?<p>[^/]+)")
                .replace("{q}", "(?<q>[^/]+)")
                .replace("{*r}", "(?<r>.*)");
            (pattern, rank.collect())
        }
        PathMatch::Regex(pattern) => (pattern.clone(), Vec::new()),
    };
    (Regex::new(&format!("^(?:{pattern})$")).unwrap(), rank)
}

fn query_value(query: &str, name: &str) -> Option<String> {
    query
        .split('&')
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value.replace('+', " ").replace("%20", " "))
}

fn text_holds(wanted: &TextMatch, text: Option<String>) -> bool {
    match (wanted, text) {
        (_, None) => false,
        (TextMatch::Present, Some(_)) => true,
        (TextMatch::Exact(expected), Some(text)) => *expected == text,
        (TextMatch::Regex(pattern), Some(text)) => Regex::new(&format!("^(?:{pattern})$"))
            .unwrap()
            .is_match(&text),
    }
}

/// A match of a route with what is slow to make.
struct Rule<'a> {
    entry: &'a Entry<()>,
    place: usize,
    regex: Regex,
    segments: Vec<u8>,
}

fn rules(entries: &[Entry<()>]) -> Vec<Rule<'_>> {
    let mut rules = Vec::new();
    for entry in entries {
        for (place, condition) in entry.matches.iter().enumerate() {
            let (regex, segments) = path_rule(&condition.path);
            rules.push(Rule {
                entry,
                place,
                regex,
                segments,
            });
        }
    }
    rules
}

fn candidate<'a>(rule: &Rule<'a>, listener: &Name, head: &RequestHead) -> Option<Candidate<'a>> {
    let (entry, place) = (rule.entry, rule.place);
    let condition = &entry.matches[place];
    let host = host_rank(&entry.hosts, head.host())?;
    let found = rule.regex.captures(head.path())?;
    let group = |name: &str| found.name(name).map(|part| part.as_str().to_owned());
    let header = |name: &str| {
        let values: Vec<_> = head.fields.get_all(name).collect();
        let text = String::from_utf8(values.join(&b','));
        text.ok().filter(|_| !values.is_empty())
    };
    let query = |name: &str| head.query().and_then(|query| query_value(query, name));
    let holds = (entry.listeners.is_empty() || entry.listeners.contains(listener))
        && condition
            .headers
            .iter()
            .all(|part| text_holds(&part.value, header(&part.name)))
        && condition
            .query
            .iter()
            .all(|part| text_holds(&part.value, query(&part.name)));
    let pattern = match &condition.path {
        PathMatch::Regex(pattern) => pattern.clone(),
        PathMatch::Exact(_) | PathMatch::Prefix(_) | PathMatch::Template(_) => String::new(),
    };
    let rest = group("r").map_or(0, |rest| rest.len() + 1);
    holds.then(|| Candidate {
        rank: (
            host,
            (
                !pattern.is_empty(),
                rule.segments.clone(),
                Reverse(pattern.len()),
                pattern,
            ),
            condition.methods.is_empty(),
            (
                Reverse(condition.headers.len()),
                Reverse(condition.query.len()),
            ),
            condition.body.is_none(),
            (entry.name.as_str(), place),
        ),
        route: entry.name.as_str(),
        captures: ["p", "q", "r"]
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), group(name)?)))
            .collect(),
        prefix_bytes: group("prefix").map_or(head.path().len() - rest, |prefix| prefix.len()),
        methods: &condition.methods,
        wants_body: condition.body.as_ref().map(|body| body.limit),
    })
}

/// What a search must say, in words.
fn expected(rules: &[Rule<'_>], listener: &Name, head: &RequestHead) -> String {
    let mut candidates: Vec<_> = rules
        .iter()
        .filter_map(|rule| candidate(rule, listener, head))
        .collect();
    candidates.sort_by(|a, b| a.rank.cmp(&b.rank));
    let serves = |c: &&Candidate<'_>| c.methods.is_empty() || c.methods.contains(&head.method);
    if let Some(first) = candidates.iter().find(serves) {
        return match first.wants_body {
            Some(limit) => format!("body {}", limit.as_bytes()),
            None => format!(
                "{} {} {:?}",
                first.route, first.prefix_bytes, first.captures
            ),
        };
    }
    let mut allowed: Vec<_> = candidates
        .iter()
        .flat_map(|c| c.methods)
        .map(Method::as_str)
        .collect();
    allowed.sort_unstable();
    allowed.dedup();
    let known = |rule: &Rule<'_>| host_rank(&rule.entry.hosts, head.host()).is_some();
    format!("nothing {} {allowed:?}", rules.iter().any(known))
}

/// What a search says, in the same words.
fn given(outcome: &Outcome<'_, ()>) -> String {
    match outcome {
        Outcome::Found(found) => {
            let mut captures: Vec<_> = found
                .captures
                .iter()
                .map(|(name, value)| (name.to_string(), value.to_string()))
                .collect();
            captures.sort();
            format!("{} {} {captures:?}", found.route, found.prefix_bytes)
        }
        Outcome::WantsBody { limit } => format!("body {}", limit.as_bytes()),
        Outcome::Nothing(miss) => {
            let mut allowed: Vec<_> = miss.allowed.iter().map(Method::as_str).collect();
            allowed.sort_unstable();
            format!("nothing {} {allowed:?}", miss.host_known)
        }
    }
}

fn segments() -> impl Strategy<Value = String> {
    // Also longer than a word, a label and a node.
    let long = "a-segment-that-is-longer-than-a-whole-node-of-the-table-can-hold";
    let segment = select(vec!["", "a", "b", "ab", "eight-by", "nine-byte", long]);
    vec(segment, 1..4).prop_map(|segments| format!("/{}", segments.join("/")))
}

fn path() -> impl Strategy<Value = PathMatch> {
    let piece = || select(vec!["a", "b", "{p}", "{q}"]);
    let template = (vec(piece(), 0..3), prop::bool::ANY).prop_map(|(mut pieces, rest)| {
        let (mut p, mut q) = (0, 0);
        pieces.retain(|piece| match *piece {
            "{p}" => std::mem::replace(&mut p, 1) == 0,
            "{q}" => std::mem::replace(&mut q, 1) == 0,
            _ => true,
        });
        if rest || pieces.is_empty() {
            pieces.push("{*r}");
        }
        PathMatch::Template(format!("/{}", pieces.join("/")))
    });
    let pattern = select(vec!["/a.*", "/[ab]/.*", ".*", "/(?<p>[a-z]+)/b"]);
    prop_oneof![
        segments().prop_map(PathMatch::Exact),
        segments().prop_map(PathMatch::Prefix),
        template,
        pattern.prop_map(|pattern| PathMatch::Regex(pattern.to_owned())),
    ]
}

fn field() -> impl Strategy<Value = FieldMatch> {
    let value = prop_oneof![
        Just(TextMatch::Present),
        select(vec!["1", "1,2", "x y"]).prop_map(|text| TextMatch::Exact(text.to_owned())),
        Just(TextMatch::Regex("[0-9]".to_owned())),
    ];
    (select(vec!["x-a", "x-b"]), value).prop_map(|(name, value)| FieldMatch {
        name: name.to_owned(),
        value,
    })
}

fn condition() -> impl Strategy<Value = Match> {
    let method = || select(vec![Method::Get, Method::Put]);
    let body = prop::option::weighted(0.1, 1..4_u64).prop_map(|limit| {
        limit.map(|limit| BodyMatch {
            limit: ByteSize::from_bytes(limit),
            value: TextMatch::Present,
        })
    });
    let maybe_parts = || prop_oneof![3 => Just(Vec::new()), 1 => vec(field(), 1..3)];
    let methods = prop_oneof![2 => Just(Vec::new()), 1 => vec(method(), 1..2)];
    (path(), methods, maybe_parts(), maybe_parts(), body).prop_map(
        |(path, methods, headers, query, body)| Match {
            path,
            methods,
            headers,
            query,
            body,
        },
    )
}

fn entry() -> impl Strategy<Value = Entry<()>> {
    let host = select(vec!["a.x", "b.a.x", "*.x", "*.a.x", "*.y"]);
    let hosts = prop_oneof![1 => Just(Vec::new()), 2 => vec(host, 1..3)];
    let listeners = prop_oneof![3 => Just(Vec::new()), 1 => vec(select(vec!["web", "other"]), 1)];
    (hosts, listeners, vec(condition(), 1..4)).prop_map(|(hosts, listeners, matches)| Entry {
        listeners: listeners.into_iter().map(name).collect(),
        ..route("r", &hosts, matches)
    })
}

fn entries() -> impl Strategy<Value = Vec<Entry<()>>> {
    vec(entry(), 0..12).prop_map(|mut entries| {
        for (number, entry) in entries.iter_mut().enumerate() {
            entry.name = name(&format!("r{number:02}"));
        }
        entries.reverse();
        entries
    })
}

fn request() -> impl Strategy<Value = RequestHead> {
    let host = select(vec!["a.x", "b.a.x", "c.b.a.x", "x", "z.y", "none", ""]);
    let query = select(vec![
        "",
        "?x-a=1",
        "?x-b=x+y&x-a=2",
        "?x-b&x-b=1",
        "?x-a=x%20y",
    ]);
    let headers = vec(
        (select(vec!["x-a", "X-B"]), select(vec!["1", "2", "x y"])),
        0..3,
    );
    (
        host,
        segments(),
        query,
        headers,
        select(vec!["GET", "PUT", "POST"]),
    )
        .prop_map(|(host, path, query, headers, method)| {
            let mut head = head(method, &format!("{host}{path}{query}"));
            for (name, value) in headers {
                head.fields.push(name, value.as_bytes()).unwrap();
            }
            head
        })
}

proptest! {
    #[test]
    fn search_agrees_with_the_reference_and_with_its_explanation(
        entries in entries(),
        requests in vec(request(), 1..8),
    ) {
        let (router, problems) = Router::compile(entries.clone());
        prop_assert!(problems.iter().all(|told| told.effect == Effect::Shadowed), "{:?}", problems);
        let (web, rules) = (name("web"), rules(&entries));
        for head in &requests {
            let outcome = router.find(&web, head);
            prop_assert_eq!(given(&outcome), expected(&rules, &web, head), "{:?}", head);
            if let Outcome::Found(found) = outcome {
                let winner = router
                    .explain(&web, head, Body::Unread)
                    .find(|considered| considered.verdict == Verdict::Wins);
                prop_assert_eq!(winner.map(|considered| considered.route), Some(found.route));
            }
        }
    }
}
