//! What the DNS server counted, as the exposition shows it.

use super::{expose::Page, families};

/// What the DNS server counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DnsFacts {
    /// Answers by type and code.
    pub answers: Vec<(&'static str, &'static str, u64)>,
    /// Queries without a full answer, by why.
    pub dropped: Vec<(&'static str, u64)>,
    /// Queries for names of others, by what became of them.
    pub forwarded: Vec<(&'static str, u64)>,
    /// Questions to recursors whose answers are remembered.
    pub remembered: usize,
    /// Recursors that answer.
    pub recursors: usize,
    /// Answers that were cut.
    pub truncated: u64,
    /// Answers by the seconds that they took at most; each counts in one bucket.
    pub latency: Vec<(&'static str, u64)>,
    /// Microseconds that all of them took together.
    pub latency_micros: u64,
}

pub(super) fn show(page: &mut Page<'_>, facts: &DnsFacts) {
    page.family(families::DNS_ANSWERS);
    for (kind, code, count) in &facts.answers {
        let labels = format!("type=\"{kind}\",code=\"{code}\"");
        page.labelled(families::DNS_ANSWERS, &labels, count);
    }
    page.family(families::DNS_DROPPED);
    for (why, count) in &facts.dropped {
        page.labelled(families::DNS_DROPPED, &format!("reason=\"{why}\""), count);
    }
    page.single(families::DNS_TRUNCATED, facts.truncated);
    page.family(families::DNS_FORWARDED);
    for (outcome, count) in &facts.forwarded {
        let labels = format!("outcome=\"{outcome}\"");
        page.labelled(families::DNS_FORWARDED, &labels, count);
    }
    page.single(families::DNS_REMEMBERED, facts.remembered);
    page.single(families::DNS_RECURSORS, facts.recursors);
    page.family(families::DNS_DURATION);
    let mut below = 0_u64;
    for (bound, count) in &facts.latency {
        below += count;
        page.suffixed(
            families::DNS_DURATION,
            &format!("_bucket{{le=\"{bound}\"}}"),
            below,
        );
    }
    let (whole, rest) = (
        facts.latency_micros / 1_000_000,
        facts.latency_micros % 1_000_000,
    );
    page.suffixed(families::DNS_DURATION, "_sum", format!("{whole}.{rest:06}"));
    page.suffixed(families::DNS_DURATION, "_count", below);
}
