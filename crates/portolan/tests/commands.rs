//! The commands that read, compare and write configurations, run as people run them.

#![expect(clippy::expect_used, reason = "a test without the program can't go on")]

use std::{
    path::Path,
    process::{Command, Output},
};

use portolan_testkit::{Authority, Scratch, Validity};

/// Runs `portolan` in a folder.
fn portolan(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_portolan"))
        .args(arguments)
        .current_dir(folder)
        .env("SHOP_PORT", "8081")
        .output()
        .expect("the program can be started")
}

/// The exit code and what was printed.
fn run(folder: &Path, arguments: &[&str]) -> (i32, String, String) {
    let output = portolan(folder, arguments);
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text is printed");
    (
        output.status.code().expect("it ends by itself"),
        text(output.stdout),
        text(output.stderr),
    )
}

const GOOD: &str = "routes:\n  shop: {target: orders}\nupstreams:\n  orders: {service: orders}\n";

#[test]
fn check_of_a_good_file_ends_with_0() {
    let scratch = Scratch::new();
    let _file = scratch.write("a.yaml", GOOD);
    let (code, out, err) = run(scratch.path(), &["check", "a.yaml"]);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    assert!(
        out.contains("a.yaml: no findings; 1 listener, 1 route, 1 upstream, 0 sources would run"),
        "{out}"
    );
}

#[test]
fn check_prints_every_finding_with_its_place_and_ends_with_1() {
    let scratch = Scratch::new();
    let bad = GOOD
        .replace("target:", "tagret:")
        .replace("{service: orders}", "{service: orders, port: '!'}");
    let _file = scratch.write("a.yaml", &bad);
    let (code, out, _) = run(scratch.path(), &["check", "a.yaml"]);
    assert_eq!(code, 1, "{out}");
    for part in [
        "[a.yaml:2:10]",
        "unknown field `tagret`",
        "did you mean `target`?",
        "──────",
        "[a.yaml:4:35]",
        "2 errors; 1 listener, 0 routes, 0 upstreams, 0 sources would run, without route shop, upstream orders",
    ] {
        assert!(out.contains(part), "{part} is not in\n{out}");
    }
    assert!(!out.contains('\u{1b}'), "a pipe gets no colours");
}

#[test]
fn check_marks_an_unknown_setting_at_its_key_and_tells_nothing_that_follows_from_it() {
    let scratch = Scratch::new();
    let bad = GOOD.replace(
        "{target: orders}",
        "{target: orders, policies: [{rewrite: {prefx: /}}]}",
    );
    scratch.write("a.yaml", &bad);
    let (code, out, _) = run(scratch.path(), &["check", "a.yaml"]);
    assert_eq!(code, 1);
    for part in [
        "route shop: there is no setting `prefx`",
        "[a.yaml:2:48]",
        "·                                                ─────\n",
        "help: did you mean `prefix`?",
        "a.yaml: 1 error; 1 listener, 0 routes, 1 upstream, 0 sources would run, without route shop",
    ] {
        assert!(out.contains(part), "{part} is not in\n{out}");
    }
}

#[test]
fn check_prints_json_for_programs() {
    let scratch = Scratch::new();
    let _file = scratch.write("a.yaml", "routes: {a: {colour: red}}");
    let (code, out, _) = run(scratch.path(), &["check", "--json", "a.yaml"]);
    let finding: serde_json::Value = serde_json::from_str(&out).expect("one line is one finding");
    assert_eq!(code, 1);
    assert_eq!(finding["severity"], "error");
    assert_eq!(finding["object"], "route a");
    assert_eq!(finding["origin"]["file"]["line"], 1);
}

#[test]
fn check_opens_the_files_that_are_named() {
    let scratch = Scratch::new();
    let text = "listeners:\n  web:\n    address: 127.0.0.1:${env:SHOP_PORT}\n    tls: {certificates: [{certificate: web.pem, key: web.key}]}\n";
    let _file = scratch.write("a.yaml", text);
    let (code, out, _) = run(scratch.path(), &["check", "a.yaml"]);
    assert_eq!(code, 1, "{out}");
    assert!(out.contains("web.pem"), "{out}");
    let issued = Authority::new("test").issue(&["localhost"], Validity::Now);
    let _files = issued.write(&scratch, "web");
    let (code, out, _) = run(scratch.path(), &["check", "a.yaml"]);
    assert_eq!(code, 0, "{out}");
}

#[test]
fn a_wrong_use_ends_with_2() {
    let scratch = Scratch::new();
    for arguments in [
        &["check"][..],
        &["check", "nowhere.yaml"],
        &["diff", "a"],
        &["sail"],
        &["check", "a", "b"],
    ] {
        let (code, out, err) = run(scratch.path(), arguments);
        assert_eq!(code, 2, "{arguments:?}: {out}{err}");
        assert!(!err.is_empty(), "{arguments:?}");
    }
}

#[test]
fn init_writes_a_file_that_passes_and_never_overwrites() {
    let scratch = Scratch::new();
    let (code, out, _) = run(scratch.path(), &["init"]);
    assert_eq!(code, 0, "{out}");
    let (code, out, err) = run(scratch.path(), &["check", "portolan.yaml"]);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    assert!(out.contains("no findings"), "{out}");
    let other = scratch.write("other.yaml", "mine");
    let (code, _, err) = run(scratch.path(), &["init", "other.yaml"]);
    assert_eq!(code, 2);
    assert!(err.contains("is there already"), "{err}");
    assert_eq!(
        std::fs::read_to_string(other).expect("it is still there"),
        "mine"
    );
}

#[test]
fn diff_says_what_a_change_touches() {
    let scratch = Scratch::new();
    let _file = scratch.write("old.yaml", GOOD);
    let _file = scratch.write(
        "new.yaml",
        &GOOD.replace(
            "{service: orders}",
            "{service: orders, timeouts: {idle: 1m}}",
        ),
    );
    let (code, out, _) = run(scratch.path(), &["diff", "old.yaml", "new.yaml"]);
    assert_eq!(code, 0, "{out}");
    for part in [
        "~ upstream orders  (new.yaml:4:3)",
        "timeouts: {\"idle\":\"1m\"} (new)",
        "touches 1 route: shop",
        "1 change; 1 of 1 route touched: shop",
    ] {
        assert!(out.contains(part), "{part} is not in\n{out}");
    }
    let (_, out, _) = run(scratch.path(), &["diff", "old.yaml", "old.yaml"]);
    assert_eq!(out, "no difference\n");
    let (code, out, _) = run(scratch.path(), &["diff", "--json", "old.yaml", "new.yaml"]);
    let difference: serde_json::Value = serde_json::from_str(&out).expect("it is JSON");
    assert_eq!((code, &difference["routes"][0]), (0, &"shop".into()));
}

#[test]
fn diff_to_a_file_with_errors_ends_with_1() {
    let scratch = Scratch::new();
    let _file = scratch.write("old.yaml", GOOD);
    let _file = scratch.write(
        "new.yaml",
        &GOOD.replace("{service: orders}", "{service: orders, colour: red}"),
    );
    let (code, out, _) = run(scratch.path(), &["diff", "old.yaml", "new.yaml"]);
    assert_eq!(code, 1);
    assert!(out.contains("! route shop is set aside"), "{out}");
    let _file = scratch.write("new.yaml", "routes: [");
    let (code, _, err) = run(scratch.path(), &["diff", "old.yaml", "new.yaml"]);
    assert_eq!(code, 1);
    assert!(err.contains("not YAML"), "{err}");
}

#[test]
fn schema_is_json_and_knows_the_plugs() {
    let scratch = Scratch::new();
    let (code, out, _) = run(scratch.path(), &["schema"]);
    let schema: serde_json::Value = serde_json::from_str(&out).expect("it is JSON");
    assert_eq!(code, 0);
    assert_eq!(
        schema["$schema"],
        "https://json-schema.org/draft/2020-12/schema"
    );
    assert!(out.contains("\"rewrite\"") && out.contains("\"dns\""));
}
