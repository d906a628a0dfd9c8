//! Server-sent events out of the bytes that carry them.
//!
//! Source: the HTML standard, section 9.2.

/// Longest event that is read, in bytes: an instance with all that it may have.
pub(super) const EVENT_BYTES_MAX: usize = 1 << 20;

/// One event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Event {
    /// Its name.
    pub(super) name: String,
    /// Its data.
    pub(super) data: String,
    /// Where the stream may be taken up after it.
    pub(super) id: Option<String>,
}

/// An event that is too long, or no text. The fault of the other side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadEvent {
    #[error("an event is over the limit of {EVENT_BYTES_MAX} bytes")]
    TooLong,
    #[error("an event is no UTF-8")]
    Text,
}

/// What came so far of events that are not over.
#[derive(Clone, Debug, Default)]
pub(super) struct Events {
    line: Vec<u8>,
    /// The last byte was a carriage return, which a line feed may follow.
    after_return: bool,
    event: Event,
}

impl Events {
    /// Takes what came next; gives the events that are over.
    ///
    /// # Errors
    /// [`BadEvent`]: nothing after it can be read.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<Vec<Event>, BadEvent> {
        let mut events = Vec::new();
        for &byte in bytes {
            let follows_return = std::mem::replace(&mut self.after_return, byte == b'\r');
            match byte {
                b'\n' if follows_return => {}
                b'\n' | b'\r' => {
                    let line = std::mem::take(&mut self.line);
                    events.extend(self.end_line(&line)?);
                }
                _ => {
                    self.line.push(byte);
                    if self.line.len().saturating_add(self.event.data.len()) > EVENT_BYTES_MAX {
                        return Err(BadEvent::TooLong);
                    }
                }
            }
        }
        Ok(events)
    }

    fn end_line(&mut self, line: &[u8]) -> Result<Option<Event>, BadEvent> {
        if line.is_empty() {
            let event = std::mem::take(&mut self.event);
            // What has no data is no event: a comment, or what a client should wait.
            return Ok(Some(event).filter(|event| !event.data.is_empty()));
        }
        let line = std::str::from_utf8(line).map_err(|_| BadEvent::Text)?;
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.event.name),
            "id" => self.event.id = Some(value.to_owned()),
            "data" => {
                if !self.event.data.is_empty() {
                    self.event.data.push('\n');
                }
                self.event.data.push_str(value);
            }
            _ => {}
        }
        Ok(None)
    }
}

/// A stream of events means the same whole and in pieces, and no event is over the limit.
///
/// # Panics
/// When it does not hold for `input`: a defect.
pub fn read_any_events(input: &[u8]) {
    let read = |step: usize| {
        let (mut stream, mut events) = (Events::default(), Vec::new());
        for piece in input.chunks(step.max(1)) {
            match stream.push(piece) {
                Ok(more) => events.extend(more),
                Err(_) => return (events, false),
            }
        }
        (events, true)
    };
    let (whole, is_sound) = read(input.len());
    assert!(
        whole
            .iter()
            .all(|event| event.data.len() <= EVENT_BYTES_MAX)
    );
    for step in [1, 3, 64] {
        let (events, is_sound_in_pieces) = read(step);
        assert_eq!(is_sound_in_pieces, is_sound);
        // What was read before the flaw depends on where it was cut.
        assert!(!is_sound || events == whole);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &[u8] = b"retry: 1000\n\nevent: reset\ndata: {\"revision\":7}\n\n: still here\n\nid: 7\r\nevent: synced\r\ndata: a\r\ndata:b\r\n\r\n";

    fn events() -> Vec<Event> {
        vec![
            Event {
                name: "reset".to_owned(),
                data: "{\"revision\":7}".to_owned(),
                id: None,
            },
            Event {
                name: "synced".to_owned(),
                data: "a\nb".to_owned(),
                id: Some("7".to_owned()),
            },
        ]
    }

    #[test]
    fn events_are_read_however_they_are_cut() {
        assert_eq!(Events::default().push(STREAM).unwrap(), events());
        for size in 1..STREAM.len() {
            let mut reader = Events::default();
            let pieces = STREAM.chunks(size);
            let read: Vec<_> = pieces
                .flat_map(|piece| reader.push(piece).unwrap())
                .collect();
            assert_eq!(read, events(), "pieces of {size}");
        }
    }

    #[test]
    fn an_event_is_read_up_to_its_limit() {
        let mut fits = b"data:".to_vec();
        fits.resize(EVENT_BYTES_MAX, b'x');
        assert!(Events::default().push(&fits).is_ok());
        fits.push(b'x');
        assert_eq!(Events::default().push(&fits), Err(BadEvent::TooLong));
        let many = b"data:xxxxxxxxxxxxxx\n".repeat(EVENT_BYTES_MAX / 10);
        assert_eq!(Events::default().push(&many), Err(BadEvent::TooLong));
    }

    #[test]
    fn bytes_that_are_no_text_are_refused() {
        assert_eq!(Events::default().push(b"data: \xff\n"), Err(BadEvent::Text));
    }
}
