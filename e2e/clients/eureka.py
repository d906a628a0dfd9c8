"""A program that registers by py-eureka-client and says what it sees, a JSON object a line.

Arguments: port of the server, application, own port, application to look for, and perhaps
a name and a token for it.
It leaves when its standard input ends.
"""

import json
import sys
import threading
import time

import py_eureka_client.eureka_client as eureka

port, app, own, wanted, *login = sys.argv[1:]
name, token = login or ("", "")
leaving = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), leaving.set()), daemon=True).start()


def say(told: dict) -> None:
    print(json.dumps(told), flush=True)


client = eureka.init(
    eureka_server=f"http://127.0.0.1:{port}/eureka",
    eureka_basic_auth_user=name,
    eureka_basic_auth_password=token,
    app_name=app,
    instance_id=f"{app}-py",
    instance_host="localhost",
    instance_ip="127.0.0.1",
    instance_port=int(own),
    renewal_interval_in_secs=1,
    duration_in_secs=4,
    metadata={"made_by": "py", "zone": "z1"},
)
say({"event": "registered"})
while not leaving.is_set():
    found = client.applications.get_application(wanted.upper())
    instances = [] if found is None else found.up_instances
    say({"event": "seen", "places": sorted(f"{one.ipAddr}:{one.port.port}" for one in instances)})
    time.sleep(0.3)
eureka.stop()
say({"event": "stopped", "error": None})
