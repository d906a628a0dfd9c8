//! Text from anybody: nothing panics, everything ends.

use std::fmt::Write;

use proptest::prelude::*;

use super::*;
use crate::{TEXT_BYTES_MAX, table::FILE};

/// Pieces of configurations, to be put together wrongly.
fn piece() -> impl Strategy<Value = String> {
    let words: Vec<String> = FILE
        .fields
        .iter()
        .map(|field| field.name)
        .chain([
            "a",
            "service",
            "target",
            "match",
            "prefix",
            "tls",
            "still",
            "mark",
            "level",
            "/x",
            "127.0.0.1:1",
            "{",
            "}",
            "[",
            "]",
            ": ",
            "\n",
            "\n  ",
            "\n    ",
            "- ",
            "&a",
            "*a",
            "'",
            "\"",
            "${env:PORT}",
            "${",
            "|\n",
            "# ",
            "null",
            "1",
            "é",
            "\t",
            "---\n",
            "!x ",
            ", ",
            "<<",
            "\u{feff}",
        ])
        .map(str::to_owned)
        .collect();
    proptest::sample::select(words)
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in ".{0,200}") {
        let (plan, findings) = reading(&text);
        prop_assert!(plan.is_some() || !findings.is_empty());
    }

    #[test]
    fn any_mixture_is_read_or_refused(pieces in proptest::collection::vec(piece(), 0..60)) {
        let text = pieces.concat();
        let (plan, findings) = reading(&text);
        prop_assert!(plan.is_some() || !findings.is_empty());
        for finding in findings {
            if let crate::Origin::File { span, .. } = finding.origin {
                prop_assert!(text.get(span).is_some());
            }
        }
    }
}

#[test]
fn a_text_over_the_limit_is_refused_as_one_finding() {
    refused(&"#".repeat(TEXT_BYTES_MAX + 1), "bytes");
}

#[test]
fn a_mark_of_byte_order_is_no_part_of_the_text() {
    assert!(plan("\u{feff}guard: {share: 3}").guard.share_percent == 3);
    let (_, findings) = reading("\u{feff}gard: {}");
    let crate::Origin::File { span, .. } = &findings[0].origin else {
        panic!()
    };
    assert_eq!(&"\u{feff}gard: {}"[span.clone()], "gard");
}

#[test]
fn many_objects_are_read_in_little_time() {
    let mut text = "upstreams: {u: {service: s}}\nroutes:\n".to_owned();
    for route in 0..5000 {
        let _infallible = writeln!(
            text,
            "  r{route}: {{match: {{prefix: /p{route}}}, target: u}}"
        );
    }
    assert_eq!(plan(&text).routes.len(), 5000);
}
