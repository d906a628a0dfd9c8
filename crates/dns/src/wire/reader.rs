//! Takes bytes from the front of a message.

use super::{Bad, LABEL_BYTES_MAX};

/// Most labels of a name that is skipped.
const LABELS_MAX: usize = 128;

pub(crate) struct Reader<'m> {
    message: &'m [u8],
    place: usize,
}

impl<'m> Reader<'m> {
    pub(crate) const fn new(message: &'m [u8]) -> Self {
        Self { message, place: 0 }
    }

    pub(crate) const fn place(&self) -> usize {
        self.place
    }

    pub(crate) fn rest(&self) -> &'m [u8] {
        self.message.get(self.place..).unwrap_or_default()
    }

    pub(crate) fn is_at_end(&self) -> bool {
        self.rest().is_empty()
    }

    pub(crate) fn take(&mut self, bytes: usize) -> Result<&'m [u8], Bad> {
        let taken = self.rest().get(..bytes).ok_or(Bad::Form)?;
        self.place = self.place.saturating_add(bytes);
        Ok(taken)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Bad> {
        let [high, low] = *self.take(2)? else {
            return Err(Bad::Form);
        };
        Ok(u16::from_be_bytes([high, low]))
    }

    /// Goes beyond a name, without following it, and says whether it is the root.
    pub(crate) fn skip_name(&mut self) -> Result<bool, Bad> {
        for label in 0..LABELS_MAX {
            let [length] = *self.take(1)? else {
                return Err(Bad::Form);
            };
            match usize::from(length) {
                0 => return Ok(label == 0),
                // A pointer ends a name.
                0xc0.. => return self.take(1).map(|_| false),
                length if length > LABEL_BYTES_MAX => return Err(Bad::Form),
                length => self.take(length)?,
            };
        }
        Err(Bad::Form)
    }
}
