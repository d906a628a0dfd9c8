//! A place in a message, and numbers at places.

use super::message::Question;

/// Most bytes of a name.
pub(super) const NAME_MAX: usize = 255;
/// Most bytes of a label; longer ones are pointers or unknown.
const LABEL_MAX: u8 = 63;

/// A header (RFC 1035, section 4.1.1).
#[derive(Clone, Copy, Debug)]
pub struct Head {
    /// What an answer says back.
    pub id: u16,
    /// Operation, flags and code.
    pub flags: u16,
    /// How many questions there are to be.
    pub questions: u16,
    /// How many answers.
    pub answers: u16,
    /// How many records about who knows.
    pub authorities: u16,
    /// How many records besides.
    pub additionals: u16,
}

/// What stands before the data of a record (RFC 1035, section 4.1.3).
#[derive(Clone, Copy, Debug)]
pub struct Record {
    /// Its type.
    pub kind: u16,
    pub(super) class: u16,
    pub(super) ttl: u32,
    /// Where in the message its TTL stands.
    pub ttl_at: usize,
}

/// A place in a message. Every step says whether there was enough to read.
#[derive(Clone, Copy, Debug)]
pub struct Cursor<'a> {
    /// The whole message.
    pub bytes: &'a [u8],
    /// Where the next byte stands.
    pub at: usize,
}

impl Cursor<'_> {
    fn u8(&mut self) -> Option<u8> {
        let byte = self.bytes.get(self.at).copied()?;
        self.at = self.at.checked_add(1)?;
        Some(byte)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        let word = peek_u16(self.bytes, self.at)?;
        self.at = self.at.checked_add(2)?;
        Some(word)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        let word = peek_u32(self.bytes, self.at)?;
        self.at = self.at.checked_add(4)?;
        Some(word)
    }

    fn skip(&mut self, count: usize) -> Option<()> {
        let end = self.at.checked_add(count)?;
        self.bytes.get(self.at..end)?;
        self.at = end;
        Some(())
    }

    /// The header.
    pub fn head(&mut self) -> Option<Head> {
        Some(Head {
            id: self.u16()?,
            flags: self.u16()?,
            questions: self.u16()?,
            answers: self.u16()?,
            authorities: self.u16()?,
            additionals: self.u16()?,
        })
    }

    /// Passes over a question.
    pub fn skip_question(&mut self) -> Option<()> {
        self.skip_name()?;
        self.skip(4)
    }

    /// A question, whose name has nothing to point at yet.
    pub(super) fn question(&mut self) -> Option<Question> {
        let start = self.at;
        loop {
            let length = self.u8()?;
            if length == 0 {
                break;
            }
            if length > LABEL_MAX {
                return None;
            }
            self.skip(usize::from(length))?;
        }
        let name = self.bytes.get(start..self.at)?;
        if name.len() > NAME_MAX {
            return None;
        }
        Some(Question {
            name: name.into(),
            kind: self.u16()?,
            class: self.u16()?,
        })
    }

    /// Passes over a record, and says what it is.
    pub fn record(&mut self) -> Option<Record> {
        self.skip_name()?;
        let (kind, class, ttl_at) = (self.u16()?, self.u16()?, self.at);
        let (ttl, length) = (self.u32()?, self.u16()?);
        self.skip(usize::from(length))?;
        Some(Record {
            kind,
            class,
            ttl,
            ttl_at,
        })
    }

    fn skip_name(&mut self) -> Option<()> {
        let start = self.at;
        loop {
            let length = self.u8()?;
            match length {
                0 => break,
                1..=LABEL_MAX => self.skip(usize::from(length))?,
                0xc0.. => return self.skip(1),
                _ => return None,
            }
            if self.at.saturating_sub(start) > NAME_MAX {
                return None;
            }
        }
        Some(())
    }
}

pub(super) fn put<const N: usize>(out: &mut [u8], at: usize, bytes: [u8; N]) {
    if let Some(place) = at.checked_add(N).and_then(|end| out.get_mut(at..end)) {
        place.copy_from_slice(&bytes);
    }
}

pub(super) fn peek_u16(bytes: &[u8], at: usize) -> Option<u16> {
    let end = at.checked_add(2)?;
    bytes.get(at..end)?.try_into().ok().map(u16::from_be_bytes)
}

pub(super) fn peek_u32(bytes: &[u8], at: usize) -> Option<u32> {
    let end = at.checked_add(4)?;
    bytes.get(at..end)?.try_into().ok().map(u32::from_be_bytes)
}
