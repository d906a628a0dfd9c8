//! Labels of services and nodes, which Consul bounds.

use crate::consul::loose::Pairs;

const PAIRS_MAX: usize = 64;
const KEY_BYTES_MAX: usize = 128;
const VALUE_BYTES_MAX: usize = 512;

/// What is wrong with labels, in the words that clients know.
pub(super) fn validate_meta(pairs: &Pairs) -> Result<(), String> {
    if pairs.len() > PAIRS_MAX {
        return Err(format!(
            "Node metadata cannot contain more than {PAIRS_MAX} key/value pairs"
        ));
    }
    for (key, value) in pairs {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        let flaw = if key.is_empty() {
            "Key cannot be blank".to_owned()
        } else if !key.bytes().all(allowed) {
            "Key contains invalid characters".to_owned()
        } else if key.len() > KEY_BYTES_MAX {
            format!("Key is too long (limit: {KEY_BYTES_MAX} characters)")
        } else if value.len() > VALUE_BYTES_MAX {
            format!("Value is too long (limit: {VALUE_BYTES_MAX} characters)")
        } else {
            continue;
        };
        return Err(format!(
            "Couldn't load metadata pair ('{key}', '{value}'): {flaw}"
        ));
    }
    Ok(())
}
