//! `CRC32c` (Castagnoli), bit by bit: it runs over a few hundred bytes once a connection.
//!
//! Source: RFC 3309, appendix.

/// The checksum of all `parts` in turn.
pub(super) fn crc32c(parts: &[&[u8]]) -> u32 {
    let step = |sum: u32, _| {
        if sum & 1 == 1 {
            sum >> 1 ^ 0x82f6_3b78
        } else {
            sum >> 1
        }
    };
    let bytes = parts.iter().copied().flatten();
    !bytes.fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), step)
    })
}

#[cfg(test)]
mod tests {
    use super::crc32c;

    #[test]
    fn checksum_is_that_of_the_check_value() {
        assert_eq!(crc32c(&[b"12345", b"6789"]), 0xe306_9283);
    }
}
