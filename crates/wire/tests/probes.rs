//! Every probe has its outcome, however it is cut up on the way.

#[expect(unreachable_pub, reason = "the fuzz targets export it")]
mod common;

use common::probes::{REQUESTS, RESPONSES};
use common::{read_request, read_response};
use portolan_model::http::Method;
use portolan_wire::h1::HeadLimits;

#[test]
fn every_request_probe_has_its_outcome() {
    for probe in REQUESTS {
        for step in [usize::MAX, 1, 2, 3, 7] {
            let outcome = read_request(probe.bytes, &HeadLimits::default(), step);
            assert_eq!(
                outcome.cause(),
                probe.refused,
                "{}, by {step}: {outcome:?}",
                probe.name
            );
            if probe.refused.is_none() {
                assert_eq!(
                    outcome.complete().bytes,
                    probe.bytes.len(),
                    "{}",
                    probe.name
                );
            }
        }
    }
}

#[test]
fn every_response_probe_has_its_outcome() {
    for probe in RESPONSES {
        for step in [usize::MAX, 1, 2, 3, 7] {
            let limits = HeadLimits::default();
            let outcome = read_response(probe.bytes, &Method::Get, &limits, step);
            assert_eq!(
                outcome.cause(),
                probe.refused,
                "{}, by {step}: {outcome:?}",
                probe.name
            );
            if probe.refused.is_none() {
                assert_eq!(
                    outcome.complete().bytes,
                    probe.bytes.len(),
                    "{}",
                    probe.name
                );
            }
        }
    }
}
