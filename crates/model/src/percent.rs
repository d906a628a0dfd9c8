//! Percent-encoding (RFC 3986, section 2.1), with every set of bytes that we encode.

use std::borrow::Cow;

use percent_encoding::{
    AsciiSet, CONTROLS, NON_ALPHANUMERIC, percent_decode, percent_decode_str, utf8_percent_encode,
};

/// All but the unreserved characters of RFC 3986, section 2.3.
const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');
/// What would end the target in the first line of a request, or break it.
const TARGET: &AsciiSet = &CONTROLS.add(b' ');
/// Source: gRPC over HTTP/2, `Percent-Encoded`.
const GRPC_MESSAGE: &AsciiSet = &CONTROLS.add(b'%');

/// A text as one segment of a path, or as a name or value of a query or form: all but the
/// unreserved characters is encoded, a slash and a space (`%20`) too.
#[must_use]
pub fn encode_component(text: &str) -> Cow<'_, str> {
    utf8_percent_encode(text, COMPONENT).into()
}

/// A path and query that somebody wrote, escapes included: only what is no visible character of
/// ASCII is encoded.
#[must_use]
pub fn encode_target(text: &str) -> Cow<'_, str> {
    utf8_percent_encode(text, TARGET).into()
}

/// A text as the value of `grpc-message`; spaces stay.
#[must_use]
pub fn encode_grpc_message(text: &str) -> Cow<'_, str> {
    utf8_percent_encode(text, GRPC_MESSAGE).into()
}

/// Undoes percent-encoding; `+` stays. None if there is a `%` without two hexadecimal digits, or
/// the bytes are not UTF-8.
#[must_use]
pub fn decode(text: &str) -> Option<Cow<'_, str>> {
    if !text.as_bytes().contains(&b'%') {
        return Some(Cow::Borrowed(text));
    }
    let mut after_percents = text.as_bytes().split(|byte| *byte == b'%').skip(1);
    let is_sound = after_percents.all(|piece| {
        let digits = piece.get(..2);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    });
    let decoded = is_sound.then(|| percent_decode_str(text).decode_utf8());
    decoded?.ok()
}

/// The bytes of a text of which not much can be expected: a `%` without two hexadecimal digits
/// stands for itself.
pub fn decode_loosely(text: &[u8]) -> impl Iterator<Item = u8> {
    percent_decode(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every ASCII character that stays as it is.
    fn kept(encode: fn(&str) -> Cow<'_, str>) -> String {
        let all = (0..=0x7f_u8).map(char::from);
        all.filter(|character| {
            let alone = character.to_string();
            let encoded = encode(&alone);
            assert!(
                encoded == alone || encoded == format!("%{:02X}", u32::from(*character)),
                "{encoded}"
            );
            encoded == alone
        })
        .collect()
    }

    #[test]
    fn a_component_keeps_the_unreserved_characters_only() {
        assert_eq!(
            kept(encode_component),
            "-.0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz~"
        );
        assert_eq!(encode_component("a/b c+ü"), "a%2Fb%20c%2B%C3%BC");
        assert_eq!(encode_component("a?b#c%~&d=@"), "a%3Fb%23c%25~%26d%3D%40");
        assert!(matches!(encode_component("a-b"), Cow::Borrowed("a-b")));
    }

    #[test]
    fn a_target_keeps_what_is_visible() {
        let visible: String = ('!'..='~').collect();
        assert_eq!(kept(encode_target), visible);
        assert_eq!(encode_target("/a b%20?ü#\u{7f}"), "/a%20b%20?%C3%BC#%7F");
    }

    #[test]
    fn a_message_of_grpc_keeps_all_but_percents_and_what_is_not_printable() {
        let printable: String = (' '..='~').filter(|c| *c != '%').collect();
        assert_eq!(kept(encode_grpc_message), printable);
        assert_eq!(encode_grpc_message("50 % ü\n"), "50 %25 %C3%BC%0A");
    }

    #[test]
    fn what_was_encoded_is_decoded() {
        let all: String = (0..=0x7f_u8).map(char::from).chain("ü€".chars()).collect();
        for encode in [encode_component, encode_grpc_message] {
            let encoded = encode(&all);
            assert_eq!(decode(&encoded).as_deref(), Some(&*all));
            assert!(decode_loosely(encoded.as_bytes()).eq(all.bytes()));
        }
        assert_eq!(decode("a%2fb%2Fc+d").as_deref(), Some("a/b/c+d"));
        assert!(matches!(decode("ü"), Some(Cow::Borrowed("ü"))));
    }

    #[test]
    fn what_is_no_encoding_is_refused_or_stands_for_itself() {
        for bad in [
            "%", "a%f", "%zz", "%+f", "%%41", "%4%41", "%4ü", "%ff", "%C3",
        ] {
            assert_eq!(decode(bad), None, "{bad}");
        }
        for (text, bytes) in [
            ("%", &b"%"[..]),
            ("a%4", b"a%4"),
            ("%zz%41", b"%zzA"),
            ("%+f", b"%+f"),
            ("%%41", b"%A"),
            ("%ff", b"\xff"),
        ] {
            assert!(
                decode_loosely(text.as_bytes()).eq(bytes.iter().copied()),
                "{text}"
            );
        }
    }
}
