//! Finds the end of a segment and hashes it in one pass, eight bytes at a time.

use super::Slot;

const SEED: u64 = 0x9e37_79b9_7f4a_7c15;
const MIX: u64 = 0xd6e8_feb8_6659_fd93;
const SLASHES: u64 = u64::from_le_bytes([b'/'; 8]);
const LOW_BITS: u64 = u64::from_le_bytes([0x01; 8]);
const HIGH_BITS: u64 = u64::from_le_bytes([0x80; 8]);

/// The hash of a segment below its parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hashed {
    high: u64,
    /// Tells most nodes apart that share a place.
    pub(super) tag: u32,
}

impl Hashed {
    /// Where probing begins among so many slots.
    pub(super) fn place(self, slots: usize) -> usize {
        // The upper word of a product of a word and `slots` is less than `slots`.
        let (_, place) = self.high.carrying_mul(slots as u64, 0);
        usize::try_from(place).unwrap_or_default()
    }
}

/// Hashes what stands in `text` from `at` to the next slash or the end.
pub(super) fn hash_segment(parent: Slot, text: &[u8], at: usize) -> Hashed {
    let mut hash = SEED ^ u64::from(parent);
    let mut at = at;
    loop {
        let word = word_at(text, at);
        let bytes = bytes_before_slash(word).min(text.len().saturating_sub(at));
        if bytes < 8 {
            // Only the bytes before the slash count, and how many they are.
            let word = word & ((1 << (8 * bytes)) - 1);
            hash = fold(fold(hash ^ word) ^ bytes as u64);
            break;
        }
        hash = fold(hash ^ word);
        at += 8;
    }
    let [a, b, c, d, ..] = hash.to_le_bytes();
    Hashed {
        high: hash,
        tag: u32::from_le_bytes([a, b, c, d]),
    }
}

fn fold(value: u64) -> u64 {
    let (low, high) = value.carrying_mul(MIX, SEED);
    low ^ high
}

/// The next eight bytes; zeros where there are no more.
fn word_at(text: &[u8], at: usize) -> u64 {
    let rest = text.get(at..).unwrap_or_default();
    if let Some(word) = rest.first_chunk() {
        return u64::from_le_bytes(*word);
    }
    if rest.is_empty() {
        return 0;
    }
    if let Some(last) = text.last_chunk() {
        return u64::from_le_bytes(*last) >> (8 * (8 - rest.len()));
    }
    let mut word = [0; 8];
    word.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
    u64::from_le_bytes(word)
}

/// How many of the eight bytes stand before the first slash.
fn bytes_before_slash(word: u64) -> usize {
    let zeroed = word ^ SLASHES;
    let found = zeroed.wrapping_sub(LOW_BITS) & !zeroed & HIGH_BITS;
    (found.trailing_zeros() / 8) as usize
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn hash_depends_on_the_segment_alone(
            before in "[a-z/]{0,20}",
            segment in "[a-z0-9%._-]{0,40}",
            after in "(/[a-z/]{0,20})?",
        ) {
            let text = format!("{before}{segment}{after}");
            let alone = hash_segment(7, segment.as_bytes(), 0);
            prop_assert_eq!(hash_segment(7, text.as_bytes(), before.len()), alone);
        }

        #[test]
        fn hash_tells_segments_and_parents_apart(
            a in "[a-z]{0,20}", b in "[a-z]{0,20}", parent in 0..9_u32,
        ) {
            let same = hash_segment(parent, a.as_bytes(), 0) == hash_segment(3, b.as_bytes(), 0);
            prop_assert_eq!(same, a == b && parent == 3);
        }
    }
}
