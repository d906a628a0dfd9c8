//! Claims about fields.

use super::*;

#[test]
fn fields_keep_order_and_ignore_case() {
    let mut fields = Fields::default();
    fields.push("Host", b"a").unwrap();
    fields.push("X-A", b"1").unwrap();
    fields.push("x-a", b"2").unwrap();
    assert_eq!(fields.known(Known::Host), Some(&b"a"[..]));
    assert_eq!(fields.get_all("X-a").collect::<Vec<_>>(), [b"1", b"2"]);
    fields.set("x-A", b"3").unwrap();
    assert_eq!(fields.get_all("x-a").collect::<Vec<_>>(), [b"3"]);
    assert!(fields.remove_known(Known::Host));
    assert!(!fields.remove("host"));
}

#[test]
fn known_names_are_recognised_in_any_case() {
    for known in Known::ALL {
        let name = known.as_str();
        assert_eq!(Known::of(name), *known);
        assert_eq!(Known::of(&name.to_ascii_uppercase()), *known);
        assert_eq!(Known::of(&format!("{name}x")), Known::Other);
    }
    for name in ["", "a", "Hosts", "x-forwarded-fox", "\u{e4}\u{20ac}"] {
        assert_eq!(Known::of(name), Known::Other, "{name}");
    }
}

#[test]
fn a_known_field_is_added_without_its_name() {
    let mut fields = Fields::default();
    fields.push("X-A", b"1").unwrap();
    fields.push_known(Known::Via, &[b"2 ", b"", b"us"]).unwrap();
    fields.push("x-b", b"2").unwrap();
    let lines: Vec<_> = fields
        .iter()
        .map(|field| (field.name, field.value))
        .collect();
    let expected: [(&str, &[u8]); 3] = [("X-A", b"1"), ("via", b"2 us"), ("x-b", b"2")];
    assert_eq!(lines, expected);
    assert_eq!(fields.get("Via"), Some(&b"2 us"[..]));
    assert!(fields.remove("VIA"));
    let nameless = fields.push_known(Known::Other, &[b"1"]);
    assert_eq!(nameless, Err(FieldError::Name));
    assert_eq!(fields.len(), 2);
}

#[test]
fn what_would_split_a_head_is_refused() {
    let mut fields = Fields::default();
    assert_eq!(fields.push("a b", b""), Err(FieldError::Name));
    assert_eq!(fields.push("", b""), Err(FieldError::Name));
    for bad in [&b"a\r\nb: c"[..], b"a\0", b" a", b"a\t", b"\x7f"] {
        assert_eq!(fields.push("a", bad), Err(FieldError::Value), "{bad:?}");
    }
    assert!(fields.push("a", "grüße\tx".as_bytes()).is_ok());
}

/// What is written of them, but for the hop's.
fn written(fields: &Fields) -> String {
    let mut out = Vec::new();
    fields.write(&mut out, HOP);
    String::from_utf8_lossy(&out).into_owned()
}

const HOP: KnownSet = KnownSet::of(&[Known::Host, Known::Connection]);

/// The fields of a head whose lines are given in four parts: name, blanks, value, blanks.
fn kept(lines: &[[&str; 4]]) -> Fields {
    let mut fields = Fields::default();
    fields.push("x-before", b"0").unwrap();
    let text =
        |[name, before, value, after]: &[&str; 4]| format!("{name}:{before}{value}{after}\r\n");
    let head: String = lines.iter().map(text).collect();
    let mut at = fields.keep(head.as_bytes()).unwrap();
    for line in lines {
        let [name, _, value, _] = line;
        if !HOP.has(Known::of(name)) {
            fields
                .push_kept(Known::of(name), at, name, value.as_bytes())
                .unwrap();
        }
        at += text(line).len();
    }
    fields
}

#[test]
fn lines_as_they_came_are_written_with_one_blank() {
    for line in [
        ["X-A", " ", "b", ""],
        ["X-A", "  ", "b", ""],
        ["X-A", "\t", "b", ""],
        ["X-A", "", "b", ""],
        ["X-A", " ", "b", " "],
        ["X-A", "", "b", "\t "],
        ["X-A", " ", "", ""],
        ["X-A", "", "", ""],
        ["X-A", "   ", "", ""],
        ["X-A", " ", "a: b", ""],
        ["X-A", " ", "gr\u{fc}\u{df}e\tx", ""],
        ["Via", " ", "1.1 a", ""],
    ] {
        let [name, _, value, _] = line;
        let around = ["Date", " ", "now", ""];
        let fields = kept(&[around, line, around]);
        let field = fields.iter().nth(2).unwrap();
        assert_eq!((field.name, field.value), (name, value.as_bytes()));
        assert_eq!(fields.get(&name.to_ascii_lowercase()), Some(field.value));
        let expected = format!("x-before: 0\r\nDate: now\r\n{name}: {value}\r\nDate: now\r\n");
        assert_eq!(written(&fields), expected, "{line:?}");
    }
}

#[test]
fn what_is_no_field_leaves_no_trace_in_what_is_written() {
    let mut fields = kept(&[
        ["Host", " ", "a", ""],
        ["X-A", " ", "1", ""],
        ["Connection", "  ", "x", ""],
        ["X-B", " ", "2", ""],
        ["Via", "", "3", ""],
    ]);
    assert_eq!(
        written(&fields),
        "x-before: 0\r\nX-A: 1\r\nX-B: 2\r\nVia: 3\r\n"
    );
    assert!(!fields.may_have(HOP));
    assert!(fields.remove("x-a") && fields.remove_known(Known::Via));
    assert_eq!((fields.get("x-a"), fields.known(Known::Via)), (None, None));
    assert_eq!(written(&fields), "x-before: 0\r\nX-B: 2\r\n");
    fields.push("x-A", b"4").unwrap();
    fields.push_known(Known::Via, &[b"5"]).unwrap();
    assert_eq!(
        written(&fields),
        "x-before: 0\r\nX-B: 2\r\nx-A: 4\r\nvia: 5\r\n"
    );
    assert!(fields.retain(|field| field.known == Known::Via));
    assert_eq!(written(&fields), "via: 5\r\n");
    assert_eq!(written(&fields.clone()), "via: 5\r\n");
    fields.clear();
    assert_eq!(
        (written(&fields).as_str(), fields.may_have(HOP)),
        ("", false)
    );
    fields.push("X-C", b"6").unwrap();
    assert_eq!(written(&fields), "X-C: 6\r\n");
}

#[test]
fn fields_that_are_skipped_are_not_written_wherever_they_stand() {
    let mut fields = Fields::default();
    for name in [
        "Host",
        "X-A",
        "connection",
        "HOST",
        "X-B",
        "X-C",
        "Connection",
    ] {
        fields.push(name, b"1").unwrap();
    }
    assert!(fields.may_have(HOP));
    assert_eq!(written(&fields), "X-A: 1\r\nX-B: 1\r\nX-C: 1\r\n");
    assert!(fields.remove_known(HOP));
    assert!(!fields.remove_known(HOP));
    assert_eq!(written(&fields), "X-A: 1\r\nX-B: 1\r\nX-C: 1\r\n");
}

#[test]
fn values_may_be_any_bytes_but_controls() {
    let mut fields = Fields::default();
    fields.push("x-a", b"\x80\xff").unwrap();
    let mut out = Vec::new();
    fields.write(&mut out, HOP);
    assert_eq!(out, b"x-a: \x80\xff\r\n");
}

#[test]
fn a_stencil_adds_what_is_added_one_by_one() {
    let stencil = Stencil::default()
        .with(Known::Server, &["a", "b"])
        .with_gap(Known::Host, &[], &[])
        .with_gap(Known::Forwarded, &["for=\""], &["\";proto=", "http"])
        .with(Known::Date, &[])
        .with_gap(Known::Via, &[], &[" us"]);
    let gaps: [&[u8]; 3] = [b"shop", b"", b"1.1"];
    let mut filled = Fields::default();
    filled.push("x-a", b"1").unwrap();
    let mut pushed = filled.clone();
    for _ in 0..2 {
        filled.push_stencil(&stencil, &gaps).unwrap();
        pushed.push_known(Known::Server, &[b"ab"]).unwrap();
        pushed.push_known(Known::Host, &[b"shop"]).unwrap();
        let element = b"for=\"\";proto=http";
        pushed.push_known(Known::Forwarded, &[element]).unwrap();
        pushed.push_known(Known::Date, &[]).unwrap();
        pushed.push_known(Known::Via, &[b"1.1 us"]).unwrap();
    }
    assert_eq!(filled, pushed);
    assert_eq!(written(&filled), written(&pushed));
    assert_eq!(filled.known(Known::Via), Some(&b"1.1 us"[..]));
    let few = filled.push_stencil(&stencil, &[]);
    assert_eq!((few, filled.len()), (Ok(()), 16));
}

#[test]
fn fields_have_room_for_so_many_bytes_and_no_more() {
    let most = vec![b'x'; TEXT_BYTES_MAX - "date: \r\na: \r\n".len()];
    let mut fields = Fields::default();
    fields.push_known(Known::Date, &[]).unwrap();
    let mut more = most.clone();
    more.push(b'x');
    assert_eq!(fields.push("a", &more), Err(FieldError::TooLarge));
    let value: [&[u8]; 2] = [&most, b"1234567890"];
    let known = fields.push_known(Known::Via, &value);
    assert_eq!(known, Err(FieldError::TooLarge));
    assert_eq!((fields.push("a", &most), fields.len()), (Ok(()), 2));
    assert_eq!(fields.keep(b"b"), Err(FieldError::TooLarge));
    assert_eq!(fields.push("b", b""), Err(FieldError::TooLarge));
    let stencil = Stencil::default().with(Known::Via, &[]);
    let filled = fields.push_stencil(&stencil, &[]);
    assert_eq!((filled, fields.len()), (Err(FieldError::TooLarge), 2));
}

#[test]
fn what_a_large_head_took_is_given_back() {
    let mut fields = Fields::default();
    fields.push("x-a", b"1").unwrap();
    fields.clear();
    let usual = fields.text.capacity();
    assert!(usual > 0);
    fields.push("x-a", &[b'v'; KEPT_BYTES_MAX]).unwrap();
    fields.clear();
    assert_eq!((fields.text.capacity(), fields.lines.capacity()), (0, 0));
    fields.push("x-a", b"2").unwrap();
    assert_eq!(fields.get("x-a"), Some(&b"2"[..]));
}
