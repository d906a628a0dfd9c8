//! The thread that writes lines.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::Ordering::Relaxed,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use super::{Destination, Message, Shared};

/// How long lines gather before they are written.
const GATHER: Duration = Duration::from_millis(5);
/// Most that is written at once, in bytes; a longer line is still written whole.
const BATCH_BYTES_MAX: usize = 256 * 1024;

/// An access log that can't begin. The operator's fault, or the machine's.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file can't be opened for appending.
    #[error("the access log {} can't be opened", path.display())]
    File {
        /// Its path.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The system gives no thread.
    #[error("no thread can be started for the access log")]
    Thread(#[source] io::Error),
}

/// The writer's end of an access log. Dropping it writes what waits and ends the thread.
#[derive(Debug)]
pub struct AccessWriter {
    thread: Option<JoinHandle<()>>,
    lines: SyncSender<Message>,
    shared: Arc<Shared>,
}

impl AccessWriter {
    pub(super) fn start(
        destination: Destination,
        shared: &Arc<Shared>,
        limit: usize,
    ) -> Result<(SyncSender<Message>, Self), OpenError> {
        let sink = Sink::open(destination)?;
        let (lines, inbox) = sync_channel(limit);
        let batch = Batch {
            sink,
            shared: Arc::clone(shared),
            bytes: Vec::new(),
            lines: 0,
            failing: false,
        };
        let thread = thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || batch.run(&inbox))
            .map_err(OpenError::Thread)?;
        let writer = Self {
            thread: Some(thread),
            lines: lines.clone(),
            shared: Arc::clone(shared),
        };
        Ok((lines, writer))
    }
}

impl Drop for AccessWriter {
    fn drop(&mut self) {
        self.shared.closing.store(true, Relaxed);
        // A full channel needs no waking: the writer is awake.
        let _full = self.lines.try_send(Message::Wake);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!(task = "access-log", "task panicked");
        }
    }
}

/// Lines that are about to be written.
struct Batch {
    sink: Sink,
    shared: Arc<Shared>,
    bytes: Vec<u8>,
    lines: u64,
    failing: bool,
}

impl Batch {
    fn run(mut self, inbox: &Receiver<Message>) {
        while let Ok(first) = inbox.recv() {
            if !self.shared.closing.load(Relaxed) {
                thread::sleep(GATHER);
            }
            // Read before the channel is emptied: lines sent before the flag are written.
            let closing = self.shared.closing.load(Relaxed);
            self.take(first);
            while let Ok(next) = inbox.try_recv() {
                self.take(next);
            }
            self.write();
            if self.shared.reopen.swap(false, Relaxed) {
                self.reopen();
            }
            if closing {
                return;
            }
        }
    }

    fn take(&mut self, message: Message) {
        if let Message::Line(line) = message {
            self.bytes.extend_from_slice(line.as_bytes());
            self.lines += 1;
        }
        if self.bytes.len() >= BATCH_BYTES_MAX {
            self.write();
        }
    }

    fn write(&mut self) {
        if self.bytes.is_empty() {
            return;
        }
        match self.sink.write_all(&self.bytes) {
            Ok(()) => self.failing = false,
            Err(error) => {
                self.shared.dropped.fetch_add(self.lines, Relaxed);
                self.tell(&error);
            }
        }
        self.bytes.clear();
        self.lines = 0;
    }

    fn reopen(&mut self) {
        if let Err(error) = self.sink.reopen() {
            tracing::warn!(error = %error, "access log can't be reopened; the old file is kept");
        }
    }

    /// Says once that writing fails, not once a batch.
    fn tell(&mut self, error: &io::Error) {
        if !self.failing {
            tracing::error!(error = %error, "access log can't be written; lines are dropped");
        }
        self.failing = true;
    }
}

/// An open destination.
enum Sink {
    Stdout(io::Stdout),
    Stderr(io::Stderr),
    File { path: PathBuf, file: File },
}

impl Sink {
    fn open(destination: Destination) -> Result<Self, OpenError> {
        match destination {
            Destination::Stdout => Ok(Self::Stdout(io::stdout())),
            Destination::Stderr => Ok(Self::Stderr(io::stderr())),
            Destination::File(path) => match append_to(&path) {
                Ok(file) => Ok(Self::File { path, file }),
                Err(source) => Err(OpenError::File { path, source }),
            },
        }
    }

    fn reopen(&mut self) -> io::Result<()> {
        if let Self::File { path, file } = self {
            *file = append_to(path)?;
        }
        Ok(())
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Stdout(out) => out.write_all(bytes).and_then(|()| out.flush()),
            Self::Stderr(out) => out.write_all(bytes),
            Self::File { file, .. } => file.write_all(bytes),
        }
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}
