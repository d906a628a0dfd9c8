//! Names of fields as the `http` crate has them, without parsing those that we know.

use http::HeaderName;
use portolan_model::http::{Field, Known};

static FORWARDED: HeaderName = http::header::FORWARDED;
static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
static X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
static X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
static X_FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");
static X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
static VIA: HeaderName = http::header::VIA;
static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
static CONTENT_TYPE: HeaderName = http::header::CONTENT_TYPE;
static COOKIE: HeaderName = http::header::COOKIE;
static DATE: HeaderName = http::header::DATE;
static SERVER: HeaderName = http::header::SERVER;

/// The name of a field; `None` if it can't be one.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "only names that many requests have are worth a line"
)]
pub(super) fn name_of(field: &Field<'_>) -> Option<HeaderName> {
    let known = match field.known {
        Known::Forwarded => &FORWARDED,
        Known::XForwardedFor => &X_FORWARDED_FOR,
        Known::XForwardedProto => &X_FORWARDED_PROTO,
        Known::XForwardedHost => &X_FORWARDED_HOST,
        Known::XForwardedPort => &X_FORWARDED_PORT,
        Known::XForwardedPrefix => &X_FORWARDED_PREFIX,
        Known::XRequestId => &X_REQUEST_ID,
        Known::Via => &VIA,
        Known::Traceparent => &TRACEPARENT,
        Known::ContentType => &CONTENT_TYPE,
        Known::Cookie => &COOKIE,
        Known::Date => &DATE,
        Known::Server => &SERVER,
        _ => return HeaderName::from_bytes(field.name.as_bytes()).ok(),
    };
    Some(known.clone())
}

#[cfg(test)]
mod tests {
    use portolan_model::http::Fields;

    use super::*;

    #[test]
    fn known_names_are_the_same_as_parsed_ones() {
        let names = "forwarded x-forwarded-for x-forwarded-proto x-forwarded-host \
                     x-forwarded-port x-forwarded-prefix x-request-id via traceparent \
                     content-type cookie date server max-forwards X-Other";
        let mut fields = Fields::default();
        for name in names.split_ascii_whitespace() {
            fields.push(name, b"1").unwrap();
        }
        for field in fields.iter() {
            let name = name_of(&field).unwrap();
            assert_eq!(name.as_str(), field.name.to_ascii_lowercase());
        }
    }
}
