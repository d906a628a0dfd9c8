//! Which instances of a list are wanted, and as of when.

use std::sync::Arc;

use portolan_catalog::{Catalog, Forgotten, Gap, Past};
use portolan_dialects::native::InstanceView;
use portolan_expression::cel::{BadProgram, Budget, Program, Unanswered};
use portolan_model::{Health, Instance, Revision, Timestamp};
use portolan_wire::serve::Query;
use serde_json::Value;

use super::Refusal;
use crate::Registry;

/// How a parameter of a metadata pair begins.
const METADATA: &str = "metadata.";
/// Instances that are looked at in one go.
const STEP: usize = 256;
/// Steps of the condition after which others have their turn: a few milliseconds at worst.
const TURN_STEPS: u64 = 10_000;

/// What an instance must be; every condition that is given counts.
#[derive(Debug, Default)]
pub(super) struct Filter<'q> {
    metadata: Vec<(&'q str, &'q str)>,
    tags: Vec<&'q str>,
    zone: Option<&'q str>,
    version: Option<&'q str>,
    health: Option<Health>,
    is_open: Option<bool>,
    /// A condition in CEL over the instance as the API shows it.
    program: Option<Program>,
}

impl<'q> Filter<'q> {
    /// Reads the conditions; what is no condition and not in `others` is refused, since a
    /// condition that is misspelled must not be one that always holds.
    pub(super) fn parse(query: &'q Query<'_>, others: &[&str]) -> Result<Self, Refusal> {
        let mut filter = Self::default();
        for (name, value) in query.pairs() {
            match name {
                "tag" => filter.tags.push(value),
                "zone" => filter.zone = Some(value),
                "version" => filter.version = Some(value),
                "status" => filter.health = Some(health(value)?),
                "open" => filter.is_open = Some(truth(value)?),
                "filter" => filter.program = Some(Program::compile(value, InstanceView::FIELDS)?),
                _ if others.contains(&name) => {}
                _ => {
                    let key = name.strip_prefix(METADATA).ok_or_else(|| {
                        let detail = format!(
                            "no parameter `{name}`; there are tag, zone, version, status, open, \
                             filter, {METADATA}<key>, {}",
                            others.join(", ")
                        );
                        Refusal::malformed(detail)
                    })?;
                    filter.metadata.push((key, value));
                }
            }
        }
        Ok(filter)
    }

    /// Those of the instances that are wanted.
    pub(super) async fn choose<'i>(
        &self,
        instances: &'i [Arc<Instance>],
    ) -> Result<Vec<&'i Arc<Instance>>, Refusal> {
        let (mut chosen, mut budget) = (Vec::new(), Budget::default());
        let (mut looked_at, mut spent_before) = (0, 0);
        for instance in instances {
            let has_had_its_turn =
                looked_at >= STEP || budget.spent().saturating_sub(spent_before) >= TURN_STEPS;
            if has_had_its_turn {
                // A long list, or a costly condition, lets others have their turn.
                tokio::task::yield_now().await;
                (looked_at, spent_before) = (0, budget.spent());
            }
            looked_at += 1;
            if self.holds(instance) && self.answers(instance, &mut budget)? {
                chosen.push(instance);
            }
        }
        Ok(chosen)
    }

    fn answers(&self, instance: &Instance, budget: &mut Budget) -> Result<bool, Refusal> {
        let Some(program) = &self.program else {
            return Ok(true);
        };
        match serde_json::to_value(InstanceView::from(instance)) {
            Ok(Value::Object(object)) => Ok(program.holds(&object, budget)?),
            Ok(_) | Err(_) => Ok(false),
        }
    }

    fn holds(&self, instance: &Instance) -> bool {
        let has = |(key, value): &(&str, &str)| {
            instance
                .metadata
                .get(*key)
                .is_some_and(|own| **own == **value)
        };
        let is_tagged = |tag: &&str| instance.tags.iter().any(|own| **own == **tag);
        self.metadata.iter().all(has)
            && self.tags.iter().all(is_tagged)
            && self
                .zone
                .is_none_or(|zone| instance.zone.as_deref() == Some(zone))
            && self
                .version
                .is_none_or(|version| instance.version.as_deref() == Some(version))
            && self
                .health
                .is_none_or(|health| instance.state.health == health)
            && self
                .is_open
                .is_none_or(|is_open| instance.state.traffic().is_open() == is_open)
    }
}

fn health(text: &str) -> Result<Health, Refusal> {
    Ok(match text {
        "passing" => Health::Passing,
        "warning" => Health::Warning,
        "starting" => Health::Starting,
        "critical" => Health::Critical,
        _ => {
            let detail = "`status` is passing, warning, starting or critical";
            return Err(Refusal::malformed(detail));
        }
    })
}

fn truth(text: &str) -> Result<bool, Refusal> {
    match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(Refusal::malformed("`open` is true or false")),
    }
}

/// The revision that `at` names, as a revision or as a time, with what was stored if memory
/// does not reach back that far; the newest if there is none.
pub(super) async fn moment(
    query: &Query<'_>,
    registry: &Registry,
    catalog: &Catalog,
) -> Result<(Revision, Option<Arc<Past>>), Refusal> {
    let journal = catalog.journal();
    let Some(text) = query.find("at") else {
        return Ok((catalog.revision(), None));
    };
    if let Ok(number) = text.parse() {
        let revision = Revision::from_u64(number);
        if revision > catalog.revision() {
            let detail = format!("revision {revision} is yet to come");
            return Err(Refusal::malformed(detail));
        }
        let past = if revision < journal.oldest() {
            registry.past(journal.oldest()).await
        } else {
            None
        };
        let gap = past.as_ref().and_then(|past| past.gap_at(revision));
        return gap.map_or(Ok((revision, past)), |gap| Err(gap.into()));
    }
    let time = Timestamp::parse(text)
        .map_err(|error| Refusal::malformed(format!("`at` is a revision or a time: {error}")))?;
    if let Some(revision) = journal.revision_at(time) {
        return Ok((revision, None));
    }
    let past = registry.past(journal.oldest()).await;
    let found = past.as_ref().map(|past| past.revision_at(time));
    if let Some(revision) = found.transpose()?.flatten() {
        return Ok((revision, past));
    }
    let oldest = past.map_or(journal.oldest(), |past| past.oldest());
    let detail = format!("what was at {time} is forgotten; the journal goes back to {oldest}");
    Err(Refusal::forgotten(detail))
}

impl From<BadProgram> for Refusal {
    fn from(error: BadProgram) -> Self {
        Self::malformed(format!("`filter`, {error}"))
    }
}

impl From<Unanswered> for Refusal {
    fn from(error: Unanswered) -> Self {
        Self::malformed(format!("`filter`, {error}"))
    }
}

impl From<Gap> for Refusal {
    fn from(gap: Gap) -> Self {
        Self::forgotten(gap.to_string())
    }
}

impl From<Forgotten> for Refusal {
    fn from(error: Forgotten) -> Self {
        Self::forgotten(error.to_string())
    }
}
