//! The access log: one line per request, written by one thread.
//!
//! Workers hand lines over a bounded channel and never wait: when the writer is
//! behind, lines are dropped and counted. The writer lets lines gather for a few
//! milliseconds, so that a worker seldom has to wake it and a write carries many.

mod json;
mod text;
mod writer;

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
        mpsc::{SyncSender, TrySendError},
    },
};

use crate::Record;

pub use writer::{AccessWriter, OpenError};

/// Lines that may wait for the writer.
const LINES_MAX: usize = 8192;
/// Longest text of one field in a line, in bytes; the rest is cut.
const FIELD_BYTES_MAX: usize = 2048;
/// What a line usually takes, in bytes.
const LINE_BYTES_USUAL: usize = 320;

/// How a line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For a person at a terminal.
    Text,
    /// One JSON object a line, with stable names.
    Json,
}

/// Where lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// A file, appended to and made if need be.
    File(PathBuf),
}

/// The workers' end of an access log; cheap to clone.
#[derive(Clone, Debug)]
pub struct AccessLog {
    format: Format,
    lines: SyncSender<Message>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
enum Message {
    Line(String),
    /// Look at the flags.
    Wake,
}

/// What both ends know.
#[derive(Debug, Default)]
struct Shared {
    dropped: AtomicU64,
    reopen: AtomicBool,
    closing: AtomicBool,
}

impl AccessLog {
    /// Starts an access log; the writer's end must be kept as long as lines are wanted.
    ///
    /// # Errors
    /// [`OpenError`] if the file can't be opened or the thread not be started.
    pub fn open(
        format: Format,
        destination: Destination,
    ) -> Result<(Self, AccessWriter), OpenError> {
        let shared = Arc::<Shared>::default();
        let (lines, writer) = AccessWriter::start(destination, &shared, LINES_MAX)?;
        let log = Self {
            format,
            lines,
            shared,
        };
        Ok((log, writer))
    }

    /// Hands a line over, or drops it if the writer is behind. Never waits.
    pub fn write(&self, record: &Record<'_>) {
        let mut line = String::with_capacity(LINE_BYTES_USUAL);
        match self.format {
            Format::Text => text::write(record, &mut line),
            Format::Json => json::write(record, &mut line),
        }
        line.push('\n');
        let sent = self.lines.try_send(Message::Line(line));
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) = sent {
            self.shared.dropped.fetch_add(1, Relaxed);
        }
    }

    /// Closes the file and opens it again by its name, for those who rotate logs.
    pub fn reopen(&self) {
        self.shared.reopen.store(true, Relaxed);
        // A full channel needs no waking: the writer is awake.
        let _full = self.lines.try_send(Message::Wake);
    }

    /// Lines that were dropped, because the writer was behind or could not write.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.shared.dropped.load(Relaxed)
    }
}

/// As much of a text as a line may show of one field.
fn clipped(text: &str) -> &str {
    &text[..text.floor_char_boundary(FIELD_BYTES_MAX)]
}

#[cfg(test)]
mod tests;
