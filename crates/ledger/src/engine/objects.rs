//! Objects: what fronts keep beside keys.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use portolan_model::Revision;
use portolan_store::{LedgerKey, Operation};

use super::{
    Alteration, Answer, Engine, Expectation, KEY_BYTES_MAX, Refusal, keys::check_key, stored_key,
};
use crate::{
    entry::{BadRecord, Key},
    object::{Kind, OBJECT_BYTES_MAX, Object},
    session::SessionId,
};

/// Which object.
pub(super) type Place = (Kind, Key);

/// All objects, and what must be found fast.
#[derive(Debug, Default)]
pub(super) struct Objects {
    all: BTreeMap<Place, Object>,
    /// Whose a name is.
    aliases: BTreeMap<Place, Key>,
    /// What ends with a session.
    owned: BTreeMap<SessionId, BTreeSet<Place>>,
    counts: BTreeMap<Kind, usize>,
    /// The last revision that changed one of a kind.
    modified: BTreeMap<Kind, Revision>,
    bytes: usize,
}

impl Objects {
    pub(super) fn of(&self, kind: Kind) -> impl Iterator<Item = (&Key, &Object)> {
        let from = (kind, Key::from(""));
        let rest = self.all.range(from..);
        rest.take_while(move |((of, _), _)| *of == kind)
            .map(|((_, id), object)| (id, object))
    }

    pub(super) fn find(&self, place: &Place) -> Option<&Object> {
        self.all.get(place)
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// The index of a kind; `floor` if none of it changed since the engine began.
    pub(super) fn index(&self, kind: Kind, floor: Revision) -> Revision {
        self.modified.get(&kind).copied().unwrap_or(floor)
    }

    pub(super) fn touch(&mut self, kind: Kind, at: Revision) {
        self.modified.insert(kind, at);
    }

    /// Puts an object in place of what is there.
    pub(super) fn replace(&mut self, place: &Place, object: Option<Object>) -> Option<Object> {
        let before = self.all.remove(place);
        if let Some(before) = &before {
            self.bytes -= size_of(place, before);
            if let Some(alias) = &before.alias {
                self.aliases.remove(&(place.0, Key::clone(alias)));
            }
            if let Some(id) = &before.session {
                self.disown(id, place);
            }
        }
        let count = self.counts.entry(place.0).or_default();
        *count -= usize::from(before.is_some());
        *count += usize::from(object.is_some());
        if let Some(object) = object {
            self.bytes += size_of(place, &object);
            if let Some(alias) = &object.alias {
                let name = (place.0, Key::clone(alias));
                self.aliases.insert(name, Key::clone(&place.1));
            }
            if let Some(id) = &object.session {
                let owned = self.owned.entry(id.clone()).or_default();
                owned.insert(place.clone());
            }
            self.all.insert(place.clone(), object);
        }
        before
    }

    fn disown(&mut self, id: &SessionId, place: &Place) {
        if let Some(owned) = self.owned.get_mut(id) {
            owned.remove(place);
            if owned.is_empty() {
                self.owned.remove(id);
            }
        }
    }

    /// What ends with a session.
    pub(super) fn owned(&self, id: &SessionId) -> Vec<Place> {
        self.owned.get(id).into_iter().flatten().cloned().collect()
    }

    /// Whose sessions are not there any more.
    pub(super) fn orphans(&self, is_there: impl Fn(&SessionId) -> bool) -> Vec<Place> {
        let gone = self.owned.iter().filter(|(id, _)| !is_there(id));
        gone.flat_map(|(_, places)| places.iter().cloned())
            .collect()
    }

    fn oldest(&self, kind: Kind) -> Option<Place> {
        let oldest = self.of(kind).min_by_key(|(_, object)| object.created);
        oldest.map(|(id, _)| (kind, Key::clone(id)))
    }

    fn check_alias(&self, place: &Place, alias: &Key) -> Result<(), Refusal> {
        let owner = self.aliases.get(&(place.0, Key::clone(alias)));
        if owner.is_some_and(|owner| *owner != place.1) {
            return Err(Refusal::AliasTaken(Key::clone(alias)));
        }
        if self.all.contains_key(&(place.0, Key::clone(alias))) {
            return Err(Refusal::AliasIsId(Key::clone(alias)));
        }
        Ok(())
    }
}

fn size_of(place: &Place, object: &Object) -> usize {
    place.1.len() + object.body.len()
}

impl Engine {
    /// Keeps and forgets objects: all of it or nothing.
    pub(super) fn alter(&mut self, next: Revision, alterations: Vec<Alteration>) -> Answer {
        for alteration in alterations {
            if let Err(refusal) = self.alter_one(next, alteration) {
                self.roll_back();
                return Answer::Refused(refusal);
            }
        }
        Answer::Done(true)
    }

    fn alter_one(&mut self, next: Revision, alteration: Alteration) -> Result<(), Refusal> {
        let (place, expected) = match &alteration {
            Alteration::Keep(kind, id, _, expected) | Alteration::Forget(kind, id, expected) => {
                ((*kind, Key::clone(id)), *expected)
            }
        };
        check_key(&place.1)?;
        let before = self.objects.find(&place);
        let holds = match expected {
            Expectation::Nothing => true,
            Expectation::Absent => before.is_none(),
            Expectation::Present => before.is_some(),
            Expectation::At(index) => before.is_some_and(|object| object.modified == index),
        };
        if !holds {
            return Err(Refusal::Unexpected(place.1));
        }
        let Alteration::Keep(_, _, kept, _) = alteration else {
            self.put_object(&place, None);
            return Ok(());
        };
        let is_same = |object: &Object| {
            (&object.alias, &object.session, &object.body)
                == (&kept.alias, &kept.session, &kept.body)
        };
        if before.is_some_and(is_same) {
            return Ok(());
        }
        let created = before.map_or(next, |object| object.created);
        let object = Object {
            alias: kept.alias,
            session: kept.session,
            body: kept.body,
            created,
            modified: next,
        };
        self.check_object(&place, &object)?;
        if self.objects.find(&place).is_none() {
            self.make_room(place.0)?;
        }
        self.put_object(&place, Some(object));
        Ok(())
    }

    fn check_object(&self, place: &Place, object: &Object) -> Result<(), Refusal> {
        if object.body.len() > OBJECT_BYTES_MAX {
            return Err(Refusal::ObjectTooLarge(object.body.len()));
        }
        if let Some(alias) = &object.alias {
            if alias.len() > KEY_BYTES_MAX {
                return Err(Refusal::KeyTooLong(alias.len()));
            }
            self.objects.check_alias(place, alias)?;
        }
        if let Some(id) = &object.session
            && !self.sessions.contains_key(id)
        {
            return Err(Refusal::NoSession(id.clone()));
        }
        let before = self.objects.find(place);
        self.check_room(
            size_of(place, object),
            before.map_or(0, |before| size_of(place, before)),
        )
    }

    /// Lets one more of that kind in.
    fn make_room(&mut self, kind: Kind) -> Result<(), Refusal> {
        let count = self.objects.counts.get(&kind).copied().unwrap_or(0);
        if count < kind.max() {
            return Ok(());
        }
        match (kind, self.objects.oldest(kind)) {
            (Kind::Event, Some(oldest)) => self.put_object(&oldest, None),
            (Kind::Event | Kind::Query | Kind::Node | Kind::Check, _) => {
                return Err(Refusal::TooManyObjects(kind.max()));
            }
        }
        Ok(())
    }

    /// Changes an object, and remembers what it was.
    pub(super) fn put_object(&mut self, place: &Place, object: Option<Object>) {
        let before = self.objects.replace(place, object);
        self.touched_objects.push((place.clone(), before));
    }

    /// What a step has to write of the objects that it touched, and of which kinds they are.
    pub(super) fn written_objects(
        &mut self,
        next: Revision,
        writes: &mut Vec<Operation>,
    ) -> Vec<Kind> {
        let touched = std::mem::take(&mut self.touched_objects);
        let places: BTreeSet<Place> = touched.into_iter().map(|(place, _)| place).collect();
        for place in &places {
            let stored = stored_key(place.0.folder(), &place.1);
            writes.push(match self.objects.find(place) {
                Some(object) => Operation::Put(stored, encode(object)),
                None => Operation::Delete(stored),
            });
        }
        let mut kinds: Vec<Kind> = places.into_iter().map(|(kind, _)| kind).collect();
        kinds.dedup();
        for kind in &kinds {
            self.objects.touch(*kind, next);
        }
        kinds
    }

    /// Takes in a stored object; says whether the key is one's.
    pub(super) fn take_object(&mut self, key: &str, value: &Bytes) -> Result<bool, BadRecord> {
        for kind in Kind::ALL {
            if let Some(id) = key.strip_prefix(kind.folder()) {
                let object: Object =
                    serde_json::from_slice(value).map_err(|error| BadRecord(error.to_string()))?;
                self.revision = self.revision.max(object.modified);
                self.objects.replace(&(kind, id.into()), Some(object));
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// All objects as they are stored.
    pub(super) fn stored_objects(&self) -> impl Iterator<Item = (LedgerKey, Bytes)> {
        let all = self.objects.all.iter();
        all.map(|((kind, id), object)| (stored_key(kind.folder(), id), encode(object)))
    }
}

fn encode(object: &Object) -> Bytes {
    // Texts and numbers can always be written.
    serde_json::to_vec(object).unwrap_or_default().into()
}
