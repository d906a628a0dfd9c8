"""A Eureka server is read: our own front, and the one of Spring Cloud Netflix."""

import http.client
import json
import signal
import time

import pytest

from harness import federation
from harness.gateway import config
from harness.ports import free_port
from harness.processes import Program
from harness.traffic import Load
from harness.waiting import until
from harness.wire import get

KIND = "eureka"
# A virtual machine has to start, on a machine that may have twenty times as much work as it can do.
PATIENCE = 300


def test_changes_are_routable_soon(start, origin):
    # Asked every 200 ms.
    federation.changes_are_routable_soon(start, origin, KIND, within_ms=300)


def test_nothing_fails_while_the_far_one_does(start, origin):
    federation.nothing_fails_while_the_far_one_does(start, origin, KIND)


def test_two_that_read_each_other_keep_no_ghosts(start, origin):
    federation.two_that_read_each_other_keep_no_ghosts(start, origin, KIND)


def test_one_that_reads_itself_says_so(start, origin):
    federation.one_that_reads_itself_says_so(start, origin, KIND)


class Spring:
    """A server of Spring Cloud Netflix Eureka, as its documentation starts one."""

    def __init__(self, jar, folder, port: int) -> None:
        settings = {
            "server.address": "127.0.0.1", "server.port": port,
            "eureka.client.register-with-eureka": "false", "eureka.client.fetch-registry": "false",
            "eureka.server.wait-time-in-ms-when-sync-empty": 0,
            "eureka.server.response-cache-update-interval-ms": 500,
            "eureka.server.enable-self-preservation": "false",
            "eureka.server.eviction-interval-timer-in-ms": 1000,
        }
        options = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx256m"]
        words = [f"--{name}={value}" for name, value in settings.items()]
        self.port = port
        self.program = Program(["java", *options, "-jar", jar, *words], folder / f"spring-{port}.log")
        until(lambda: not self.program.is_running() or self.is_ready(), "Eureka to start", PATIENCE)
        assert self.program.is_running(), self.program.output()

    # What every program has that a test stops at its end.
    def is_running(self) -> bool:
        return self.program.is_running()

    def stop(self) -> None:
        self.program.kill()

    def is_ready(self) -> bool:
        try:
            return self.call("GET", "apps")[0] == 200
        except OSError:
            return False

    def call(self, method: str, path: str, body=None) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            fields = {"content-type": "application/json", "accept": "application/json"}
            connection.request(method, f"/eureka/{path}", None if body is None else json.dumps(body), fields)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def register(self, app: str, instance: str, port: int, **besides) -> None:
        info = {
            "instanceId": instance, "hostName": "localhost", "app": app, "ipAddr": "127.0.0.1", "status": "UP",
            "port": {"$": port, "@enabled": "true"}, "securePort": {"$": 443, "@enabled": "false"},
            "vipAddress": app.lower(), "metadata": {"zone": "z1", "version": "v2"},
            "leaseInfo": {"renewalIntervalInSecs": 30, "durationInSecs": 600},
            "dataCenterInfo": {
                "@class": "com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo", "name": "MyOwn",
            },
        } | besides
        assert self.call("POST", f"apps/{app}", {"instance": info})[0] == 204


@pytest.mark.timeout(400)
def test_a_server_of_spring_is_read(start, origin, programs, parts, tmp_path):
    jar = next((parts / "spring-eureka").glob("target/*.jar"))
    port = free_port()
    spring = programs(Spring(jar, tmp_path, port))
    backend = origin("web")
    spring.register("WEB", "w1", backend.port)
    spring.register("WEB", "w2", backend.port)
    source = {"url": f"http://127.0.0.1:{port}/eureka", "interval": "200ms"}
    near = start(config(sources={"spring": {"eureka": source}}))

    def instances() -> dict:
        status, answer = near.admin("GET", "/v1/services/web/instances")
        return {} if status == 404 else {found["id"]: found for found in answer["instances"]}

    def stale() -> str:
        _, answer = near.admin("GET", "/v1/sources")
        found = next(found for found in answer["sources"] if found["id"] == "eureka:spring")
        return found.get("stale", {}).get("reason", "")

    until(lambda: len(instances()) == 2, "both to be known", 30)
    first = instances()["w1"]
    assert first["zone"] == "z1" and first["version"] == "v2" and first["status"] == "passing"
    until(lambda: get(near.port(), "/web/").status == 200, "it to be routed to")
    with Load(near.port(), "/web/") as load:
        # Statuses and departures come by deltas.
        assert spring.call("PUT", "apps/WEB/w2/status?value=OUT_OF_SERVICE")[0] == 200
        until(lambda: instances()["w2"]["override"] == "maintenance", "it to be out of service", 30)
        assert not instances()["w2"]["is_open"]
        assert spring.call("DELETE", "apps/WEB/w2/status?value=UP")[0] == 200
        until(lambda: instances()["w2"]["override"] == "none", "it to be back", 30)
        began = time.monotonic()
        spring.register("NEWS", "n1", backend.port)
        until(lambda: get(near.port(), "/news/").status == 200, "the new one", 30)
        print(f"\nSpring's Eureka: change to routable in {time.monotonic() - began:.2f} s; its cache is 0.5 s")
        assert spring.call("DELETE", "apps/WEB/w2")[0] == 200
        until(lambda: "w2" not in instances(), "it to be gone", 30)
        load.goes_on()
        # Paused it answers nothing, killed it is not there, and anew it knows nothing at first.
        spring.program.signal(signal.SIGSTOP)
        until(stale, "the source to be stale", 60)
        load.goes_on()
        spring.program.signal(signal.SIGCONT)
        until(lambda: not stale(), "the source to go on", 60)
        spring.program.kill()
        until(stale, "the source to be stale", 30)
        load.goes_on()
        again = programs(Spring(jar, tmp_path, port))
        until(lambda: not stale(), "the source to be back", 60)
        load.goes_on(500)
        assert set(instances()) == {"w1"}, "an empty list is not believed at once"
        again.register("WEB", "w1", backend.port)
        again.register("WEB", "w3", backend.port)
        until(lambda: set(instances()) == {"w1", "w3"}, "what registered anew", 60)
        load.goes_on()
    print(f"Spring's Eureka: {load.answers} requests, none failed, while it was paused, killed and restarted")
