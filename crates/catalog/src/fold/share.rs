//! What sources say: a share each of the services that they speak of.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use portolan_model::{Guard, Instance, InstanceId, ServiceKey, SourceId, Timestamp};

use super::{roll::Roll, rulings};
use crate::{
    Conflict, SourceStatus, Staleness,
    guard::{Hold, Losses},
};

/// What one source says about one service.
#[derive(Debug, Default)]
pub(super) struct Share {
    pub(super) instances: Roll,
    /// Instances that the source does not speak of any more and that the guard keeps.
    pub(super) held: BTreeMap<InstanceId, Hold>,
    /// Instances that get traffic and are no suspects.
    pub(super) sure: usize,
    pub(super) losses: Losses,
    /// The last `Reset` named the service.
    pub(super) declared: bool,
    /// When the last instance went, if the service is to be forgotten for it.
    pub(super) emptied_at: Option<Timestamp>,
}

/// What all sources say about one service, in the order of precedence.
#[derive(Debug, Default)]
pub(super) struct Claims(Vec<Claim>);

#[derive(Debug)]
struct Claim {
    rank: usize,
    source: SourceId,
    share: Share,
}

/// What is known about a source.
#[derive(Debug, Default)]
pub(super) struct Holder {
    pub(super) keys: BTreeSet<ServiceKey>,
    pub(super) instances: usize,
    pub(super) sure: usize,
    pub(super) held: usize,
    pub(super) losses: Losses,
    pub(super) stale: Option<Staleness>,
    /// Its settings changed; what the next `Reset` does not name goes at once.
    pub(super) replaced: bool,
    /// It said everything once.
    pub(super) is_whole: bool,
    /// Some of its instances are only remembered: until it has said everything, a `Put` is
    /// news of one of them and not of the others.
    pub(super) is_remembered: bool,
    pub(super) heard_at: Option<Timestamp>,
    pub(super) changed_at: Option<Timestamp>,
}

impl Claims {
    pub(super) fn share(&self, source: &SourceId) -> Option<&Share> {
        let claim = self.0.iter().find(|claim| claim.source == *source)?;
        Some(&claim.share)
    }

    pub(super) fn share_mut(&mut self, source: &SourceId, rank: Option<usize>) -> &mut Share {
        let rank = rank.unwrap_or(usize::MAX);
        let claims = &mut self.0;
        let sought = (rank, source);
        let place = claims.binary_search_by(|claim| (claim.rank, &claim.source).cmp(&sought));
        let place = place.unwrap_or_else(|place| {
            let claim = Claim {
                rank,
                source: source.clone(),
                share: Share::default(),
            };
            // Nearly all services have one source.
            claims.reserve_exact(1);
            claims.insert(place, claim);
            place
        });
        &mut claims[place].share
    }

    /// How many instances all sources together have, those that are held included.
    pub(super) fn instances(&self) -> usize {
        let claims = self.0.iter();
        claims.map(|claim| claim.share.instances.len()).sum()
    }

    /// The instances of which their source speaks.
    pub(super) fn spoken(&self) -> impl Iterator<Item = &Arc<Instance>> {
        self.0.iter().flat_map(|Claim { share, .. }| {
            let instances = share.instances.iter();
            instances.filter(|instance| !share.held.contains_key(&instance.id))
        })
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn drop_share(&mut self, source: &SourceId) {
        self.0.retain(|claim| claim.source != *source);
    }

    /// Puts the claims into a new order; says whether that made a difference.
    pub(super) fn arrange(&mut self, ranks: &HashMap<SourceId, usize>) -> bool {
        for claim in &mut self.0 {
            claim.rank = ranks.get(&claim.source).copied().unwrap_or(usize::MAX);
        }
        let by_rank = |a: &Claim, b: &Claim| (a.rank, &a.source) <= (b.rank, &b.source);
        let differs = !self.0.is_sorted_by(by_rank);
        self.0
            .sort_by(|a, b| (a.rank, &a.source).cmp(&(b.rank, &b.source)));
        differs
    }

    /// The service's instances by id, and the ids that several claim. `None` if
    /// nobody speaks of the service.
    pub(super) fn merge(&self) -> Option<(Vec<Arc<Instance>>, Vec<Conflict>)> {
        if let [only] = self.0.as_slice() {
            let instances = only.share.instances.iter();
            return Some((instances.cloned().collect(), Vec::new()));
        }
        let claims = self.0.iter();
        let mut all: Vec<_> = claims
            .flat_map(|claim| claim.share.instances.iter())
            .collect();
        // Stable, so that the first of equal ids is the first in precedence.
        all.sort_by(|a, b| a.id.cmp(&b.id));
        let (mut instances, mut conflicts) = (Vec::new(), Vec::new());
        for same in all.chunk_by(|a, b| a.id == b.id) {
            let Some((winner, losers)) = same.split_first() else {
                continue;
            };
            instances.push(Arc::clone(winner));
            if !losers.is_empty() {
                conflicts.push(Conflict {
                    id: winner.id.clone(),
                    winner: winner.source.clone(),
                    losers: losers.iter().map(|loser| loser.source.clone()).collect(),
                });
            }
        }
        (!self.0.is_empty()).then_some((instances, conflicts))
    }
}

impl Holder {
    pub(super) fn status(&self, id: &SourceId) -> SourceStatus {
        SourceStatus {
            id: id.clone(),
            stale: self.stale.clone(),
            services: self.keys.len(),
            instances: self.instances,
            held: self.held,
            heard_at: self.heard_at,
            changed_at: self.changed_at,
        }
    }
}

/// Whether the guard has to care: the instance gets traffic and is no suspect.
pub(super) fn is_sure(instance: &Instance) -> bool {
    instance.state.traffic().is_open() && !is_held(instance)
}

pub(super) fn is_held(instance: &Instance) -> bool {
    instance.state.guard == Guard::Suspect
}

/// The instance with the time since when it is there: what is known of it stays, whatever a
/// source says that began later.
pub(super) fn seen_first(
    known: Option<&Arc<Instance>>,
    mut told: Arc<Instance>,
    now: Timestamp,
) -> Arc<Instance> {
    let unknown = Timestamp::default();
    let known = known.map_or(unknown, |known| known.state.first_seen);
    let times = [known, told.state.first_seen];
    let first = times.into_iter().find(|at| *at != unknown).unwrap_or(now);
    if told.state.first_seen != first {
        Arc::make_mut(&mut told).state.first_seen = first;
    }
    told
}

/// The instance as this source's word, with the axes cleared that are not its own.
pub(super) fn owned_by(source: &SourceId, mut instance: Arc<Instance>) -> Arc<Instance> {
    let state = &instance.state;
    let is_foreign = state.guard != Guard::None || state.stale || rulings::is_claimed(state);
    if instance.source != *source || is_foreign {
        let instance = Arc::make_mut(&mut instance);
        instance.source = source.clone();
        instance.state.guard = Guard::None;
        instance.state.stale = false;
        rulings::clear(&mut instance.state);
    }
    instance
}
