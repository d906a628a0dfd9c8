//! Claims about reading bodies.

use super::*;

/// All payload of `input`, the trailers' names, and what is left over.
fn decode(mut decoder: BodyDecoder, mut input: &[u8]) -> Result<(Vec<u8>, usize), Refusal> {
    let mut body = Vec::new();
    loop {
        let step = decoder.decode(input)?;
        body.extend_from_slice(&input[step.data]);
        input = &input[step.consumed..];
        if step.end || step.consumed == 0 {
            return Ok((body, input.len()));
        }
    }
}

fn decoder(framing: Framing) -> BodyDecoder {
    BodyDecoder::new(framing, None, &HeadLimits::default())
}

#[test]
fn a_body_ends_before_the_next_message() {
    for (framing, input, body) in [
        (Framing::None, "next", ""),
        (Framing::Length(0), "next", ""),
        (Framing::Length(2), "abnext", "ab"),
        (Framing::Chunked, "0\r\n\r\nnext", ""),
        (Framing::Chunked, "000\r\n\r\nnext", ""),
        (
            Framing::Chunked,
            "2\r\nab\r\n0A;x=y\r\n0123456789\r\n0\r\nX-A: b\r\n\r\nnext",
            "ab0123456789",
        ),
        (Framing::Chunked, "2 \t;a = b\r\nab\r\n0 \r\n\r\nnext", "ab"),
    ] {
        let step = decode(decoder(framing), input.as_bytes());
        assert_eq!(
            step,
            Ok((body.as_bytes().to_vec(), "next".len())),
            "{input:?}"
        );
    }
}

#[test]
fn a_body_in_one_chunk_is_one_step() {
    let mut decoder = decoder(Framing::Chunked);
    let step = decoder.decode(b"5\r\nhello\r\n0\r\n\r\n").unwrap();
    assert_eq!(
        step,
        Decoded {
            consumed: 15,
            data: 3..8,
            end: true
        }
    );
    assert!(decoder.is_end());
    let again = decoder.decode(b"next").unwrap();
    assert_eq!(
        again,
        Decoded {
            consumed: 0,
            data: 0..0,
            end: true
        }
    );
}

#[test]
fn a_step_stops_before_the_second_run_of_data() {
    let mut decoder = decoder(Framing::Chunked);
    let step = decoder.decode(b"2\r\nab\r\n2\r\ncd\r\n").unwrap();
    assert_eq!(
        step,
        Decoded {
            consumed: 10,
            data: 3..5,
            end: false
        }
    );
}

#[test]
fn bodies_without_content_end_at_once() {
    assert!(decoder(Framing::None).is_end());
    assert!(decoder(Framing::Length(0)).is_end());
    assert!(!decoder(Framing::Length(1)).is_end());
    assert!(!decoder(Framing::Chunked).is_end());
}

#[test]
fn the_end_of_the_connection_ends_only_what_it_may() {
    let limits = HeadLimits::default();
    for framing in [Framing::Length(1), Framing::Chunked] {
        let cause = decoder(framing)
            .finish_at_eof()
            .map_err(|refusal| refusal.cause);
        assert_eq!(cause, Err(Cause::RequestMalformed));
        let mut decoder = BodyDecoder::of_response(framing, &limits);
        let cause = decoder.finish_at_eof().map_err(|refusal| refusal.cause);
        assert_eq!(cause, Err(Cause::ResponseIncomplete));
    }
    let mut decoder = BodyDecoder::of_response(Framing::UntilClose, &limits);
    let step = decoder.decode(b"ab").unwrap();
    assert_eq!(
        step,
        Decoded {
            consumed: 2,
            data: 0..2,
            end: false
        }
    );
    assert_eq!((decoder.finish_at_eof(), decoder.is_end()), (Ok(()), true));
}

#[test]
fn trailers_that_belong_into_a_head_are_dropped() {
    let mut decoder = decoder(Framing::Chunked);
    let input = concat!(
        "0\r\nX-Sum: 1\r\nAuthorization: a\r\nX-Forwarded-For: b\r\nSet-Cookie: c\r\nCookie: d\r\n",
        "Content-Type: e\r\nContent-Encoding: f\r\nConnection: g\r\nTE: h\r\nUpgrade: i\r\n",
        "grpc-status:0\r\nVia: j\r\n\r\n",
    );
    assert!(decoder.decode(input.as_bytes()).unwrap().end);
    assert_eq!(
        *decoder.trailers(),
        fields(&[("X-Sum", "1"), ("grpc-status", "0")])
    );
}

#[test]
fn a_cut_line_of_trailers_is_left_for_the_next_step() {
    let mut decoder = decoder(Framing::Chunked);
    let step = decoder.decode(b"0\r\nX-A: b\r\nX-B").unwrap();
    assert_eq!(
        step,
        Decoded {
            consumed: 11,
            data: 0..0,
            end: false
        }
    );
    assert_eq!(decoder.decode(b"X-B: c").unwrap().consumed, 0);
    assert!(decoder.decode(b"X-B: c\r\n\r\n").unwrap().end);
    assert_eq!(names(decoder.trailers()), ["X-A", "X-B"]);
}

#[test]
fn flaws_are_the_fault_of_who_sent_them() {
    for input in ["x\r\n", "1\r\nab", "0\r\nHost: a\r\n\r\n"] {
        let limits = HeadLimits::default();
        let flaw = decode(decoder(Framing::Chunked), input.as_bytes()).unwrap_err();
        assert_eq!(flaw.cause, Cause::RequestMalformed, "{input:?}");
        let decoder = BodyDecoder::of_response(Framing::Chunked, &limits);
        let flaw = decode(decoder, input.as_bytes()).unwrap_err();
        assert_eq!(flaw.cause, Cause::ResponseMalformed, "{input:?}");
    }
}

#[test]
fn bodies_are_bounded() {
    for (framing, input) in [
        (Framing::Length(4), "abcd"),
        (Framing::Chunked, "2\r\nab\r\n2\r\ncd\r\n0\r\n\r\n"),
        (Framing::UntilClose, "abcd"),
    ] {
        let bounded = |max| {
            let decoder = BodyDecoder::new(framing, Some(max), &HeadLimits::default());
            decode(decoder, input.as_bytes()).map(|(body, _)| body)
        };
        assert_eq!(bounded(4), Ok(b"abcd".to_vec()), "{framing:?}");
        assert_eq!(
            bounded(3).unwrap_err().cause,
            Cause::BodyTooLarge,
            "{framing:?}"
        );
    }
}
