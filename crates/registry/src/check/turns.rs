//! Whose probe may begin: pure.
//!
//! Probes that are due line up by what their last one was like: never made, quick, slow,
//! or a program of this machine. Each lane has its own room, and within a lane hosts take
//! turns, so a host with a thousand instances counts as one. A probe that takes long
//! moves over to the slow ones while it runs and gives its room back: however many hosts
//! let their probes time out, a quick one waits [`PATIENCE`] at most for room.
//!
//! Invariants: a lane begins no probe while it has as many as it may, and there are never
//! more than [`PROBES_MAX`] in all.

use std::{
    collections::{HashMap, VecDeque},
    net::IpAddr,
    time::Duration,
};

/// Most probes under way at a time.
pub const PROBES_MAX: usize = 2048;
/// Most probes under way that are not slow, of those that are known and of new ones.
const SWIFT_MAX: usize = 256;
/// Slow probes under way from which on no other one of that lane begins.
const SLOW_MAX: usize = 1024;
/// Most programs under way.
const PROGRAMS_MAX: usize = 16;
/// After this a probe is a slow one.
pub(super) const PATIENCE: Duration = Duration::from_millis(250);

/// What an instance's last probe was like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Pace {
    /// There was none.
    #[default]
    New,
    /// It ended soon.
    Quick,
    /// It took long.
    Slow,
    /// It is a program, which costs more than a connection.
    Program,
}

impl Pace {
    const ALL: [Self; 4] = [Self::Quick, Self::New, Self::Program, Self::Slow];

    const fn room(self) -> usize {
        match self {
            Self::New | Self::Quick => SWIFT_MAX,
            Self::Slow => SLOW_MAX,
            Self::Program => PROGRAMS_MAX,
        }
    }
}

/// The lanes, and who is under way.
#[derive(Debug, Default)]
pub(super) struct Turns {
    lanes: [Lane; 4],
    /// In which lane, and since when.
    under_way: HashMap<u64, (Pace, u64)>,
    /// Who began when, in that order; some may have ended.
    begun: VecDeque<(u64, u64)>,
}

#[derive(Debug, Default)]
struct Lane {
    under_way: usize,
    /// Hosts that have somebody in line, the next one first.
    hosts: VecDeque<IpAddr>,
    line: HashMap<IpAddr, VecDeque<u64>>,
}

impl Turns {
    fn lane(&mut self, pace: Pace) -> &mut Lane {
        let number = match pace {
            Pace::New => 0,
            Pace::Quick => 1,
            Pace::Slow => 2,
            Pace::Program => 3,
        };
        &mut self.lanes[number]
    }

    /// Puts a probe in line.
    pub(super) fn line_up(&mut self, serial: u64, host: IpAddr, pace: Pace) {
        let lane = self.lane(pace);
        let queue = lane.line.entry(host).or_default();
        if queue.is_empty() {
            lane.hosts.push_back(host);
        }
        queue.push_back(serial);
    }

    /// The next probe to begin, if there is room for one. It is under way from now on.
    pub(super) fn begin(&mut self, now: u64) -> Option<u64> {
        self.slow_down(now);
        if self.under_way.len() >= PROBES_MAX {
            return None;
        }
        let (serial, pace) = Pace::ALL.into_iter().find_map(|pace| {
            let lane = self.lane(pace);
            let serial = (lane.under_way < pace.room()).then(|| lane.next())??;
            Some((serial, pace))
        })?;
        self.lane(pace).under_way += 1;
        self.under_way.insert(serial, (pace, now));
        self.begun.push_back((now, serial));
        Some(serial)
    }

    /// A probe has ended, or will not be made.
    pub(super) fn end(&mut self, serial: u64) {
        if let Some((pace, _)) = self.under_way.remove(&serial) {
            self.lane(pace).under_way -= 1;
        }
    }

    /// When room is to be looked for although nobody ended; `None` if nobody waits for it.
    pub(super) fn next_look(&self) -> Option<u64> {
        let waits = self.lanes.iter().any(|lane| !lane.hosts.is_empty());
        let (begun, _) = self.begun.front().filter(|_| waits)?;
        Some(begun.saturating_add(patience()))
    }

    /// Moves probes that have been under way for long over to the slow ones.
    fn slow_down(&mut self, now: u64) {
        while let Some((begun, serial)) = self.begun.front().copied() {
            // It may have ended, and even begun anew.
            let pace = self
                .under_way
                .get(&serial)
                .filter(|(_, since)| *since == begun);
            let pace = pace.map(|(pace, _)| *pace);
            if pace.is_some() && begun.saturating_add(patience()) > now {
                return;
            }
            self.begun.pop_front();
            let Some(pace @ (Pace::New | Pace::Quick)) = pace else {
                continue;
            };
            self.lane(pace).under_way -= 1;
            self.lane(Pace::Slow).under_way += 1;
            self.under_way.insert(serial, (Pace::Slow, begun));
        }
    }
}

impl Lane {
    /// The next in line; its host goes to the end.
    fn next(&mut self) -> Option<u64> {
        let host = self.hosts.pop_front()?;
        let line = self.line.get_mut(&host)?;
        let serial = line.pop_front();
        if line.is_empty() {
            self.line.remove(&host);
        } else {
            self.hosts.push_back(host);
        }
        serial
    }
}

fn patience() -> u64 {
    u64::try_from(PATIENCE.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(number: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, number])
    }

    fn begin_all(turns: &mut Turns, now: u64) -> Vec<u64> {
        std::iter::from_fn(|| turns.begin(now)).collect()
    }

    #[test]
    fn hosts_take_turns() {
        let mut turns = Turns::default();
        for serial in 0..4 {
            turns.line_up(serial, host(1), Pace::Quick);
        }
        turns.line_up(4, host(2), Pace::Quick);
        assert_eq!(begin_all(&mut turns, 0), [0, 4, 1, 2, 3]);
    }

    #[test]
    fn a_lane_begins_as_many_as_it_may_and_not_one_more() {
        for pace in Pace::ALL {
            let mut turns = Turns::default();
            let most = u64::try_from(pace.room()).unwrap();
            for serial in 0..=most {
                turns.line_up(serial, host(1), pace);
            }
            assert_eq!(begin_all(&mut turns, 0).len(), pace.room(), "{pace:?}");
            turns.end(0);
            assert_eq!(begin_all(&mut turns, 0), [most], "{pace:?}");
        }
    }

    #[test]
    fn there_are_never_more_than_the_limit_in_all() {
        let mut turns = Turns::default();
        let mut begun = 0;
        for round in 0..20 {
            for number in 0..256 {
                turns.line_up(round * 256 + number, host(1), Pace::New);
            }
            begun += begin_all(&mut turns, round * 250).len();
        }
        assert_eq!(begun, PROBES_MAX);
        turns.end(0);
        assert_eq!(begin_all(&mut turns, 5000).len(), 1);
    }

    #[test]
    fn a_probe_that_takes_long_gives_its_room_to_another() {
        let mut turns = Turns::default();
        for serial in 0..300 {
            turns.line_up(serial, host(1), Pace::Quick);
        }
        assert_eq!(begin_all(&mut turns, 0).len(), SWIFT_MAX);
        assert_eq!(turns.next_look(), Some(250));
        assert!(begin_all(&mut turns, 249).is_empty());
        assert_eq!(begin_all(&mut turns, 250).len(), 300 - SWIFT_MAX);
        assert_eq!(turns.next_look(), None, "nobody waits");
        for serial in 0..300 {
            turns.end(serial);
        }
        assert!(turns.lanes.iter().all(|lane| lane.under_way == 0));
    }

    #[test]
    fn programs_do_not_move_over() {
        let mut turns = Turns::default();
        for serial in 0..20 {
            turns.line_up(serial, host(1), Pace::Program);
        }
        assert_eq!(begin_all(&mut turns, 0).len(), PROGRAMS_MAX);
        assert!(begin_all(&mut turns, 10_000).is_empty());
    }
}
