//! Lines of a stream that goes on for ever.

use std::collections::VecDeque;

/// The longest line.
pub(crate) const LINE_BYTES_MAX: usize = 4 << 20;

/// Puts together the lines that chunks bring.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    rest: Vec<u8>,
    whole: VecDeque<Vec<u8>>,
}

/// A line that does not end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a line of the stream is over the limit of {} MiB", LINE_BYTES_MAX >> 20)]
pub(crate) struct TooLong;

impl Lines {
    /// Takes in what came next.
    ///
    /// # Errors
    /// [`TooLong`]: the stream is of no more use.
    pub(crate) fn push(&mut self, chunk: &[u8]) -> Result<(), TooLong> {
        for part in chunk.split_inclusive(|byte| *byte == b'\n') {
            if self.rest.len().saturating_add(part.len()) > LINE_BYTES_MAX {
                return Err(TooLong);
            }
            self.rest.extend_from_slice(part);
            if self.rest.ends_with(b"\n") {
                self.rest.pop();
                let line = std::mem::take(&mut self.rest);
                self.whole
                    .extend(Some(line).filter(|line| !line.is_empty()));
            }
        }
        Ok(())
    }

    /// The next whole line.
    pub(crate) fn pop(&mut self) -> Option<Vec<u8>> {
        self.whole.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_put_together_from_any_chunks() {
        let text = b"{\"a\":1}\n\n{\"b\":2}\n{\"c\"";
        for size in 1..text.len() {
            let mut lines = Lines::default();
            for chunk in text.chunks(size) {
                lines.push(chunk).unwrap();
            }
            let found: Vec<_> = std::iter::from_fn(|| lines.pop()).collect();
            assert_eq!(
                found,
                [b"{\"a\":1}".to_vec(), b"{\"b\":2}".to_vec()],
                "{size}"
            );
        }
    }

    #[test]
    fn a_line_has_a_limit() {
        let mut lines = Lines::default();
        lines.push(&vec![b'a'; LINE_BYTES_MAX]).unwrap();
        assert_eq!(lines.push(b"a"), Err(TooLong));
    }
}
