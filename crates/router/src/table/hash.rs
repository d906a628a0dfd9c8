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

/// Hashes what stands in `text` before the next slash or the end.
#[inline]
pub(super) fn hash_segment(parent: Slot, text: &[u8]) -> Hashed {
    let mut hash = SEED ^ u64::from(parent);
    let mut rest = text;
    while let Some((word, after)) = rest.split_first_chunk() {
        let word = u64::from_le_bytes(*word);
        let slash = first_slash(word);
        if slash != 0 {
            return finish(hash, word, slash);
        }
        hash = fold(hash ^ word);
        rest = after;
    }
    let word = tail(text, rest);
    // A slash behind the text ends it; nothing of the word is there.
    let slash = first_slash(word) | HIGH_BITS << (8 * rest.len());
    finish(hash, word, slash & slash.wrapping_neg())
}

/// Takes in the bytes before the first slash, and how many they are: fewer than eight,
/// so the highest byte of a word has room for the number.
fn finish(hash: u64, word: u64, slash: u64) -> Hashed {
    let before = word & ((slash >> 7) - 1);
    let bytes = u64::from(slash.trailing_zeros() / 8);
    let high = fold(hash ^ before ^ bytes << 56);
    let [a, b, c, d, ..] = high.to_le_bytes();
    Hashed {
        high,
        tag: u32::from_le_bytes([a, b, c, d]),
    }
}

fn fold(value: u64) -> u64 {
    let (low, high) = value.carrying_mul(MIX, SEED);
    low ^ high
}

/// The highest bit of the first byte that is a slash; 0 if none is.
fn first_slash(word: u64) -> u64 {
    let zeroed = word ^ SLASHES;
    let found = zeroed.wrapping_sub(LOW_BITS) & !zeroed & HIGH_BITS;
    found & found.wrapping_neg()
}

/// The last fewer than eight bytes of `text`, followed by zeros.
fn tail(text: &[u8], rest: &[u8]) -> u64 {
    if rest.is_empty() {
        return 0;
    }
    if let Some(last) = text.last_chunk() {
        return u64::from_le_bytes(*last) >> (64 - 8 * rest.len());
    }
    let byte = |word, byte: &u8| word << 8 | u64::from(*byte);
    rest.iter().rev().fold(0, byte)
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
            let alone = hash_segment(7, segment.as_bytes());
            prop_assert_eq!(hash_segment(7, &text.as_bytes()[before.len()..]), alone);
        }

        #[test]
        fn hash_tells_segments_and_parents_apart(
            a in "[a-z]{0,20}", b in "[a-z]{0,20}", parent in 0..9_u32,
        ) {
            let same = hash_segment(parent, a.as_bytes()) == hash_segment(3, b.as_bytes());
            prop_assert_eq!(same, a == b && parent == 3);
        }
    }
}
