//! Memory that all connections of a worker share.

use std::{cell::RefCell, rc::Rc};

/// Size of the scratch that sockets are read into.
const SCRATCH_BYTES: usize = 64 << 10;
/// Spare buffers kept for connections that must keep something.
const SPARES_MAX: usize = 256;
/// A spare that has grown beyond this is freed instead of kept.
const SPARE_BYTES_MAX: usize = 64 << 10;

/// A worker's shared memory. Borrowed within one poll, never over an await.
#[derive(Debug)]
pub struct Buffers {
    pub(super) scratch: RefCell<Box<[u8]>>,
    spares: RefCell<Vec<Vec<u8>>>,
}

impl Buffers {
    /// The memory of one worker.
    #[must_use]
    pub fn new() -> Rc<Self> {
        let scratch = vec![0; SCRATCH_BYTES].into_boxed_slice();
        Rc::new(Self {
            scratch: RefCell::new(scratch),
            spares: RefCell::default(),
        })
    }

    /// An empty buffer, used before where there is one.
    pub(super) fn take(&self) -> Vec<u8> {
        self.spares.borrow_mut().pop().unwrap_or_default()
    }

    /// Gives a buffer back.
    pub(super) fn give(&self, mut buffer: Vec<u8>) {
        let mut spares = self.spares.borrow_mut();
        let fits = (1..=SPARE_BYTES_MAX).contains(&buffer.capacity());
        if fits && spares.len() < SPARES_MAX {
            buffer.clear();
            spares.push(buffer);
        }
    }
}
