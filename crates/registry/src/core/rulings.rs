//! What operators ruled: kept here, put over instances by the catalogue.

use std::{collections::BTreeMap, sync::Arc};

use portolan_catalog::Ruled;
use portolan_model::Ruling;
use serde::{Deserialize, Serialize};

use super::{Answer, Engine, Fact, Refusal, Step, Subject};

/// Most rulings that hold at a time.
pub const RULINGS_MAX: usize = 100_000;

/// A ruling and whom it is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RulingRecord {
    /// Whom it is about.
    pub subject: Subject,
    /// The ruling.
    pub ruling: Arc<Ruling>,
}

/// All rulings, in the order of their subjects.
#[derive(Debug, Default)]
pub(super) struct Rulings(BTreeMap<Subject, Arc<Ruling>>);

impl Rulings {
    pub(super) fn records(&self) -> Vec<RulingRecord> {
        let rulings = self.0.iter();
        rulings
            .map(|(subject, ruling)| RulingRecord {
                subject: subject.clone(),
                ruling: Arc::clone(ruling),
            })
            .collect()
    }
}

impl Engine {
    pub(super) fn rule(
        &mut self,
        subject: Subject,
        ruling: Option<Arc<Ruling>>,
        step: &mut Step,
    ) -> Answer {
        let Some(ruling) = ruling else {
            if self.rulings.0.remove(&subject).is_none() {
                return Answer::Unknown;
            }
            step.rulings.push(ruled(&subject, None));
            step.facts.push(Fact::NoRuling(subject));
            return Answer::Ruled;
        };
        if self.rulings.0.len() >= RULINGS_MAX && !self.rulings.0.contains_key(&subject) {
            let limit = RULINGS_MAX;
            return Answer::Refused(Refusal::RulingsFull { limit });
        }
        step.rulings
            .push(ruled(&subject, Some(Arc::clone(&ruling))));
        step.facts.push(Fact::Ruling(RulingRecord {
            subject: subject.clone(),
            ruling: Arc::clone(&ruling),
        }));
        self.rulings.0.insert(subject, ruling);
        Answer::Ruled
    }

    /// Takes over what was ruled before this process began.
    pub(super) fn adopt_rulings(&mut self, records: Vec<RulingRecord>, step: &mut Step) {
        for RulingRecord { subject, ruling } in records {
            step.rulings
                .push(ruled(&subject, Some(Arc::clone(&ruling))));
            self.rulings.0.insert(subject, ruling);
        }
    }
}

fn ruled(subject: &Subject, ruling: Option<Arc<Ruling>>) -> Ruled {
    Ruled {
        key: subject.key.clone(),
        id: subject.id.clone(),
        ruling,
    }
}
