//! Watches the frames that a client sends, header by header.
//!
//! The `h2` crate ends a connection at every violation, but calls most of them
//! `PROTOCOL_ERROR`. A client that is told what it did wrong can be mended, so the rules
//! that have a code of their own are checked here, before `h2` sees the frame: sizes of
//! frames, the largest window, frames on streams that the client has ended. So is what
//! may stand within a block of fields, since those rules end there.
//!
//! Costs a look at nine bytes a frame; nothing is kept of the frames.
//!
//! Source: RFC 9113, sections 4.2, 5.1 and 6.

use h2::Reason;

/// What every client sends first (RFC 9113, section 3.4).
const PREFACE_BYTES: usize = 24;
/// Length, type, flags, stream.
const HEADER_BYTES: usize = 9;
/// A setting: identifier and value.
const SETTING_BYTES: usize = 6;
/// `SETTINGS_INITIAL_WINDOW_SIZE`.
const INITIAL_WINDOW: u16 = 4;
/// The largest window.
const WINDOW_MAX: u32 = (1 << 31) - 1;
/// Set on the last frame of a stream; on SETTINGS it is ACK.
const END_STREAM: u8 = 1;
/// Set on the frame that ends a block of fields.
const END_HEADERS: u8 = 4;
/// Streams whose end is remembered. What comes later on older ones, `h2` judges alone.
const STREAMS: usize = 1024;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

/// A rule that the client broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Violation {
    /// The code that stands for it.
    pub(super) reason: Reason,
    /// Where the frame begins in the bytes that were looked at; what is before it is good.
    pub(super) at: usize,
}

/// Looks at the frames of one connection, however they are cut into pieces.
#[derive(Debug)]
pub(super) struct Frames {
    /// Bytes that belong to what was judged already.
    skip: usize,
    /// A header, or a setting, that is not whole yet.
    partial: [u8; HEADER_BYTES],
    partial_bytes: usize,
    /// Bytes of settings that still come.
    settings: usize,
    /// The stream whose block of fields goes on in the next frame.
    block: Option<u32>,
    /// The newest stream of the client's.
    newest: u32,
    /// Which of the last streams the client has ended, by their numbers.
    ended: [u64; STREAMS / 64],
}

impl Frames {
    pub(super) const fn new() -> Self {
        Self {
            skip: PREFACE_BYTES,
            partial: [0; HEADER_BYTES],
            partial_bytes: 0,
            settings: 0,
            block: None,
            newest: 0,
            ended: [0; STREAMS / 64],
        }
    }

    /// The newest stream that the client has begun.
    pub(super) const fn newest(&self) -> u32 {
        self.newest
    }

    /// Looks at the next bytes.
    pub(super) fn look(&mut self, bytes: &[u8]) -> Result<(), Violation> {
        let mut at = 0;
        while at < bytes.len() {
            let skipped = self.skip.min(bytes.len().saturating_sub(at));
            self.skip = self.skip.saturating_sub(skipped);
            at = at.saturating_add(skipped);
            let wanted = if self.settings > 0 {
                SETTING_BYTES
            } else {
                HEADER_BYTES
            };
            let begins = at;
            let Some(whole) = self.gather(bytes, &mut at, wanted) else {
                return Ok(());
            };
            let judged = if self.settings > 0 {
                self.settings = self.settings.saturating_sub(SETTING_BYTES);
                judge_setting(whole)
            } else {
                self.judge_frame(whole)
            };
            judged.map_err(|reason| Violation { reason, at: begins })?;
        }
        Ok(())
    }

    /// Takes bytes until so many are there.
    fn gather(
        &mut self,
        bytes: &[u8],
        at: &mut usize,
        wanted: usize,
    ) -> Option<[u8; HEADER_BYTES]> {
        let room = self.partial.get_mut(self.partial_bytes..wanted)?;
        let rest = bytes.get(*at..)?;
        let taken = room.len().min(rest.len());
        room.iter_mut()
            .zip(rest)
            .for_each(|(place, byte)| *place = *byte);
        *at = at.saturating_add(taken);
        self.partial_bytes = self.partial_bytes.saturating_add(taken);
        if self.partial_bytes < wanted {
            return None;
        }
        self.partial_bytes = 0;
        Some(self.partial)
    }

    fn judge_frame(&mut self, header: [u8; HEADER_BYTES]) -> Result<(), Reason> {
        let [high, middle, low, kind, flags, stream @ ..] = header;
        let bytes = u32::from_be_bytes([0, high, middle, low]) as usize;
        // The first bit is reserved.
        let stream = u32::from_be_bytes(stream) & (u32::MAX >> 1);
        let is_last = flags & END_STREAM != 0;
        let continues = kind == CONTINUATION && self.block == Some(stream);
        if self.block.is_some() && !continues {
            return Err(Reason::PROTOCOL_ERROR);
        }
        let begins = kind == HEADERS || continues;
        self.block = (begins && flags & END_HEADERS == 0).then_some(stream);
        self.skip = bytes;
        let fits = match kind {
            PRIORITY => bytes == 5,
            RST_STREAM | WINDOW_UPDATE => bytes == 4,
            PING => bytes == 8,
            GOAWAY => bytes >= 8,
            SETTINGS if is_last => bytes == 0,
            SETTINGS => {
                self.skip = 0;
                self.settings = bytes;
                bytes.is_multiple_of(SETTING_BYTES)
            }
            _ => true,
        };
        if !fits {
            return Err(Reason::FRAME_SIZE_ERROR);
        }
        match kind {
            DATA | HEADERS => {
                self.begin(stream);
                if self.has_ended(stream) {
                    return Err(Reason::STREAM_CLOSED);
                }
                if is_last {
                    self.end(stream);
                }
            }
            RST_STREAM => self.end(stream),
            _ => {}
        }
        Ok(())
    }

    /// Forgets the streams in whose places newer ones come.
    fn begin(&mut self, stream: u32) {
        if stream.is_multiple_of(2) || stream <= self.newest {
            return;
        }
        let news = (stream.saturating_sub(self.newest) / 2) as usize;
        for step in 0..news.min(STREAMS) {
            let step = u32::try_from(step).unwrap_or(u32::MAX).saturating_mul(2);
            self.set(stream.saturating_sub(step), false);
        }
        // The first stream is 1, two more than none would be.
        self.set(stream, false);
        self.newest = stream;
    }

    /// Whether the stream is one of those whose end is remembered.
    fn is_known(&self, stream: u32) -> bool {
        let age = self.newest.checked_sub(stream);
        !stream.is_multiple_of(2) && age.is_some_and(|age| STREAMS > (age / 2) as usize)
    }

    fn has_ended(&self, stream: u32) -> bool {
        let (word, bit) = place(stream);
        self.is_known(stream) && self.ended.get(word).is_some_and(|word| word & bit != 0)
    }

    fn end(&mut self, stream: u32) {
        if self.is_known(stream) {
            self.set(stream, true);
        }
    }

    fn set(&mut self, stream: u32, has_ended: bool) {
        let (word, bit) = place(stream);
        if let Some(word) = self.ended.get_mut(word) {
            *word = if has_ended { *word | bit } else { *word & !bit };
        }
    }
}

/// Where the mark of a stream is.
const fn place(stream: u32) -> (usize, u64) {
    let index = (stream / 2) as usize % STREAMS;
    (index / 64, 1 << (index % 64))
}

fn judge_setting(setting: [u8; HEADER_BYTES]) -> Result<(), Reason> {
    let [high, low, first, second, third, fourth, ..] = setting;
    let identifier = u16::from_be_bytes([high, low]);
    let value = u32::from_be_bytes([first, second, third, fourth]);
    if identifier == INITIAL_WINDOW && value > WINDOW_MAX {
        return Err(Reason::FLOW_CONTROL_ERROR);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut frame = length[1..].to_vec();
        frame.extend([kind, flags]);
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        frame
    }

    fn settings(pairs: &[(u16, u32)]) -> Vec<u8> {
        let pairs = pairs.iter();
        let bytes = pairs.flat_map(|(id, value)| {
            let mut setting = id.to_be_bytes().to_vec();
            setting.extend(value.to_be_bytes());
            setting
        });
        frame(SETTINGS, 0, 0, &bytes.collect::<Vec<_>>())
    }

    /// What becomes of these frames after a preface, whole and byte by byte.
    fn judge(frames: &[Vec<u8>]) -> Result<(), Reason> {
        let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        bytes.extend(frames.concat());
        let whole = Frames::new().look(&bytes);
        let mut cut = Frames::new();
        let piecemeal = bytes.iter().try_for_each(|byte| cut.look(&[*byte]));
        assert_eq!(
            whole.map_err(|broken| broken.reason),
            piecemeal.map_err(|broken| broken.reason)
        );
        whole.map_err(|broken| broken.reason)
    }

    #[test]
    fn frames_of_a_wrong_size_have_their_own_code() {
        for (kind, stream, good) in [
            (PRIORITY, 1, 5),
            (RST_STREAM, 1, 4),
            (PING, 0, 8),
            (WINDOW_UPDATE, 0, 4),
            (GOAWAY, 0, 8),
        ] {
            let sized = |bytes: usize| judge(&[frame(kind, 0, stream, &vec![0; bytes])]);
            assert_eq!(sized(good), Ok(()), "{kind}");
            assert_eq!(sized(good - 1), Err(Reason::FRAME_SIZE_ERROR), "{kind}");
        }
        let ack = |bytes: usize| judge(&[frame(SETTINGS, 1, 0, &vec![0; bytes])]);
        assert_eq!(ack(0), Ok(()));
        assert_eq!(ack(6), Err(Reason::FRAME_SIZE_ERROR));
        let odd = judge(&[frame(SETTINGS, 0, 0, &[0; 7])]);
        assert_eq!(odd, Err(Reason::FRAME_SIZE_ERROR));
    }

    #[test]
    fn the_largest_window_is_the_limit() {
        let window = |value| judge(&[settings(&[(3, 9), (INITIAL_WINDOW, value), (5, 9)])]);
        assert_eq!(window(WINDOW_MAX), Ok(()));
        assert_eq!(window(WINDOW_MAX + 1), Err(Reason::FLOW_CONTROL_ERROR));
    }

    #[test]
    fn a_stream_that_the_client_ended_is_closed_to_it() {
        let head = |stream, flags| frame(HEADERS, flags | END_HEADERS, stream, b"x");
        let closed = Err(Reason::STREAM_CLOSED);
        assert_eq!(judge(&[head(1, 1), head(3, 1)]), Ok(()));
        assert_eq!(judge(&[head(1, 1), head(1, 1)]), closed);
        assert_eq!(judge(&[head(1, 1), frame(DATA, 0, 1, b"")]), closed);
        assert_eq!(judge(&[head(1, 0), frame(DATA, 1, 1, b"y")]), Ok(()));
        let reset = frame(RST_STREAM, 0, 1, &[0; 4]);
        assert_eq!(judge(&[head(1, 0), reset, head(1, 1)]), closed);
        assert_eq!(
            judge(&[head(5, 0), head(5, 1), head(1, 1)]),
            Ok(()),
            "not ours to judge"
        );
    }

    #[test]
    fn a_block_of_fields_is_not_interrupted() {
        let begun = frame(HEADERS, END_STREAM, 1, b"x");
        let more = |stream, flags| frame(CONTINUATION, flags, stream, b"x");
        let ping = frame(PING, 0, 0, &[0; 8]);
        let broken = Err(Reason::PROTOCOL_ERROR);
        assert_eq!(
            judge(&[
                begun.clone(),
                more(1, 0),
                more(1, END_HEADERS),
                ping.clone()
            ]),
            Ok(())
        );
        assert_eq!(judge(&[begun.clone(), ping]), broken);
        assert_eq!(judge(&[begun.clone(), more(3, END_HEADERS)]), broken);
        assert_eq!(judge(&[begun, frame(DATA, END_STREAM, 1, b"")]), broken);
    }

    #[test]
    fn ends_are_remembered_for_so_many_streams() {
        let head = |stream| frame(HEADERS, END_STREAM | END_HEADERS, stream, b"");
        let last = 2 * u32::try_from(STREAMS).unwrap() - 1;
        assert_eq!(
            judge(&[head(1), head(last), head(1)]),
            Err(Reason::STREAM_CLOSED)
        );
        assert_eq!(judge(&[head(1), head(last + 2), head(1)]), Ok(()));
        let far = judge(&[head(1), head(u32::MAX >> 1)]);
        assert_eq!(far, Ok(()));
    }

    #[test]
    fn what_comes_before_a_violation_is_good() {
        let mut bytes = vec![b'x'; PREFACE_BYTES];
        bytes.extend(frame(PING, 0, 0, &[0; 8]));
        let good = bytes.len();
        bytes.extend(frame(PING, 0, 0, &[0; 9]));
        let broken = Frames::new().look(&bytes).unwrap_err();
        assert_eq!(broken.at, good);
    }

    proptest! {
        #[test]
        fn any_bytes_are_judged_alike_however_they_are_cut(
            bytes in prop::collection::vec(any::<u8>(), 0..400),
            cut in 0_usize..400,
        ) {
            let whole = Frames::new().look(&bytes).map_err(|broken| broken.reason);
            let (first, second) = bytes.split_at(cut.min(bytes.len()));
            let mut frames = Frames::new();
            let pieces = frames.look(first).and_then(|()| frames.look(second));
            prop_assert_eq!(whole, pieces.map_err(|broken| broken.reason));
        }
    }
}
