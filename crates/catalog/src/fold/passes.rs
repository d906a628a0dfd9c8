//! Passes: a few times in a hold's time the guard looks at all holds.
//!
//! No pass lets go of more than a share of a service, or of everything, so that whoever was
//! wrong about the end of many instances is not wrong about all of them at once.
//!
//! Invariant: no pass takes a service from several instances to none.

use std::{collections::HashSet, net::SocketAddr, sync::Arc};

use portolan_model::{Departure, InstanceId, Origin, ServiceKey, SourceId};

use super::{Claims, Fold, GUARD_ACTOR, Step};
use crate::guard::{Fate, Keeping, Look, Room, Sign};

/// A held instance on its way through a pass.
pub(super) struct Place<'a> {
    pub(super) key: &'a ServiceKey,
    pub(super) source: &'a SourceId,
    pub(super) id: &'a InstanceId,
}

impl Fold {
    /// Looks at all holds, if it is time to.
    pub(super) fn pass(&mut self, step: &mut Step) {
        if self.watch.next_pass.is_none_or(|at| at > step.now) {
            return;
        }
        let instances = self.holders.values().map(|holder| holder.instances).sum();
        let mut room = Room {
            of_all: self.guard.share_of(instances),
            ..Room::default()
        };
        let held: Vec<_> = self.watch.held.iter().cloned().collect();
        for shares in held.chunk_by(|a, b| a.0 == b.0) {
            self.pass_service(step, shares, &mut room);
        }
        self.watch.next_pass = None;
        self.reschedule(Some(step.now.after(self.guard.pass())));
        self.watch.touch();
    }

    /// Looks at the holds of one service, which lie in shares of several sources.
    fn pass_service(
        &mut self,
        step: &mut Step,
        shares: &[(ServiceKey, SourceId)],
        room: &mut Room,
    ) {
        let Some((key, _)) = shares.first() else {
            return;
        };
        let claims = self.claims.get(key);
        room.left = claims.map_or(0, Claims::instances);
        room.of_service = self.guard.pace_of(room.left);
        let spoken = claims.into_iter().flat_map(Claims::spoken);
        let taken: HashSet<SocketAddr> = spoken.filter_map(|other| other.address(None)).collect();
        for (key, source) in shares {
            if self.holder(source).stale.is_some() {
                continue;
            }
            let ids: Vec<_> = self.share(source, key).held.keys().cloned().collect();
            for id in &ids {
                let place = Place { key, source, id };
                self.look_at(step, &place, &taken, room);
            }
        }
    }

    /// Looks at one hold and does what has become of it.
    pub(super) fn look_at(
        &mut self,
        step: &mut Step,
        place: &Place<'_>,
        taken: &HashSet<SocketAddr>,
        room: &mut Room,
    ) {
        let Place { key, source, id } = *place;
        let share = self.share(source, key);
        let is_alone = share.sure == 0;
        let (Some(instance), Some(hold)) = (share.instances.get(id), share.held.get(id)) else {
            return;
        };
        let (instance, mut hold) = (Arc::clone(instance), hold.clone());
        if self.guard.is_off() && hold.keeping != Keeping::Told {
            hold.until = Some(step.now);
            hold.keeping = Keeping::Suspect;
        }
        let reading = self.reading(step.now, &instance, hold.reading.told);
        let is_taken = instance
            .address(None)
            .is_some_and(|address| taken.contains(&address));
        let sign = reading.sign(step.now, self.guard.evidence);
        // Another one that its source speaks of may be the one that answers there.
        let sign = sign.filter(|sign| !is_taken || *sign == Sign::Dead);
        let fate = hold.decide(&Look {
            now: step.now,
            sign: sign.filter(|_| !self.guard.is_off()),
            is_alone,
            room: *room,
        });
        match fate {
            Fate::Stays => {
                if let Some(hold) = self.share(source, key).held.get_mut(id) {
                    hold.reading = reading;
                }
            }
            Fate::Vouched => self.vouch(step, &instance, reading),
            Fate::Lapsed => {
                self.end_hold(source, key, id);
                let (source, actor) = (source.clone(), Some(GUARD_ACTOR.into()));
                self.miss(step, Origin { source, actor }, key.clone(), id.clone());
            }
            Fate::Dead | Fate::Over => {
                room.take();
                let totals = &mut self.watch.totals;
                totals.found_dead += u64::from(fate == Fate::Dead);
                totals.hold_over += u64::from(fate == Fate::Over);
                let departure = Departure::Inferred;
                self.let_go(step, &instance, departure, Some(GUARD_ACTOR.into()));
            }
        }
    }
}
