//! What holds for all messages.

use portolan_model::http::Version;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn field() -> impl Strategy<Value = (String, String)> {
    (
        "x-[a-zA-Z0-9!#$%&'*+.^_`|~-]{0,12}",
        "([!-~][ -~\t]{0,20}[!-~])?",
    )
}

fn framing() -> impl Strategy<Value = Framing> {
    prop_oneof![
        Just(Framing::None),
        (0..=i64::MAX.cast_unsigned()).prop_map(Framing::Length),
        Just(Framing::Chunked),
    ]
}

fn listed(list: &[(String, String)]) -> Fields {
    let list: Vec<_> = list
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    fields(&list)
}

/// Decodes `input` as it arrives in pieces of these sizes, over and over.
fn decode(input: &[u8], pieces: &[usize]) -> Result<(Vec<u8>, Fields, usize), Refusal> {
    let mut decoder = BodyDecoder::new(Framing::Chunked, None, &HeadLimits::default());
    let (mut body, mut used, mut arrived) = (Vec::new(), 0, 0);
    let mut pieces = pieces.iter().cycle();
    while !decoder.is_end() {
        let step = decoder.decode(&input[used..arrived])?;
        body.extend_from_slice(&input[used..arrived][step.data]);
        used = used.saturating_add(step.consumed);
        if step.consumed == 0 && !step.end {
            assert!(arrived < input.len(), "the body does not end");
            arrived = input
                .len()
                .min(arrived.saturating_add(*pieces.next().unwrap()));
        }
    }
    Ok((body, decoder.trailers().clone(), used))
}

proptest! {
    #[test]
    fn a_written_request_is_read_as_meant(
        list in vec(field(), 0..12),
        body in framing(),
        close in any::<bool>(),
        path in "/[a-zA-Z0-9/_~-]{0,20}(\\?[!-\"$-~]{0,20})?",
    ) {
        let mut head = RequestHead { method: Method::Delete, fields: listed(&list), ..RequestHead::default() };
        head.authority.push_str("shop.example:8080");
        head.target.set(path.as_bytes()).unwrap();
        let wanted = if close { Wanted::Close } else { Wanted::KeepAlive };
        let mut out = Vec::new();
        write_request(&mut out, &head, body, wanted, false);
        let head_bytes = out.len();
        out.extend_from_slice(b"what follows");
        let (read, info) = try_request(&out, &HeadLimits::default()).unwrap();
        prop_assert_eq!((&read.method, &read.authority, &read.target), (&head.method, &head.authority, &head.target));
        prop_assert_eq!(&read.fields, &head.fields);
        prop_assert_eq!((info.framing, info.head_bytes), (body, head_bytes));
        prop_assert_eq!(info.persistence == Persistence::Close, close);
    }

    #[test]
    fn a_written_response_is_read_as_meant(
        list in vec(field(), 0..12),
        body in framing(),
        status in 200_u16..600,
        close in any::<bool>(),
    ) {
        prop_assume!(status != 204 && status != 304 && body != Framing::None);
        let status = portolan_model::http::Status::new(status).unwrap();
        let head = ResponseHead { status, fields: listed(&list), ..ResponseHead::default() };
        let wanted = if close { Wanted::Close } else { Wanted::KeepAlive };
        let mut out = Vec::new();
        write_response(&mut out, &head, body, None, wanted, Version::Http11);
        let (read, info) = try_response(&out, &Method::Get, &HeadLimits::default()).unwrap();
        prop_assert_eq!((read.status, &read.fields), (head.status, &head.fields));
        prop_assert_eq!((info.framing, info.head_bytes), (body, out.len()));
        prop_assert_eq!(info.persistence == Persistence::Close, close);
    }

    #[test]
    fn written_chunks_are_read_whole_and_in_any_pieces(
        chunks in vec(vec(any::<u8>(), 1..40), 0..6),
        list in vec(field(), 0..4),
        pieces in vec(1_usize..9, 1..8),
    ) {
        let trailers = listed(&list);
        let mut out = Vec::new();
        for chunk in &chunks {
            write_chunk_head(&mut out, chunk.len());
            out.extend_from_slice(chunk);
            out.extend_from_slice(CHUNK_TAIL);
        }
        write_last_chunk(&mut out, &trailers);
        let body_bytes = out.len();
        out.extend_from_slice(b"what follows");
        let expected = (chunks.concat(), trailers, body_bytes);
        prop_assert_eq!(decode(&out, &[usize::MAX >> 1]), Ok(expected.clone()));
        prop_assert_eq!(decode(&out, &pieces), Ok(expected));
    }

    #[test]
    fn no_input_makes_the_parsers_fail(input in vec(any::<u8>(), 0..200)) {
        let limits = HeadLimits::default();
        let _ = parse_request(&input, &limits, Scheme::Http, &mut RequestHead::default());
        let _ = parse_response(&input, &limits, &Method::Get, &mut ResponseHead::default());
        let mut decoder = BodyDecoder::new(Framing::Chunked, None, &limits);
        let _ = decoder.decode(&input);
    }
}
