//! One list of the objects of file and store.

use std::collections::BTreeMap;

use portolan_model::Problem;

use crate::{ObjectKind, ObjectRef, StoredObject, raw::RawObject, report::Report};

/// One list of objects, each named once.
pub(super) fn merge(
    file: Vec<RawObject>,
    stored: Vec<StoredObject>,
    report: &mut Report,
) -> Vec<RawObject> {
    let mut objects = file;
    let is_listener = |object: &ObjectRef| object.kind == ObjectKind::Listener;
    if stored.iter().any(|stored| is_listener(&stored.object)) {
        objects.retain(|raw| !(is_listener(&raw.object) && raw.is_default()));
    }
    let mut places: BTreeMap<ObjectRef, usize> = objects
        .iter()
        .enumerate()
        .map(|(place, raw)| (raw.object.clone(), place))
        .collect();
    for object in stored {
        let raw = RawObject::from(object);
        let taken = places
            .get(&raw.object)
            .and_then(|place| objects.get_mut(*place));
        match taken {
            None => {
                places.insert(raw.object.clone(), objects.len());
                objects.push(raw);
            }
            Some(first) if first.is_default() => *first = raw,
            Some(first) => {
                report.begin(Some(raw.object.clone()), raw.document);
                let first = first.document.origin(first.at);
                let problem =
                    Problem::new("", format!("it is at {first} too, and that one applies"))
                        .with_help("rename one of the two, or remove it");
                report.warning(raw.at, problem);
            }
        }
    }
    objects
}
