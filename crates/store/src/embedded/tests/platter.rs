//! A disk that keeps what is not synced in memory, and loses it at a chosen call.

use std::{
    io::{self, ErrorKind},
    mem,
    path::Path,
    sync::{Arc, Mutex, MutexGuard},
};

use portolan_model::ByteSize;
use portolan_runtime::Dice;
use redb::StorageBackend;

use crate::embedded::{
    disk::{Disk, Opening, make_database, open_database},
    rewriting::{Rewriting, Unsynced},
};

/// What a disk writes at once.
const SECTOR: usize = 512;

/// The disk and its cache. Clones share one.
#[derive(Clone, Debug)]
pub(super) struct Platter {
    state: Arc<Mutex<State>>,
    unsynced: Arc<Unsynced>,
}

#[derive(Debug)]
pub(super) struct State {
    durable: Vec<u8>,
    cache: Vec<u8>,
    unsynced: Vec<Call>,
    /// The file has no name yet.
    is_empty: bool,
    dice: Dice,
    /// Calls until the power is lost.
    pub(super) calls_left: Option<u32>,
    /// Without power every call fails.
    pub(super) is_dead: bool,
    /// Growth beyond this fails.
    pub(super) room: Option<usize>,
    /// Writes and syncs fail so: `StorageFull` or another kind.
    pub(super) write_fault: Option<ErrorKind>,
    pub(super) sync_fault: Option<ErrorKind>,
    /// One sync in so many fails; 0 means none.
    pub(super) sync_fails_one_in: u32,
    pub(super) syncs: u32,
    /// The next sync is the end.
    pub(super) power_ends_at_sync: bool,
}

#[derive(Clone, Debug)]
enum Call {
    Write(usize, Vec<u8>),
    SetLen(usize),
}

impl Platter {
    pub(super) fn new(seed: u64) -> Self {
        let state = State {
            durable: Vec::new(),
            cache: Vec::new(),
            unsynced: Vec::new(),
            is_empty: true,
            dice: Dice::new(seed ^ 0x5eed),
            calls_left: None,
            is_dead: false,
            room: None,
            write_fault: None,
            sync_fault: None,
            sync_fails_one_in: 0,
            syncs: 0,
            power_ends_at_sync: false,
        };
        Self {
            state: Arc::new(Mutex::new(state)),
            unsynced: Arc::default(),
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// The machine goes down and comes up: of what was not synced, some calls reached the disk,
    /// some did not, and some did in part.
    pub(super) fn lose_power(&mut self) {
        let mut state = self.state();
        let calls = mem::take(&mut state.unsynced);
        for call in calls {
            let fate = state.dice.u32_below(3);
            state.reach(call, fate);
        }
        if state.is_empty {
            state.durable.clear();
        }
        state.cache = state.durable.clone();
        state.is_dead = false;
        state.calls_left = None;
        drop(state);
        // What the process knew is gone as well.
        self.unsynced = Arc::default();
    }
}

impl Disk for Platter {
    fn open(&mut self) -> Result<Opening, redb::Error> {
        let is_new = self.state().is_empty;
        if is_new {
            make_database(self.clone())?;
            // The file gets its name: from now on it is found after a loss of power.
            let mut state = self.state();
            assert!(state.unsynced.is_empty(), "a name for what is not synced");
            state.is_empty = false;
        }
        let backend = Rewriting::new(self.clone(), Arc::clone(&self.unsynced))?;
        let opening = open_database(backend, ByteSize::from_bytes(1 << 20))?;
        Ok(Opening { is_new, ..opening })
    }

    fn path(&self) -> &Path {
        Path::new("platter")
    }
}

impl State {
    /// A call comes to the disk: not at all, in part, or whole.
    fn reach(&mut self, call: Call, fate: u32) {
        match (call, fate) {
            (_, 0) => {}
            (Call::SetLen(length), _) => self.durable.resize(length, 0),
            (Call::Write(offset, data), 1) => {
                for (index, sector) in data.chunks(SECTOR).enumerate() {
                    if self.dice.u32_below(2) == 0 {
                        self.store(offset + index * SECTOR, sector);
                    }
                }
            }
            (Call::Write(offset, data), _) => self.store(offset, &data),
        }
    }

    fn store(&mut self, offset: usize, data: &[u8]) {
        let end = offset + data.len();
        if self.durable.len() < end {
            self.durable.resize(end, 0);
        }
        self.durable[offset..end].copy_from_slice(data);
    }

    /// Counts a call that changes something. The one that loses power may still reach the disk.
    fn count(&mut self, call: Option<Call>) -> io::Result<()> {
        if self.is_dead {
            return Err(io::Error::other("no power"));
        }
        self.unsynced.extend(call);
        if let Some(left) = &mut self.calls_left {
            if *left == 0 {
                self.is_dead = true;
                return Err(io::Error::other("power lost"));
            }
            *left -= 1;
        }
        Ok(())
    }

    /// A sync that failed: some of it is on the disk, and the system forgets about the rest.
    fn fail_sync(&mut self, kind: ErrorKind) -> io::Error {
        for call in mem::take(&mut self.unsynced) {
            let fate = self.dice.u32_below(3);
            self.reach(call, fate);
        }
        io::Error::from(kind)
    }
}

impl StorageBackend for Platter {
    fn len(&self) -> io::Result<u64> {
        Ok(self.state().cache.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let offset = usize::try_from(offset).unwrap();
        let state = self.state();
        let data = state.cache.get(offset..offset + out.len());
        out.copy_from_slice(data.ok_or_else(|| io::Error::from(ErrorKind::UnexpectedEof))?);
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let length = usize::try_from(length).unwrap();
        let mut state = self.state();
        if length > state.cache.len() && state.room.is_some_and(|room| length > room) {
            return Err(io::Error::from(ErrorKind::StorageFull));
        }
        state.count(Some(Call::SetLen(length)))?;
        state.cache.resize(length, 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.state();
        if state.power_ends_at_sync {
            state.calls_left = Some(0);
        }
        state.count(None)?;
        let one_in = state.sync_fails_one_in;
        if let Some(kind) = state.sync_fault {
            return Err(state.fail_sync(kind));
        }
        if one_in > 0 && state.dice.u32_below(one_in) == 0 {
            return Err(state.fail_sync(ErrorKind::Other));
        }
        for call in mem::take(&mut state.unsynced) {
            state.reach(call, 2);
        }
        state.syncs += 1;
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let offset = usize::try_from(offset).unwrap();
        let mut state = self.state();
        if let Some(kind) = state.write_fault {
            return Err(io::Error::from(kind));
        }
        state.count(Some(Call::Write(offset, data.to_vec())))?;
        let end = offset + data.len();
        if state.cache.len() < end {
            state.cache.resize(end, 0);
        }
        state.cache[offset..end].copy_from_slice(data);
        Ok(())
    }
}
