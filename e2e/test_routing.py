"""Which request goes where."""

import json
from collections import Counter

import pytest

from harness.gateway import config
from harness.origin import field_of, told
from harness.waiting import until
from harness.wire import get


def upstream(origin, **more) -> dict:
    return {"addresses": [f"127.0.0.1:{origin.port}"]} | more


ROUTES = {
    "exact": {"hosts": ["a.test"], "match": [{"exact": "/login"}], "target": "exact"},
    "prefix": {"hosts": ["a.test"], "match": [{"prefix": "/api"}], "target": "prefix"},
    "longer": {"hosts": ["a.test"], "match": [{"prefix": "/api/v2"}], "target": "longer"},
    "template": {"hosts": ["a.test"], "match": [{"template": "/users/{id}"}], "target": "template"},
    "regex": {"hosts": ["a.test"], "match": [{"regex": "/v[0-9]+/.*"}], "target": "regex"},
    "method": {"hosts": ["a.test"], "match": [{"prefix": "/api", "method": ["DELETE"]}], "target": "method"},
    "header": {"hosts": ["a.test"], "match": [{"prefix": "/api", "headers": {"x-env": "canary"}}], "target": "header"},
    "pattern": {"hosts": ["a.test"], "match": [{"prefix": "/api", "headers": {"x-id": {"regex": "[0-9]+"}}}], "target": "pattern"},
    "present": {"hosts": ["a.test"], "match": [{"prefix": "/p", "headers": {"x-any": {"present": True}}}], "target": "present"},
    "query": {"hosts": ["a.test"], "match": [{"prefix": "/api", "query": {"v": "2"}}], "target": "query"},
    "wild": {"hosts": ["*.b.test"], "target": "wild"},
    "deeper": {"hosts": ["*.c.b.test"], "target": "deeper"},
    "host": {"hosts": ["one.b.test"], "target": "host"},
}

CASES = [
    ("a.test", "/login", (), "GET", "exact"),
    ("a.test", "/login/x", (), "GET", None),
    ("a.test", "/api", (), "GET", "prefix"),
    ("a.test", "/api/", (), "GET", "prefix"),
    ("a.test", "/api/v1", (), "GET", "prefix"),
    ("a.test", "/apis", (), "GET", None),
    ("a.test", "/api/v2/x", (), "GET", "longer"),
    ("a.test", "/api/v22", (), "GET", "prefix"),
    ("a.test", "/users/7", (), "GET", "template"),
    ("a.test", "/users/7/x", (), "GET", None),
    ("a.test", "/v12/x", (), "GET", "regex"),
    ("a.test", "/vx/x", (), "GET", None),
    ("a.test", "/api", (), "DELETE", "method"),
    ("a.test", "/api", ("X-Env: canary",), "GET", "header"),
    ("a.test", "/api", ("X-Env: other",), "GET", "prefix"),
    ("a.test", "/api", ("X-Id: 42",), "GET", "pattern"),
    ("a.test", "/api", ("X-Id: 4b",), "GET", "prefix"),
    ("a.test", "/p", ("X-Any: ",), "GET", "present"),
    ("a.test", "/p", (), "GET", None),
    ("a.test", "/api?v=2", (), "GET", "query"),
    ("a.test", "/api?v=3", (), "GET", "prefix"),
    ("a.test", "/api/v2?v=2", (), "DELETE", "longer"),
    ("A.TEST:80", "/login", (), "GET", "exact"),
    ("one.b.test", "/", (), "GET", "host"),
    ("two.b.test", "/", (), "GET", "wild"),
    ("x.c.b.test", "/", (), "GET", "deeper"),
    ("b.test", "/", (), "GET", None),
    ("other.test", "/", (), "GET", None),
    ("a.test", "/%61pi", (), "GET", "prefix"),
    ("a.test", "/x/../api", (), "GET", "prefix"),
    ("a.test", "/api/../login", (), "GET", "exact"),
]


@pytest.fixture
def table(start, origin):
    """A gateway whose every route goes to an origin of the route's name."""
    upstreams = {name: upstream(origin(name)) for name in ROUTES}
    return start(config(routes=ROUTES, upstreams=upstreams))


def test_the_most_specific_route_wins(table):
    wrong = []
    for host, target, fields, method, expected in CASES:
        answer = get(table.port(), target, *fields, host=host, method=method)
        got = json.loads(answer.body)["origin"] if answer.status == 200 else None
        if got != expected:
            wrong.append((host, target, fields, method, expected, answer.status, got))
        if expected is None:
            assert answer.status == 404, answer
    assert not wrong, wrong


def test_the_gateway_explains_its_choice(table):
    status, explained = table.admin("GET", "/v1/explain?url=http://a.test/api/v2/x&method=GET")
    assert status == 200
    assert "longer" in json.dumps(explained)


def test_targets_share_by_weight(start, origin):
    heavy, light = origin("heavy"), origin("light")
    routes = {"all": {"targets": [{"upstream": "heavy", "weight": 9}, {"upstream": "light", "weight": 1}]}}
    gateway = start(config(routes=routes, upstreams={"heavy": upstream(heavy), "light": upstream(light)}))
    shares = Counter(told(get(gateway.port()))["origin"] for _ in range(400))
    assert 5 <= shares["light"] <= 90, shares
    assert shares["heavy"] + shares["light"] == 400


def test_a_target_can_take_a_subset_of_a_service(start, origin):
    old, new = origin("old"), origin("new")
    routes = {
        "new": {"match": [{"prefix": "/new"}], "targets": [{"upstream": "shop", "subset": {"version": "v2"}}]},
        "old": {"match": [{"prefix": "/old"}], "targets": [{"upstream": "shop", "subset": {"version": "v1"}}]},
    }
    gateway = start(config(routes=routes, upstreams={"shop": {"service": "shop"}}))
    gateway.register("shop", "a", old.port, version="v1", metadata={"version": "v1"})
    gateway.register("shop", "b", new.port, version="v2", metadata={"version": "v2"})
    assert {told(get(gateway.port(), "/new"))["origin"] for _ in range(10)} == {"new"}
    assert {told(get(gateway.port(), "/old"))["origin"] for _ in range(10)} == {"old"}


def with_policies(start, origin, *policies, match=None):
    backend = origin()
    route = {"policies": list(policies), "target": "origin"}
    if match:
        route["match"] = [match]
    gateway = start(config(routes={"all": route}, upstreams={"origin": upstream(backend)}))
    gateway.backend = backend
    return gateway


def test_headers_are_set_added_and_removed_on_both_sides(start, origin):
    gateway = with_policies(start, origin, {"headers": {
        "request": {"set": {"x-a": "b"}, "add": {"x-many": "2"}, "remove": ["x-gone"]},
        "response": {"set": {"x-served": "portolan"}, "remove": ["content-type"]},
    }})
    answer = get(gateway.port(), "/", "X-A: old", "X-Many: 1", "X-Gone: 1")
    story = told(answer)
    assert field_of(story, "x-a") == "b"
    assert [value for name, value in story["fields"] if name.lower() == "x-many"] == ["1", "2"]
    assert field_of(story, "x-gone") is None
    assert answer["x-served"] == "portolan" and answer["content-type"] is None


@pytest.mark.parametrize(("match", "rewrite", "target", "expected"), [
    ({"prefix": "/api"}, {"prefix": "/new"}, "/api/x?q=1", "/new/x?q=1"),
    ({"prefix": "/api"}, {"prefix": "/"}, "/api/x", "/x"),
    ({"template": "/users/{id}"}, {"path": "/people/{id}/full"}, "/users/7?q=1", "/people/7/full?q=1"),
])
def test_paths_are_rewritten(start, origin, match, rewrite, target, expected):
    gateway = with_policies(start, origin, {"rewrite": rewrite}, match=match)
    assert told(get(gateway.port(), target))["target"] == expected


def test_hosts_are_rewritten(start, origin):
    gateway = with_policies(start, origin, {"rewrite": {"host": "new.example.com"}})
    assert field_of(told(get(gateway.port())), "host") == "new.example.com"


@pytest.mark.parametrize(("redirect", "target", "status", "location"), [
    ({"status": 308, "scheme": "https"}, "/a?b=c", 308, "https://a.test/a?b=c"),
    ({"status": 301, "host": "b.test"}, "/a", 301, "http://b.test/a"),
    ({"status": 302, "path": "/new"}, "/a", 302, "http://a.test/new"),
])
def test_redirects_are_answered_here(start, origin, redirect, target, status, location):
    gateway = with_policies(start, origin, {"redirect": redirect})
    answer = get(gateway.port(), target)
    assert (answer.status, answer["location"]) == (status, location)
    assert not gateway.backend.requests


def test_a_route_can_answer_by_itself(start):
    respond = {"respond": {"status": 200, "body": "hi", "headers": {"x-a": "b"}}}
    gateway = start(config(routes={"all": {"policies": [respond]}}))
    answer = get(gateway.port())
    assert (answer.status, answer.body, answer["x-a"]) == (200, b"hi", "b")
    assert get(gateway.port(), method="HEAD").body == b""


def test_listeners_have_routes_of_their_own(start, origin):
    from harness.gateway import listener

    one, two = origin("one"), origin("two")
    settings = config(
        routes={"one": {"listeners": ["web"], "target": "one"}, "two": {"listeners": ["side"], "target": "two"}},
        upstreams={"one": upstream(one), "two": upstream(two)},
        listeners={"side": listener()},
    )
    gateway = start(settings)
    assert told(get(gateway.port("web")))["origin"] == "one"
    assert told(get(gateway.port("side")))["origin"] == "two"


def test_five_thousand_routes_are_quick_to_start_and_small(start, origin):
    backend = origin()
    routes = {
        f"route-{n}": {"hosts": [f"host-{n % 50}.test"], "match": [{"prefix": f"/service-{n}"}], "target": "origin"}
        for n in range(5000)
    }
    gateway = start(config(routes=routes, upstreams={"origin": upstream(backend)}))
    assert told(get(gateway.port(), "/service-4999/x", host="host-49.test"))["target"] == "/service-4999/x"
    # 40 MiB here, half of them pages of the program's own file.
    until(lambda: gateway.resident_bytes() < 45 * 2**20, "less than 45 MiB resident", seconds=40)
