//! What a change of configuration would do: objects, their fields, and what they touch.

use std::collections::{BTreeMap, BTreeSet};

use portolan_model::Name;
use serde::Serialize;
use serde_json::Value as Json;

use crate::{Described, ObjectKind, ObjectRef};

/// Everything between two configurations.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Difference {
    /// The objects that differ, by kind and name.
    pub changes: Vec<ObjectChange>,
    /// Routes whose requests may be treated otherwise than before, those that come and go
    /// included.
    pub routes: BTreeSet<Name>,
    /// Listeners that are opened, closed or set otherwise.
    pub listeners: BTreeSet<Name>,
}

/// An object that differs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ObjectChange {
    /// The object.
    pub object: ObjectRef,
    /// How it differs.
    #[serde(flatten)]
    pub change: Change,
    /// Routes that are touched by it.
    pub routes: BTreeSet<Name>,
}

/// How an object differs.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "change", content = "fields")]
pub enum Change {
    /// It is new.
    Added,
    /// It goes.
    Removed,
    /// Some of its fields differ.
    Changed(Vec<FieldChange>),
    /// What it says is the same; it is set aside now, for its errors or for those of what
    /// it names.
    SetAside,
    /// What it says is the same; it was set aside and now applies.
    Restored,
}

/// A field that differs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FieldChange {
    /// Where it stands in the object: `targets[0].weight`.
    pub path: String,
    /// What it was; nothing if it was not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old: Option<Json>,
    /// What it is; nothing if it is not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new: Option<Json>,
}

/// The objects of a plan, as [`crate::Plan::objects`] has them.
type Objects = BTreeMap<ObjectRef, Described>;

impl Difference {
    /// What leads from `old` to `new`.
    #[must_use]
    pub fn between(old: &Objects, new: &Objects) -> Self {
        let names: BTreeSet<&ObjectRef> = old.keys().chain(new.keys()).collect();
        let edges = Edges::of([old, new]);
        let mut difference = Self::default();
        for object in names {
            let Some(change) = change(old.get(object), new.get(object)) else {
                continue;
            };
            let routes = edges.routes_of(object);
            difference.routes.extend(routes.iter().cloned());
            if object.kind == ObjectKind::Listener {
                difference.listeners.insert(object.name.clone());
            }
            difference.changes.push(ObjectChange {
                object: object.clone(),
                change,
                routes,
            });
        }
        difference
    }

    /// Whether nothing differs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }
}

fn change(old: Option<&Described>, new: Option<&Described>) -> Option<Change> {
    match (old, new) {
        (None, None) => None,
        (None, Some(_)) => Some(Change::Added),
        (Some(_), None) => Some(Change::Removed),
        (Some(old), Some(new)) if old.written == new.written => {
            match (old.quarantined, new.quarantined) {
                (false, true) => Some(Change::SetAside),
                (true, false) => Some(Change::Restored),
                (false, false) | (true, true) => None,
            }
        }
        (Some(old), Some(new)) => {
            let mut fields = Vec::new();
            compare(
                &mut fields,
                String::new(),
                Some(&old.json()),
                Some(&new.json()),
            );
            // Members in another order are no change.
            if fields.is_empty() {
                None
            } else {
                Some(Change::Changed(fields))
            }
        }
    }
}

fn compare(fields: &mut Vec<FieldChange>, path: String, old: Option<&Json>, new: Option<&Json>) {
    match (old, new) {
        (Some(old), Some(new)) if old == new => {}
        (Some(Json::Object(old)), Some(Json::Object(new))) => {
            let added = new.keys().filter(|name| !old.contains_key(*name));
            for name in old.keys().chain(added) {
                let dot = if path.is_empty() { "" } else { "." };
                compare(
                    fields,
                    format!("{path}{dot}{name}"),
                    old.get(name),
                    new.get(name),
                );
            }
        }
        (Some(Json::Array(old)), Some(Json::Array(new))) => {
            for place in 0..old.len().max(new.len()) {
                compare(
                    fields,
                    format!("{path}[{place}]"),
                    old.get(place),
                    new.get(place),
                );
            }
        }
        _ => fields.push(FieldChange {
            path,
            old: old.cloned(),
            new: new.cloned(),
        }),
    }
}

/// Which routes name what, in the old or the new configuration.
struct Edges {
    /// All routes, and the listeners that they name; none for all listeners.
    routes: BTreeMap<Name, BTreeSet<Name>>,
    /// The routes that go to an upstream.
    upstreams: BTreeMap<Name, BTreeSet<Name>>,
    /// The routes that go to an upstream whose instances come from the catalogue.
    discovered: BTreeSet<Name>,
}

impl Edges {
    fn of(configurations: [&Objects; 2]) -> Self {
        let mut edges = Self {
            routes: BTreeMap::new(),
            upstreams: BTreeMap::new(),
            discovered: BTreeSet::new(),
        };
        for objects in configurations {
            for (object, described) in objects {
                if object.kind == ObjectKind::Route {
                    edges.add(objects, &object.name, &described.json());
                }
            }
        }
        edges
    }

    fn add(&mut self, objects: &Objects, route: &Name, written: &Json) {
        let name = |json: &Json| json.as_str().and_then(|text| Name::parse(text).ok());
        let named = written.get("listeners").and_then(Json::as_array);
        let named: BTreeSet<Name> = named.into_iter().flatten().filter_map(name).collect();
        // A route without listeners, before or after, serves all.
        let is_everywhere =
            named.is_empty() || self.routes.get(route).is_some_and(BTreeSet::is_empty);
        let listeners = self.routes.entry(route.clone()).or_default();
        listeners.extend(named);
        if is_everywhere {
            listeners.clear();
        }
        let targets = written
            .get("targets")
            .and_then(Json::as_array)
            .into_iter()
            .flatten();
        let upstreams = targets.filter_map(|target| target.get("upstream"));
        for upstream in upstreams.chain(written.get("target")).filter_map(name) {
            let key = ObjectRef::new(ObjectKind::Upstream, upstream.clone());
            if objects
                .get(&key)
                .is_some_and(|upstream| upstream.json().get("service").is_some())
            {
                self.discovered.insert(route.clone());
            }
            self.upstreams
                .entry(upstream)
                .or_default()
                .insert(route.clone());
        }
    }

    fn routes_of(&self, object: &ObjectRef) -> BTreeSet<Name> {
        let all = || self.routes.keys().cloned().collect();
        match object.kind {
            ObjectKind::Route => BTreeSet::from([object.name.clone()]),
            ObjectKind::Upstream => self
                .upstreams
                .get(&object.name)
                .cloned()
                .unwrap_or_default(),
            ObjectKind::Listener => {
                let serves = |(_, listeners): &(&Name, &BTreeSet<Name>)| {
                    listeners.is_empty() || listeners.contains(&object.name)
                };
                self.routes
                    .iter()
                    .filter(serves)
                    .map(|(route, _)| route.clone())
                    .collect()
            }
            ObjectKind::Source => self.discovered.clone(),
            ObjectKind::Section => match object.name.as_str() {
                "policies" | "gateway" => all(),
                "guard" | "registry" => self.discovered.clone(),
                _ => BTreeSet::new(),
            },
        }
    }
}

impl Described {
    fn json(&self) -> Json {
        serde_json::from_str(&self.written).unwrap_or(Json::Null)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::reading;

    const OLD: &str = "routes:\n  a: {target: u, match: {exact: /a}}\n  b: {targets: [{upstream: v}], listeners: web}\n\
                       upstreams:\n  u: {service: s}\n  v: {addresses: ['127.0.0.1:1', '127.0.0.1:2']}\n\
                       listeners:\n  web: {address: 127.0.0.1:81}\n  wide: {address: 127.0.0.1:82}\n\
                       sources:\n  s: {still: {path: x}}\n";

    fn between(old: &str, new: &str) -> Difference {
        let objects = |text: &str| reading(text).0.unwrap().objects;
        Difference::between(&objects(old), &objects(new))
    }

    /// The only change of a difference, and the routes that it touches.
    fn only(new: &str) -> (String, Change, Vec<String>) {
        let mut difference = between(OLD, new);
        assert_eq!(difference.changes.len(), 1, "{difference:#?}");
        let ObjectChange {
            object,
            change,
            routes,
        } = difference.changes.remove(0);
        (
            object.to_string(),
            change,
            routes.iter().map(ToString::to_string).collect(),
        )
    }

    fn fields(change: &Change) -> Vec<String> {
        let Change::Changed(fields) = change else {
            panic!("{change:?}")
        };
        let text = |json: &Option<Json>| json.as_ref().map_or("-".to_owned(), ToString::to_string);
        let field = |f: &FieldChange| format!("{}: {} > {}", f.path, text(&f.old), text(&f.new));
        fields.iter().map(field).collect()
    }

    #[test]
    fn equal_meanings_have_no_difference() {
        assert!(between(OLD, OLD).is_empty());
        let rewritten = OLD.replace("u: {service: s}", "u: {balance: latency, service: 's'}");
        assert!(between(OLD, &format!("# comment\n{rewritten}")).is_empty());
        assert!(between("", "guard: {share: 15}").is_empty());
    }

    #[test]
    fn fields_are_compared_one_by_one() {
        let (object, change, routes) =
            only(&OLD.replace("'127.0.0.1:2'", "'127.0.0.1:3', '127.0.0.1:4'"));
        assert_eq!(object, "upstream v");
        assert_eq!(
            fields(&change),
            [
                r#"addresses[1]: "127.0.0.1:2" > "127.0.0.1:3""#,
                r#"addresses[2]: - > "127.0.0.1:4""#
            ]
        );
        assert_eq!(routes, ["b"]);
        let (_, change, routes) =
            only(&OLD.replace("{service: s}", "{service: s, timeouts: {idle: 1s}}"));
        assert_eq!(fields(&change), [r#"timeouts: - > {"idle":"1s"}"#]);
        assert_eq!(routes, ["a"]);
    }

    #[test]
    fn a_change_reaches_the_routes_that_depend_on_it() {
        let (object, change, routes) = only(&OLD.replace("wide: {address: 127.0.0.1:82}", ""));
        assert_eq!(
            (object.as_str(), change, routes),
            ("listener wide", Change::Removed, vec!["a".into()])
        );
        let (_, _, routes) = only(&OLD.replace("127.0.0.1:81", "127.0.0.1:83"));
        assert_eq!(routes, ["a", "b"]);
        let (_, _, routes) = only(&OLD.replace("path: x", "path: y"));
        assert_eq!(routes, ["a"]);
        let (_, change, routes) = only(&format!("{OLD}policies: [{{mark: {{level: 1}}}}]\n"));
        assert_eq!(
            (change, routes),
            (Change::Added, vec!["a".to_owned(), "b".to_owned()])
        );
        let (_, _, routes) = only(&format!("{OLD}admin: {{address: 127.0.0.1:1}}\n"));
        assert!(routes.is_empty());
    }

    #[test]
    fn an_object_that_is_set_aside_is_told() {
        let difference = between(
            OLD,
            &OLD.replace("u: {service: s}", "u: {service: s, colour: red}"),
        );
        let told: Vec<_> = difference
            .changes
            .iter()
            .map(|one| (one.object.to_string(), one.change.clone()))
            .collect();
        assert!(
            told.contains(&("route a".to_owned(), Change::SetAside)),
            "{told:#?}"
        );
    }
}
