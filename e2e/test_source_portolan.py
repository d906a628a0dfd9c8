"""Another Portolan is read by its native watch."""

import json

from harness import federation
from harness.federation import Site
from harness.gateway import command
from harness.waiting import until

KIND = "portolan"


def test_changes_are_routable_soon(start, origin):
    federation.changes_are_routable_soon(start, origin, KIND, within_ms=20)


def test_nothing_fails_while_the_far_one_does(start, origin):
    federation.nothing_fails_while_the_far_one_does(start, origin, KIND)


def test_two_that_read_each_other_keep_no_ghosts(start, origin):
    federation.two_that_read_each_other_keep_no_ghosts(start, origin, KIND)


def test_one_that_reads_itself_says_so(start, origin):
    federation.one_that_reads_itself_says_so(start, origin, KIND)


def test_whoever_left_over_there_is_gone_here_at_once(start, origin):
    """All leave, the last one included: the guard of the far one has judged, ours does not."""
    far, near = federation.pair(start, KIND)
    for name in ("a", "b"):
        far.gateway.register("orders", name, origin(name).port)
    until(lambda: len(near.ids("orders")) == 2, "both to be known")
    for name in ("a", "b"):
        far.leave("orders", name)
    until(lambda: near.ids("orders") == [], "both to be gone", 2)


def test_namespaces_are_mapped(start, origin):
    far = Site(start, "far")
    source = {"portolan": far.source(KIND)["portolan"] | {"namespaces": {"prod": "east"}}}
    near = Site(start, "near", {"far": source})
    body = {"address": "127.0.0.1", "port": origin("a").port}
    assert far.gateway.admin("PUT", "/v1/namespaces/prod/services/orders/instances/a", body)[0] == 201
    far.gateway.register("orders", "default", origin("b").port)
    path = "/v1/namespaces/east/services/orders/instances/a"
    until(lambda: near.gateway.admin("GET", path)[0] == 200, "the mapped one")
    assert near.ids("orders") == [], "the others are left out"


def test_check_names_the_place_of_a_mistake(tmp_path):
    file = tmp_path / "portolan.yaml"
    settings = {"url": "registry:9070", "namespaces": {"default": "a b"}}
    file.write_text(json.dumps({"sources": {"far": {"portolan": settings}}}, indent=1))
    code, out, errors = command("check", file, folder=tmp_path)
    assert code != 0
    said = out + errors
    assert "registry:9070" in said and "`a b`" in said, said
