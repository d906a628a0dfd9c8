//! Memory that all connections of a worker share.

use std::{cell::RefCell, rc::Rc};

/// Size of the scratch that sockets are read into.
pub(super) const SCRATCH_BYTES: usize = 64 << 10;
/// Spare scratches: a connection keeps one only until what it read with a head is sent.
const SCRATCHES_MAX: usize = 4;
/// Spare buffers kept for connections that must keep something.
const SPARES_MAX: usize = 256;
/// A spare that has grown beyond this is freed instead of kept.
const SPARE_BYTES_MAX: usize = 64 << 10;

/// A worker's shared memory. Borrowed within one poll, never over an await.
#[derive(Debug)]
pub struct Buffers {
    /// As long as it ever gets.
    pub(super) scratch: RefCell<Vec<u8>>,
    scratches: RefCell<Vec<Vec<u8>>>,
    spares: RefCell<Vec<Vec<u8>>>,
}

impl Buffers {
    /// The memory of one worker.
    #[must_use]
    pub fn new() -> Rc<Self> {
        Rc::new(Self {
            scratch: RefCell::new(vec![0; SCRATCH_BYTES]),
            scratches: RefCell::default(),
            spares: RefCell::default(),
        })
    }

    /// Another scratch, for one that a connection keeps. [`Self::give`] takes it back.
    pub(super) fn take_scratch(&self) -> Vec<u8> {
        let spare = self.scratches.borrow_mut().pop();
        spare.unwrap_or_else(|| vec![0; SCRATCH_BYTES])
    }

    /// An empty buffer, used before where there is one.
    pub(crate) fn take(&self) -> Vec<u8> {
        self.spares.borrow_mut().pop().unwrap_or_default()
    }

    /// Gives a buffer back.
    pub(crate) fn give(&self, mut buffer: Vec<u8>) {
        if buffer.len() == SCRATCH_BYTES {
            let mut scratches = self.scratches.borrow_mut();
            if scratches.len() < SCRATCHES_MAX {
                return scratches.push(buffer);
            }
        }
        let mut spares = self.spares.borrow_mut();
        let fits = (1..=SPARE_BYTES_MAX).contains(&buffer.capacity());
        if fits && spares.len() < SPARES_MAX {
            buffer.clear();
            spares.push(buffer);
        }
    }
}
