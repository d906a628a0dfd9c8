//! The matcher against a naive reference, and claims about single routes.

use portolan_model::{
    ByteSize, Name,
    http::{Method, RequestHead},
    route::{BodyMatch, FieldMatch, HostMatch, Match, PathMatch, TextMatch},
};

use super::*;
use crate::compile::REGEXES_PER_HOST_MAX;

mod reference;

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

fn head(method: &str, url: &str) -> RequestHead {
    let (host, target) = url.split_at(url.find('/').unwrap());
    let mut head = RequestHead {
        method: Method::parse(method).unwrap(),
        authority: host.to_owned(),
        ..RequestHead::default()
    };
    head.target.set(target.as_bytes()).unwrap();
    head
}

fn exact(path: &str) -> Match {
    path_match(PathMatch::Exact(path.to_owned()))
}

fn prefix(path: &str) -> Match {
    path_match(PathMatch::Prefix(path.to_owned()))
}

fn template(path: &str) -> Match {
    path_match(PathMatch::Template(path.to_owned()))
}

fn regex(pattern: &str) -> Match {
    path_match(PathMatch::Regex(pattern.to_owned()))
}

fn path_match(path: PathMatch) -> Match {
    Match {
        path,
        ..Match::default()
    }
}

fn part(name: &str, value: &str) -> FieldMatch {
    FieldMatch {
        name: name.to_owned(),
        value: TextMatch::Exact(value.to_owned()),
    }
}

fn host(text: &str) -> HostMatch {
    match text.strip_prefix('*') {
        Some(suffix) => HostMatch::Suffix(suffix.to_owned()),
        None => HostMatch::Exact(text.to_owned()),
    }
}

fn route(text: &str, hosts: &[&str], matches: Vec<Match>) -> Entry<()> {
    Entry {
        name: name(text),
        listeners: Vec::new(),
        hosts: hosts.iter().map(|text| host(text)).collect(),
        matches,
        payload: (),
    }
}

fn compiled(entries: Vec<Entry<()>>) -> Router<()> {
    let (router, problems) = Router::compile(entries);
    assert_eq!(problems, []);
    router
}

fn found<'r>(router: &'r Router<()>, head: &RequestHead) -> Option<Found<'r, ()>> {
    match router.find(&name("web"), head) {
        Outcome::Found(found) => Some(found),
        Outcome::Nothing(_) | Outcome::WantsBody { .. } => None,
    }
}

fn winner(router: &Router<()>, url: &str) -> String {
    found(router, &head("GET", url)).map_or("-".to_owned(), |found| found.route.to_string())
}

#[test]
fn more_specific_host_wins_and_less_specific_ones_are_asked_next() {
    let router = compiled(vec![
        route("any", &[], vec![prefix("/")]),
        route("wide", &["*.example.com"], vec![prefix("/w")]),
        route("near", &["*.b.example.com"], vec![prefix("/")]),
        route(
            "self",
            &["a.b.example.com"],
            vec![prefix("/s"), regex("/r.*")],
        ),
    ]);
    for (url, expected) in [
        ("a.b.example.com/s", "self"),
        ("a.b.example.com./s", "self"),
        ("a.b.example.com:8080/s", "self"),
        ("a.b.example.com/r1", "self"),
        ("a.b.example.com/w", "near"),
        ("x.y.b.example.com/w", "near"),
        ("b.example.com/w", "wide"),
        ("b.example.com/x", "any"),
        ("example.com/w", "any"),
        (".example.com/w", "any"),
        ("[::1]:80/w", "any"),
        ("/w", "any"),
    ] {
        assert_eq!(winner(&router, url), expected, "{url}");
    }
}

#[test]
fn more_specific_path_wins_from_the_left() {
    let router = compiled(vec![
        route("exact", &[], vec![exact("/users/me")]),
        route("one", &[], vec![template("/users/{id}")]),
        route("deep", &[], vec![template("/users/{id}/files/{*rest}")]),
        route("rest", &[], vec![template("/users/{*rest}")]),
        route("prefix", &[], vec![prefix("/users")]),
        route("longer", &[], vec![prefix("/users/me/files")]),
        route("regex", &[], vec![regex("/.*")]),
        route("shorter-regex", &[], vec![regex("/a")]),
    ]);
    for (url, expected) in [
        ("/users/me", "exact"),
        ("/users/7", "one"),
        ("/users/7/files/a/b", "deep"),
        ("/users/7/other", "rest"),
        ("/users/me/other", "rest"),
        ("/users/me/files/x", "longer"),
        ("/users/", "rest"),
        ("/users", "prefix"),
        ("/usersx", "regex"),
        ("/a", "regex"),
    ] {
        assert_eq!(winner(&router, url), expected, "{url}");
    }
}

#[test]
fn method_then_headers_then_query_then_name_decide() {
    let with = |methods: &[Method], headers: &[FieldMatch], query: &[FieldMatch]| Match {
        methods: methods.to_vec(),
        headers: headers.to_vec(),
        query: query.to_vec(),
        ..Match::default()
    };
    let (a, b, q) = (part("a", "1"), part("b", "2"), part("q", "3"));
    let router = compiled(vec![
        route("e-method", &[], vec![with(&[Method::Get], &[], &[])]),
        route("d-two", &[], vec![with(&[], &[a.clone(), b.clone()], &[])]),
        route(
            "c-one-query",
            &[],
            vec![with(&[], std::slice::from_ref(&a), &[q])],
        ),
        route("b-one", &[], vec![with(&[], &[b], &[])]),
        route("a-one", &[], vec![with(&[], &[a], &[])]),
    ]);
    for (method, url, headers, expected) in [
        ("GET", "/?q=3", "ab", "e-method"),
        ("PUT", "/?q=3", "ab", "d-two"),
        ("PUT", "/?q=3", "a", "c-one-query"),
        ("PUT", "/", "a", "a-one"),
        ("PUT", "/", "b", "b-one"),
    ] {
        let mut head = head(method, url);
        for name in headers.chars() {
            let value = if name == 'a' { "1" } else { "2" };
            head.fields
                .push(&name.to_string(), value.as_bytes())
                .unwrap();
        }
        let found = found(&router, &head).unwrap();
        assert_eq!(found.route.as_str(), expected);
    }
}

#[test]
fn found_tells_captures_and_the_matched_prefix() {
    let router = compiled(vec![
        route("all", &[], vec![prefix("/")]),
        route("prefix", &[], vec![prefix("/a/b/")]),
        route("files", &[], vec![template("/u/{id}/{*rest}")]),
        route("regex", &["r.x"], vec![regex("/v(?<major>[0-9]+)/(.*)")]),
    ]);
    for (url, bytes, captures) in [
        ("/x", 0, &[][..]),
        ("/a/b/c", 4, &[]),
        ("/u/7/a/b", 4, &[("id", "7"), ("rest", "a/b")]),
        ("r.x/v2/x", 5, &[("major", "2")]),
    ] {
        let found = found(&router, &head("GET", url)).unwrap();
        let given: Vec<_> = found.captures.iter().map(|(k, v)| (&**k, &**v)).collect();
        assert_eq!((found.prefix_bytes, &given[..]), (bytes, captures), "{url}");
        assert!(!captures.is_empty() || found.captures.capacity() == 0);
    }
}

#[test]
fn miss_tells_known_hosts_and_allowed_methods() {
    let mut post = exact("/a");
    post.methods = vec![Method::Post, Method::Put];
    let mut put = prefix("/a");
    put.methods = vec![Method::Put];
    let mut keyed = prefix("/a");
    keyed.methods = vec![Method::Delete];
    keyed.headers = vec![part("x-key", "1")];
    let router = compiled(vec![
        route("one", &["a.x"], vec![post]),
        route("two", &["*.x"], vec![put, keyed]),
    ]);
    let miss = |method: &str, url: &str| match router.find(&name("web"), &head(method, url)) {
        Outcome::Nothing(miss) => miss,
        Outcome::Found(_) | Outcome::WantsBody { .. } => panic!("something was found"),
    };
    let of = |host_known, allowed: &[Method]| Miss {
        host_known,
        allowed: allowed.to_vec(),
    };
    assert_eq!(miss("GET", "a.x/a"), of(true, &[Method::Post, Method::Put]));
    assert_eq!(miss("GET", "a.x/b"), of(true, &[]));
    assert_eq!(miss("GET", "b.y/a"), of(false, &[]));
    assert_eq!(miss("GET", "b.x/a"), of(true, &[Method::Put]));
}

#[test]
fn route_serves_only_its_listeners() {
    let mut entry = route("a", &[], vec![prefix("/")]);
    entry.listeners = vec![name("web")];
    let mut other = route("b", &[], vec![prefix("/")]);
    other.listeners = vec![name("admin")];
    let router = compiled(vec![entry, other]);
    for (listener, expected) in [("web", Some("a")), ("admin", Some("b")), ("x", None)] {
        let given = match router.find(&name(listener), &head("GET", "/")) {
            Outcome::Found(found) => Some(found.route.as_str()),
            Outcome::Nothing(_) | Outcome::WantsBody { .. } => None,
        };
        assert_eq!(given, expected, "{listener}");
    }
}

#[test]
fn body_is_asked_for_only_when_all_else_holds() {
    let mut by_body = prefix("/chat");
    by_body.body = Some(BodyMatch {
        limit: ByteSize::from_bytes(8),
        value: TextMatch::Regex("(?s).*small.*".to_owned()),
    });
    let router = compiled(vec![
        route("small", &[], vec![by_body]),
        route("other", &[], vec![prefix("/")]),
    ]);
    let find = |url: &str, body| match router.find_with_body(&name("web"), &head("GET", url), body)
    {
        Outcome::Found(found) => found.route.to_string(),
        Outcome::Nothing(_) => "-".to_owned(),
        Outcome::WantsBody { limit } => limit.as_bytes().to_string(),
    };
    assert_eq!(find("/chat", Body::Unread), "8");
    assert_eq!(find("/chat", Body::Part(b"12345678")), "8");
    assert_eq!(find("/chat", Body::Whole(b"a small")), "small");
    assert_eq!(find("/chat", Body::Whole(b"a large")), "other");
    assert_eq!(find("/chat", Body::Part(b"small....")), "other");
    assert_eq!(find("/else", Body::Unread), "other");
}

#[test]
fn bad_route_is_left_out_whole_and_the_others_serve() {
    let mut headers = prefix("/b");
    headers.headers = vec![FieldMatch {
        name: "x".to_owned(),
        value: TextMatch::Regex("[".to_owned()),
    }];
    let (router, problems) = Router::compile(vec![
        route(
            "bad",
            &["A.x", "*x"],
            vec![prefix("/a"), regex("("), headers],
        ),
        route("good", &[], vec![prefix("/")]),
    ]);
    let told: Vec<_> = problems
        .iter()
        .map(|told| (told.route.as_str(), told.effect, told.problem.path.as_str()))
        .collect();
    let left_out = |path| ("bad", Effect::LeftOut, path);
    assert_eq!(
        told,
        [
            left_out("/hosts/0"),
            left_out("/hosts/1"),
            left_out("/match/1/regex"),
            left_out("/match/2/headers/x"),
        ]
    );
    assert_eq!(winner(&router, "/a"), "good");
    assert_eq!(router.inner.entries.len(), 1);
}

#[test]
fn regexes_are_limited_per_host() {
    let many = |count| (0..count).map(|n| regex(&format!("/{n}"))).collect();
    let problems = |entries| Router::compile(entries).1;
    assert_eq!(
        problems(vec![route("a", &["a.x"], many(REGEXES_PER_HOST_MAX))]),
        []
    );
    let over = problems(vec![
        route("a", &["a.x"], many(REGEXES_PER_HOST_MAX)),
        route("b", &["b.x", "a.x"], many(1)),
        route("c", &["c.x"], many(1)),
        route("d", &["a.x"], vec![prefix("/")]),
    ]);
    let told: Vec<_> = over
        .iter()
        .map(|told| (told.route.as_str(), told.effect))
        .collect();
    assert_eq!(told, [("b", Effect::LeftOut)]);
}

#[test]
fn same_conditions_are_reported_and_the_first_by_name_wins() {
    let asks = |headers: &[(&str, &str)]| Match {
        headers: headers
            .iter()
            .map(|(name, value)| part(name, value))
            .collect(),
        ..template("/u/{id}")
    };
    let renamed = Match {
        path: PathMatch::Template("/u/{name}".to_owned()),
        ..asks(&[("B", "2"), ("A", "1")])
    };
    let mut elsewhere = route("c", &["a.x"], vec![asks(&[("a", "1"), ("b", "2")])]);
    elsewhere.listeners = vec![name("other")];
    let mut first = route("a", &["a.x"], vec![asks(&[("a", "1"), ("b", "2")])]);
    first.listeners = vec![name("web")];
    let mut second = route("b", &["b.x", "a.x"], vec![asks(&[]), renamed]);
    second.listeners = vec![name("web")];
    let (router, problems) = Router::compile(vec![second, elsewhere, first]);
    assert_eq!(problems.len(), 1, "{problems:?}");
    let told = &problems[0];
    assert_eq!((told.route.as_str(), told.effect), ("b", Effect::Shadowed));
    assert_eq!(told.problem.path, "/match/1");
    assert_eq!(
        told.problem.message,
        "route `a` asks for the same and comes first by name, on host `a.x`"
    );
    let mut head = head("GET", "a.x/u/7");
    head.fields.push("a", b"1").unwrap();
    head.fields.push("b", b"2").unwrap();
    assert_eq!(found(&router, &head).unwrap().route.as_str(), "a");
}

#[test]
fn explanation_lists_rules_in_order_with_reasons() {
    let mut post = exact("/a");
    post.methods = vec![Method::Post, Method::Put];
    let router = compiled(vec![
        route("z", &["a.x"], vec![post]),
        route("y", &["b.x"], vec![prefix("/")]),
        route("x", &[], vec![prefix("/a")]),
        route("w", &[], vec![prefix("/")]),
    ]);
    let (web, head) = (name("web"), head("GET", "a.x/a"));
    let told: Vec<_> = router
        .explain(&web, &head, Body::Unread)
        .map(|considered| match considered.verdict {
            Verdict::Wins => format!("{}: wins", considered.route),
            Verdict::ComesLater => format!("{}: comes later", considered.route),
            Verdict::Unmet(unmet) => format!("{}: {unmet}", considered.route),
        })
        .collect();
    assert_eq!(
        told,
        [
            "z: it serves only the methods POST, PUT",
            "y: it serves other hosts",
            "x: wins",
            "w: comes later",
        ]
    );
}

#[test]
fn an_empty_router_and_an_empty_target_find_nothing() {
    let miss = Outcome::Nothing(Miss::default());
    assert_eq!(
        compiled(Vec::new()).find(&name("web"), &head("GET", "a/")),
        miss
    );
    let router = compiled(vec![route("a", &[], vec![prefix("/"), regex(".*")])]);
    for target in [RequestHead::default(), head("OPTIONS", "a/")] {
        let mut head = target;
        head.target.clear();
        assert!(found(&router, &head).is_none());
    }
}

#[test]
fn a_request_for_the_server_as_a_whole_goes_to_whoever_serves_all_of_it() {
    let mut head = head("OPTIONS", "a/");
    head.target.set(b"*").unwrap();
    for (path, is_found) in [("/", true), ("/a", false)] {
        let router = compiled(vec![route("a", &[], vec![prefix(path)])]);
        assert_eq!(found(&router, &head).is_some(), is_found, "{path}");
    }
}
