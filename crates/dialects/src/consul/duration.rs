//! Spans of time as Go writes them: `1m30s`, `100ms`, `1.5h`.

use std::{fmt::Write as _, time::Duration};

const NANOS_A_SECOND: u128 = 1_000_000_000;

/// Reads `300ms`, `1.5h`, `1h2m3s` or `0`; spans below zero are refused.
#[must_use]
pub fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    if rest.is_empty() {
        return None;
    }
    let mut nanos: u128 = 0;
    while !rest.is_empty() {
        let (whole, tail) = digits(rest);
        let (fraction, tail) = match tail.strip_prefix('.') {
            Some(tail) => digits(tail),
            None => ("", tail),
        };
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let end = tail.find(|c: char| c.is_ascii_digit() || c == '.');
        let (unit, tail) = tail.split_at(end.unwrap_or(tail.len()));
        let scale: u128 = match unit {
            "ns" => 1,
            "us" | "\u{b5}s" | "\u{3bc}s" => 1000,
            "ms" => 1_000_000,
            "s" => NANOS_A_SECOND,
            "m" => NANOS_A_SECOND.checked_mul(60)?,
            "h" => NANOS_A_SECOND.checked_mul(3600)?,
            _ => return None,
        };
        let whole: u128 = if whole.is_empty() {
            0
        } else {
            whole.parse().ok()?
        };
        nanos = nanos
            .checked_add(whole.checked_mul(scale)?)?
            .checked_add(part(fraction, scale)?)?;
        rest = tail;
    }
    // Go keeps a span in 63 bits.
    let nanos = i64::try_from(nanos).ok()?;
    Some(Duration::from_nanos(nanos.unsigned_abs()))
}

fn digits(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit());
    text.split_at(end.unwrap_or(text.len()))
}

/// The digits after the point as a share of the unit, rounded down.
fn part(fraction: &str, scale: u128) -> Option<u128> {
    let fraction = fraction.get(..fraction.len().min(15))?;
    if fraction.is_empty() {
        return Some(0);
    }
    let count = u32::try_from(fraction.len()).ok()?;
    let value: u128 = fraction.parse().ok()?;
    value
        .checked_mul(scale)?
        .checked_div(10_u128.checked_pow(count)?)
}

/// Writes a span as Go does: `1m30s`, `1h0m0s`, `100ms`, `0s`.
#[must_use]
pub fn write_duration(span: Duration) -> String {
    let nanos = span.as_nanos();
    if nanos == 0 {
        return "0s".to_owned();
    }
    if nanos < NANOS_A_SECOND {
        return small(nanos);
    }
    let seconds = span.as_secs();
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    let mut text = String::new();
    // Writing to a string can't fail.
    if hours > 0 {
        let _written = write!(text, "{hours}h");
    }
    if seconds >= 60 {
        let _written = write!(text, "{minutes}m");
    }
    let _written = write!(text, "{}", seconds % 60);
    fraction(&mut text, u128::from(span.subsec_nanos()), 9);
    text.push('s');
    text
}

fn small(nanos: u128) -> String {
    let (scale, places, unit) = match nanos {
        0..1000 => (1, 0, "ns"),
        1000..1_000_000 => (1000, 3, "\u{b5}s"),
        _ => (1_000_000, 6, "ms"),
    };
    let whole = nanos.checked_div(scale).unwrap_or(0);
    let mut text = whole.to_string();
    fraction(&mut text, nanos.checked_rem(scale).unwrap_or(0), places);
    text.push_str(unit);
    text
}

fn fraction(text: &mut String, value: u128, places: usize) {
    if value > 0 {
        let digits = format!("{value:0places$}");
        text.push('.');
        text.push_str(digits.trim_end_matches('0'));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn spans_read_as_go_writes_them() {
        let cases = [
            ("0", 0),
            ("100ms", 100_000_000),
            ("1.5h", 5_400_000_000_000),
            ("1h2m3s", 3_723_000_000_000),
            (".5s", 500_000_000),
            ("10us", 10_000),
            ("+3ns", 3),
        ];
        for (text, nanos) in cases {
            let span = Some(Duration::from_nanos(nanos));
            assert_eq!(parse_duration(text), span, "{text}");
        }
        for bad in ["", "5", "s", "-1s", "1 s", "1d", ".s", "9999999999h", "+"] {
            assert_eq!(parse_duration(bad), None, "{bad}");
        }
    }

    #[test]
    fn spans_print_as_go_prints_them() {
        let cases = [
            (0, "0s"),
            (90_000_000_000, "1m30s"),
            (3_600_000_000_000, "1h0m0s"),
            (100_000_000, "100ms"),
            (1_500_000_000, "1.5s"),
            (1500, "1.5\u{b5}s"),
        ];
        for (nanos, text) in cases {
            assert_eq!(write_duration(Duration::from_nanos(nanos)), text);
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_the_same(nanos in 0_u64..=i64::MAX.unsigned_abs()) {
            let span = Duration::from_nanos(nanos);
            prop_assert_eq!(parse_duration(&write_duration(span)), Some(span));
        }
    }
}
