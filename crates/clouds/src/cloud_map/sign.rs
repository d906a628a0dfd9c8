//! AWS Signature Version 4. Pure.
//!
//! Source: "Create a signed AWS API request", AWS General Reference; its test vectors are
//! among the tests.

use std::fmt::Write as _;

use portolan_model::Timestamp;
use ring::{digest, hmac};

use super::settings::Keys;

/// What is signed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Signable<'a> {
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    /// Pairs in order, encoded already.
    pub(super) query: &'a str,
    /// Fields by their names in lower case, in order, the host and the date among them.
    pub(super) fields: &'a [(&'a str, &'a str)],
    pub(super) body: &'a [u8],
}

/// Whom a signature is for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scope<'a> {
    pub(super) region: &'a str,
    pub(super) service: &'a str,
}

/// The time as `20150830T123600Z`.
pub(super) fn stamp(at: Timestamp) -> String {
    let text = at.to_string();
    let seconds = text.split(['.', 'Z']).next().unwrap_or_default();
    let digits = seconds.chars().filter(|c| !matches!(c, '-' | ':'));
    digits.chain(['Z']).collect()
}

/// What the field `Authorization` says; `date` is that of [`stamp`], and among the fields.
pub(super) fn authorization(
    keys: &Keys,
    scope: Scope<'_>,
    signable: Signable<'_>,
    date: &str,
) -> String {
    let day = date.split('T').next().unwrap_or_default();
    let place = format!("{day}/{}/{}/aws4_request", scope.region, scope.service);
    let names: Vec<_> = signable.fields.iter().map(|(name, _)| *name).collect();
    let names = names.join(";");
    let fields = signable
        .fields
        .iter()
        .map(|(name, value)| format!("{name}:{}\n", value.trim()));
    let canonical = format!(
        "{}\n{}\n{}\n{}\n{names}\n{}",
        signable.method,
        signable.path,
        signable.query,
        fields.collect::<String>(),
        hex(digest::digest(&digest::SHA256, signable.body).as_ref()),
    );
    let hashed = hex(digest::digest(&digest::SHA256, canonical.as_bytes()).as_ref());
    let text = format!("AWS4-HMAC-SHA256\n{date}\n{place}\n{hashed}");
    let signature = hex(mac(&key(&keys.secret, day, scope), text.as_bytes()).as_ref());
    let id = &keys.id;
    format!(
        "AWS4-HMAC-SHA256 Credential={id}/{place}, SignedHeaders={names}, Signature={signature}"
    )
}

/// The key of a day, a region and a service.
pub(super) fn key(secret: &str, day: &str, scope: Scope<'_>) -> Vec<u8> {
    let parts = [day, scope.region, scope.service, "aws4_request"];
    parts
        .iter()
        .fold(format!("AWS4{secret}").into_bytes(), |key, part| {
            mac(&key, part.as_bytes()).as_ref().to_vec()
        })
}

fn mac(key: &[u8], text: &[u8]) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text)
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a text does not fail.
        let _always = write!(text, "{byte:02x}");
        text
    })
}
