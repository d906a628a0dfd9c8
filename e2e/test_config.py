"""The configuration file and the commands around it."""

import json

import jsonschema

from harness.gateway import command, config, to_origin
from harness.origin import told
from harness.wire import get

GOOD = """\
listeners:
  web: {address: "127.0.0.1:8081"}
routes:
  shop:
    hosts: [shop.example.com]
    match: [{prefix: /api}]
    target: orders
upstreams:
  orders: {addresses: ["127.0.0.1:9001"]}
"""


def check(folder, text: str, environment=None) -> tuple[int, str]:
    file = folder / "portolan.yaml"
    file.write_text(text)
    code, out, errors = command("check", file, folder=folder, environment=environment)
    return code, out + errors


def test_a_good_file_passes(tmp_path):
    code, said = check(tmp_path, GOOD)
    assert code == 0, said


def test_every_finding_is_told_at_once_with_its_place(tmp_path):
    text = GOOD.replace("hosts:", "hosst:").replace("prefix: /api", "prefix: api").replace("127.0.0.1:9001", "127.0.0.1")
    code, said = check(tmp_path, text)
    assert code != 0
    for wanted in ("hosst", "hosts", "portolan.yaml:5", "portolan.yaml:6", "portolan.yaml:9"):
        assert wanted in said, (wanted, said)


def test_findings_can_be_read_by_programs(tmp_path):
    file = tmp_path / "portolan.yaml"
    file.write_text(GOOD.replace("hosts:", "hosst:"))
    code, out, errors = command("check", "--json", file, folder=tmp_path)
    assert code != 0, errors
    findings = [json.loads(line) for line in out.splitlines()]
    assert any("hosst" in json.dumps(finding) for finding in findings)


def test_a_dangling_target_is_found(tmp_path):
    code, said = check(tmp_path, GOOD.replace("target: orders", "target: order"))
    assert code != 0 and "orders" in said, said


def test_broken_yaml_is_one_clear_finding(tmp_path):
    code, said = check(tmp_path, "listeners: {web: [}\n")
    assert code != 0 and "portolan.yaml:1" in said and "panicked" not in said, said


def test_a_file_full_of_aliases_is_refused(tmp_path):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    code, said = check(tmp_path, "\n".join(lines))
    assert code != 0 and "panicked" not in said


def test_the_environment_is_read_where_the_file_says_so(tmp_path):
    text = GOOD.replace("127.0.0.1:9001", "${env:ORDERS}")
    assert check(tmp_path, text, {"ORDERS": "127.0.0.1:7000"})[0] == 0
    code, said = check(tmp_path, text)
    assert code != 0 and "ORDERS" in said, said
    assert check(tmp_path, GOOD.replace("127.0.0.1:9001", "${env:ORDERS:-127.0.0.1:7000}"))[0] == 0


def test_the_schema_accepts_what_the_program_accepts(tmp_path):
    code, out, errors = command("schema", folder=tmp_path)
    assert code == 0, errors
    schema = json.loads(out)
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    good = config(routes={"all": {"target": "o"}}, upstreams={"o": {"addresses": ["127.0.0.1:1"]}})
    assert not list(validator.iter_errors(good))
    bad = json.loads(json.dumps(good))
    bad["routes"]["all"]["tarjet"] = "o"
    assert list(validator.iter_errors(bad))


def test_init_writes_a_file_that_passes_and_never_overwrites(tmp_path):
    code, out, errors = command("init", folder=tmp_path)
    assert code == 0, errors
    file = tmp_path / "portolan.yaml"
    text = file.read_text()
    assert "#" in text
    code, out, errors = command("check", file, folder=tmp_path)
    assert code == 0, out + errors
    file.write_text("mine")
    assert command("init", folder=tmp_path)[0] != 0
    assert file.read_text() == "mine"


def test_diff_says_what_a_change_would_do(tmp_path):
    old, new = tmp_path / "old.yaml", tmp_path / "new.yaml"
    old.write_text(GOOD)
    new.write_text(GOOD.replace("  shop:", "  store:").replace("9001", "9002"))
    code, out, errors = command("diff", old, new, folder=tmp_path)
    for word in ("shop", "store", "orders"):
        assert word in out, (out, errors)
    code, out, _ = command("diff", old, old, folder=tmp_path)
    assert "shop" not in out


def test_a_bad_file_does_not_start(tmp_path):
    file = tmp_path / "portolan.yaml"
    file.write_text("listeners: 7\n")
    code, out, errors = command("run", "--config", file, folder=tmp_path)
    assert code != 0 and "portolan.yaml:1" in out + errors


def test_a_missing_file_is_said_plainly(tmp_path):
    code, out, errors = command("run", "--config", "nowhere.yaml", folder=tmp_path)
    assert code != 0 and "nowhere.yaml" in out + errors and "panicked" not in out + errors


def test_a_quarantined_route_leaves_the_others_alone(start, origin):
    backend = origin()
    settings = config(**to_origin(backend))
    settings["routes"]["broken"] = {"match": [{"regex": "/("}], "target": "origin"}
    gateway = start(settings)
    assert told(get(gateway.port(), "/fine"))["target"] == "/fine"
    status, shown = gateway.admin("GET", "/v1/config")
    assert status == 200 and "broken" in json.dumps(shown)


def test_the_admin_api_shows_the_plan_with_its_origin(start, origin):
    gateway = start(config(**to_origin(origin())))
    for path in ("/v1/config", "/v1/routes", "/v1/upstreams"):
        status, shown = gateway.admin("GET", path)
        assert status == 200, (path, shown)
    assert "all" in json.dumps(gateway.admin("GET", "/v1/routes")[1])
