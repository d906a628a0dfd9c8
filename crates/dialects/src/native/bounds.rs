//! How much an instance may say of itself, and what it may not say at all.
//!
//! The record under [`RECORD_KEY`] is what Consul's front believes of who registered what.
//! It is written by that front alone, so no caller can name it, and it has limits of its
//! own, so no change of something else fails by its size.

use std::sync::Arc;

use portolan_model::Instance;

use super::Misfit;
use crate::consul::RECORD_KEY;

/// Most tags of an instance.
const TAGS_MAX: usize = 256;
/// Most metadata pairs of an instance.
const METADATA_MAX: usize = 256;
/// Longest tag, key, value, version, zone or note, in bytes.
const TEXT_BYTES_MAX: usize = 4096;

/// What labels begin with that only dynamic updates of DNS write: who has them belongs to
/// those.
const UPDATE_LABELS: &str = "dns/";

/// Whether a label is Portolan's own, so that no caller may write it.
pub(crate) fn is_own_label(key: &str) -> bool {
    key == RECORD_KEY || key.starts_with(UPDATE_LABELS)
}

/// Refuses keys of metadata that are not the caller's.
pub(super) fn check_keys<'a>(keys: impl IntoIterator<Item = &'a Arc<str>>) -> Result<(), Misfit> {
    let own = keys.into_iter().find(|key| is_own_label(key));
    own.map_or(Ok(()), |key| {
        let message = format!("`{key}` is Portolan's own and can't be set or taken away");
        Err(Misfit::new("/metadata", message))
    })
}

pub(super) fn check_sizes(instance: &Instance) -> Result<(), Misfit> {
    if instance.tags.len() > TAGS_MAX {
        let message = format!("an instance has at most {TAGS_MAX} tags");
        return Err(Misfit::new("/tags", message));
    }
    let own = instance.metadata.iter();
    let own = own.filter(|(key, _)| ***key != *RECORD_KEY);
    if own.clone().count() > METADATA_MAX {
        let message = format!("an instance has at most {METADATA_MAX} pairs");
        return Err(Misfit::new("/metadata", message));
    }
    check_text("/tags", &instance.tags)?;
    check_text("/metadata", own.flat_map(|(key, value)| [key, value]))?;
    check_text("/version", &instance.version)?;
    check_text("/zone", &instance.zone)
}

pub(super) fn check_text<'a>(
    pointer: &'static str,
    texts: impl IntoIterator<Item = &'a Arc<str>>,
) -> Result<(), Misfit> {
    if texts.into_iter().any(|text| text.len() > TEXT_BYTES_MAX) {
        let message = format!("a text is over {TEXT_BYTES_MAX} bytes");
        return Err(Misfit::new(pointer, message));
    }
    Ok(())
}
