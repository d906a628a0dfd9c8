"""Who is in front of the gateway, and what the origin is told about it."""

import re
import time
from email.utils import parsedate_to_datetime

from harness.gateway import config, to_origin
from harness.origin import field_of, told
from harness.wire import get, raw


def test_the_origin_learns_who_asked_and_how(proxied):
    story = told(get(proxied.port(), host="shop.test"))
    assert field_of(story, "x-forwarded-for") == "127.0.0.1"
    assert field_of(story, "x-forwarded-proto") == "http"
    assert field_of(story, "x-forwarded-host") == "shop.test"
    forwarded = field_of(story, "forwarded")
    assert forwarded is None or "for=127.0.0.1" in forwarded
    assert "1.1" in field_of(story, "via")


def test_a_stranger_can_not_say_who_asked(proxied):
    story = told(get(
        proxied.port(), "/", "X-Forwarded-For: 9.9.9.9", "X-Forwarded-Proto: https",
        "X-Forwarded-Host: evil.test", "Forwarded: for=9.9.9.9;proto=https", "X-Forwarded-Prefix: /evil",
    ))
    for name in ("x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-prefix", "forwarded"):
        value = field_of(story, name) or ""
        assert "9.9.9.9" not in value and "evil" not in value and "https" not in value, (name, value)


def test_a_trusted_proxy_is_believed(start, origin):
    settings = config(**to_origin(origin()), gateway={"trusted_proxies": ["127.0.0.0/8"]})
    gateway = start(settings)
    story = told(get(
        gateway.port(), "/", "X-Forwarded-For: 9.9.9.9", "X-Forwarded-Proto: https", "X-Forwarded-Host: shop.test",
    ))
    assert field_of(story, "x-forwarded-for").replace(" ", "") == "9.9.9.9,127.0.0.1"
    assert field_of(story, "x-forwarded-proto") == "https"
    assert field_of(story, "x-forwarded-host") == "shop.test"


def test_a_request_gets_an_id_that_both_sides_see(proxied):
    answer = get(proxied.port())
    given = field_of(told(answer), "x-request-id")
    assert re.fullmatch(r"[0-9a-zA-Z-]{8,64}", given)
    assert answer["x-request-id"] in (None, given)
    assert field_of(told(get(proxied.port())), "x-request-id") != given


def test_trace_context_is_passed_on(proxied):
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    story = told(get(proxied.port(), "/", f"traceparent: {parent}", "tracestate: a=b"))
    assert field_of(story, "traceparent").split("-")[1] == parent.split("-")[1]
    assert field_of(story, "tracestate") == "a=b"


def test_via_grows_with_each_hop(proxied):
    story = told(get(proxied.port(), "/", "Via: 1.0 fred"))
    vias = [value for name, value in story["fields"] if name.lower() == "via"]
    assert ", ".join(vias).startswith("1.0 fred")
    assert len(", ".join(vias).split(",")) == 2


def test_a_host_can_be_put_in_place_of_the_clients(start, origin):
    backend = origin()
    gateway = start(config(**to_origin(backend, preserve_host=False)))
    story = told(get(gateway.port(), host="shop.test"))
    assert field_of(story, "host") == f"127.0.0.1:{backend.port}"


def test_every_answer_says_when_it_was_made(start, origin):
    given = "Sun, 06 Nov 1994 08:49:37 GMT"
    fields = {"/dated": f"Date: {given}\r\n", "/bare": ""}
    backend = origin(handler=lambda seen, _: f"HTTP/1.1 200 OK\r\n{fields[seen.target]}Content-Length: 0\r\n\r\n".encode())
    gateway = start(config(**to_origin(backend)))
    assert get(gateway.port(), "/dated").all("date") == [given], "the origin knows best"
    refused = raw(gateway.port(), b"GET / HTTP/1.1\r\n\r\n").decode()
    assert refused.startswith("HTTP/1.1 400 "), refused
    dates = [
        get(gateway.port(), "/bare").all("date"),
        get(gateway.port(), "/bare", "Max-Forwards: 0", method="OPTIONS").all("date"),
        re.findall(r"^date: (.*)\r$", refused, re.MULTILINE | re.IGNORECASE),
    ]
    for found in dates:
        assert len(found) == 1, dates
        age = time.time() - parsedate_to_datetime(found[0]).timestamp()
        assert -2 < age < 60, dates
