//! Names of services as they were answered last, and what an answer changes about them.
//!
//! A large Consul answers thousands of names whenever one service registers, so an answer is
//! read without a copy of what it repeats, and whoever follows the names is told the
//! differences.

use std::{
    borrow::Cow,
    collections::{BTreeSet, HashMap, hash_map::DefaultHasher},
    fmt,
    hash::{Hash as _, Hasher as _},
};

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, SeqAccess, Visitor},
};

/// Consul itself, which nobody asked for.
const CONSUL: &str = "consul";

/// The names that are known.
#[derive(Debug, Default)]
pub(super) struct Roll {
    known: HashMap<String, Known>,
    /// The number of the last answer.
    answer: u64,
}

#[derive(Debug)]
struct Known {
    tags: u64,
    /// The last answer that named it.
    answer: u64,
}

/// What an answer changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    pub(super) came: BTreeSet<String>,
    pub(super) gone: BTreeSet<String>,
    /// Those whose tags became others.
    pub(super) retagged: BTreeSet<String>,
}

impl Changes {
    pub(super) fn is_empty(&self) -> bool {
        self.came.is_empty() && self.gone.is_empty() && self.retagged.is_empty()
    }
}

impl Roll {
    /// Takes in an answer.
    pub(super) fn take(&mut self, names: &Names<'_>) -> Changes {
        self.answer = self.answer.wrapping_add(1);
        let mut changes = Changes::default();
        for (name, tags) in &names.0 {
            match self.known.get_mut(&**name) {
                None => {
                    let known = Known {
                        tags: *tags,
                        answer: self.answer,
                    };
                    self.known.insert(name.clone().into_owned(), known);
                    changes.came.insert(name.clone().into_owned());
                }
                Some(known) => {
                    known.answer = self.answer;
                    if std::mem::replace(&mut known.tags, *tags) != *tags {
                        changes.retagged.insert(name.clone().into_owned());
                    }
                }
            }
        }
        // Nobody is gone unless there are more than were named just now.
        if self.known.len() > names.0.len() {
            let gone = self
                .known
                .extract_if(|_, known| known.answer != self.answer);
            changes.gone = gone.map(|(name, _)| name).collect();
        }
        changes
    }

    /// The names.
    pub(super) fn names(&self) -> impl Iterator<Item = &String> {
        self.known.keys()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.known.is_empty()
    }
}

/// An answer of `/v1/catalog/services` without Consul itself: each name, with a fingerprint of
/// its tags, which come in any order.
#[derive(Debug)]
pub(super) struct Names<'a>(Vec<(Cow<'a, str>, u64)>);

impl<'de> Deserialize<'de> for Names<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(NamesVisitor)
    }
}

struct NamesVisitor;

impl<'de> Visitor<'de> for NamesVisitor {
    type Value = Names<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the tags of each service")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Names<'de>, A::Error> {
        let mut names = Vec::new();
        while let Some((Text(name), Tags(tags))) = map.next_entry()? {
            if name != CONSUL {
                names.push((name, tags));
            }
        }
        // A name that is there twice would be counted twice.
        if !names.is_sorted_by(|(one, _), (next, _)| one < next) {
            names.sort_by(|(one, _), (other, _)| one.cmp(other));
            names.dedup_by(|(one, _), (other, _)| one == other);
        }
        Ok(Names(names))
    }
}

/// A text that is copied only if it is spelt otherwise in the answer.
struct Text<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(TextVisitor)
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Text<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Text<'de>, E> {
        Ok(Text(Cow::Borrowed(text)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Text<'de>, E> {
        Ok(Text(Cow::Owned(text.to_owned())))
    }
}

/// A fingerprint of tags.
struct Tags(u64);

impl<'de> Deserialize<'de> for Tags {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TagsVisitor)
    }
}

struct TagsVisitor;

impl<'de> Visitor<'de> for TagsVisitor {
    type Value = Tags;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of tags")
    }

    /// Nothing where Go writes null.
    fn visit_unit<E: Error>(self) -> Result<Tags, E> {
        Ok(Tags(0))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut tags: A) -> Result<Tags, A::Error> {
        let mut print = 0_u64;
        while let Some(Text(tag)) = tags.next_element()? {
            let mut hasher = DefaultHasher::new();
            tag.hash(&mut hasher);
            print = print.wrapping_add(hasher.finish());
        }
        Ok(Tags(print))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(roll: &mut Roll, answer: &str) -> Changes {
        roll.take(&serde_json::from_str(answer).unwrap())
    }

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn an_answer_tells_what_it_changes() {
        let mut roll = Roll::default();
        let first = take(&mut roll, r#"{"consul": [], "b": ["x", "y"], "a": null}"#);
        assert_eq!(first.came, names(&["a", "b"]));
        assert_eq!(roll.names().cloned().collect::<BTreeSet<_>>(), first.came);
        // Tags come in any order.
        let same = take(&mut roll, r#"{"a": [], "b": ["y", "x"], "consul": []}"#);
        assert!(same.is_empty(), "{same:?}");
        let next = take(&mut roll, r#"{"b": ["x"], "c\u0020d": [], "b": ["x"]}"#);
        let expected = Changes {
            came: names(&["c d"]),
            gone: names(&["a"]),
            retagged: names(&["b"]),
        };
        assert_eq!(next, expected);
        assert_eq!(take(&mut roll, "{}").gone, names(&["b", "c d"]));
        assert!(roll.is_empty());
    }

    #[test]
    fn what_is_no_list_of_names_changes_nothing() {
        for answer in ["[]", "<html>", r#"{"a": 1}"#, r#"{"a": [], "b": [1]}"#, ""] {
            assert!(
                serde_json::from_str::<Names<'_>>(answer).is_err(),
                "{answer}"
            );
        }
    }
}
