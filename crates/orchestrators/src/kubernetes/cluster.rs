//! What is known of a cluster: objects by kind, namespace and name. Pure.

use std::collections::{BTreeMap, BTreeSet};

use portolan_model::{Instance, InstanceId, ServiceKey, SourceId};
use portolan_sources::frame::{Unfit, Unfits, View, foreign_id, foreign_name};
use serde_json::Value;

use super::{
    map::{self, SERVICE_LABEL, text},
    settings::Settings,
};

/// Most objects of one kind.
pub(super) const OBJECTS_MAX: usize = 250_000;

/// A namespace and a name within it.
pub(super) type Place = (String, String);

/// A kind of object that is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Services,
    Slices,
    Pods,
}

/// Objects as the API server has them.
#[derive(Debug, Default)]
pub(super) struct Cluster {
    services: BTreeMap<Place, Value>,
    slices: BTreeMap<Place, Value>,
    pods: BTreeMap<Place, Value>,
    /// The slices of each Service.
    slices_of: BTreeMap<Place, BTreeSet<String>>,
    /// The Services whose slices name a pod, and how often they do.
    services_of: BTreeMap<Place, BTreeMap<String, usize>>,
}

/// What a Service comes to.
#[derive(Debug, Default)]
pub(super) struct Made {
    pub(super) instances: Vec<Instance>,
    pub(super) unfit: Vec<(String, Unfit)>,
    pub(super) unread: Unread,
    /// It is only another name for a host, and no service of ours.
    pub(super) is_external: bool,
}

/// Endpoints that are there and can't be read, so that what was said of them is not over.
#[derive(Debug, Default)]
pub(super) struct Unread {
    ids: BTreeSet<InstanceId>,
    /// Nobody knows which instances they were.
    is_any: bool,
}

impl Unread {
    /// Whether an instance may be one of them.
    pub(super) fn may_be(&self, id: &InstanceId) -> bool {
        self.is_any || self.ids.contains(id)
    }
}

impl Made {
    /// What of it can't be used.
    pub(super) fn unfits(&self, place: &Place) -> Unfits {
        let mut view = View::default();
        self.pass_over(place, &mut view);
        view.unfits().clone()
    }

    fn pass_over(&self, place: &Place, view: &mut View) {
        for (what, why) in &self.unfit {
            let what = format!("{}/{} {what}", place.0, place.1);
            view.pass_over(what.trim_end(), why);
        }
    }
}

/// Everything, and what was made of which Service.
#[derive(Debug, Default)]
pub(super) struct Everything {
    pub(super) view: View,
    pub(super) said: BTreeMap<Place, BTreeSet<(ServiceKey, InstanceId)>>,
    pub(super) unfits: BTreeMap<Place, Unfits>,
}

impl Cluster {
    /// Puts these in the place of all objects of a kind, or of those in one namespace.
    pub(super) fn replace(&mut self, kind: Kind, namespace: Option<&str>, objects: Vec<Value>) {
        let gone: Vec<_> = self
            .objects(kind)
            .filter(|place| namespace.is_none_or(|n| n == place.0))
            .cloned()
            .collect();
        for place in gone {
            self.drop_object(kind, &place);
        }
        for object in objects {
            self.put(kind, object);
        }
    }

    /// Takes in an object; gives the Services that it changes.
    pub(super) fn put(&mut self, kind: Kind, mut object: Value) -> Vec<Place> {
        let place = place_of(&object);
        slim(&mut object);
        // What it was part of before may have lost it.
        let mut changed = self.drop_object(kind, &place);
        changed.extend(self.insert(kind, place, object));
        changed.sort();
        changed.dedup();
        changed
    }

    /// Takes out an object; gives the Services that it changes.
    pub(super) fn remove(&mut self, kind: Kind, object: &Value) -> Vec<Place> {
        self.drop_object(kind, &place_of(object))
    }

    /// How many objects of a kind there are.
    pub(super) fn count(&self, kind: Kind) -> usize {
        match kind {
            Kind::Services => self.services.len(),
            Kind::Slices => self.slices.len(),
            Kind::Pods => self.pods.len(),
        }
    }

    /// Whether nothing is left, not even of what leads from one object to another.
    #[cfg(test)]
    pub(super) fn is_bare(&self) -> bool {
        self.slices_of.is_empty() && self.services_of.is_empty()
    }

    fn objects(&self, kind: Kind) -> impl Iterator<Item = &Place> {
        match kind {
            Kind::Services => self.services.keys(),
            Kind::Slices => self.slices.keys(),
            Kind::Pods => self.pods.keys(),
        }
    }

    fn insert(&mut self, kind: Kind, place: Place, object: Value) -> Vec<Place> {
        match kind {
            Kind::Services => {
                self.services.insert(place.clone(), object);
                vec![place]
            }
            Kind::Slices => {
                let service = service_of(&place, &object);
                self.slices_of
                    .entry(service.clone())
                    .or_default()
                    .insert(place.1.clone());
                for pod in pods_of(&object) {
                    let pod = (place.0.clone(), pod.to_owned());
                    let services = self.services_of.entry(pod).or_default();
                    let named = services.entry(service.1.clone()).or_default();
                    *named = named.saturating_add(1);
                }
                self.slices.insert(place, object);
                vec![service]
            }
            Kind::Pods => {
                let changed = self.naming(&place);
                self.pods.insert(place, object);
                changed
            }
        }
    }

    fn drop_object(&mut self, kind: Kind, place: &Place) -> Vec<Place> {
        match kind {
            Kind::Services => self
                .services
                .remove(place)
                .map(|_| place.clone())
                .into_iter()
                .collect(),
            Kind::Slices => {
                let Some(slice) = self.slices.remove(place) else {
                    return Vec::new();
                };
                let service = service_of(place, &slice);
                if let Some(names) = self.slices_of.get_mut(&service) {
                    names.remove(&place.1);
                    if names.is_empty() {
                        self.slices_of.remove(&service);
                    }
                }
                self.forget_pods(&service, &slice);
                vec![service]
            }
            Kind::Pods => {
                let changed = self.naming(place);
                self.pods.remove(place).map_or_else(Vec::new, |_| changed)
            }
        }
    }

    /// A Service may have named a pod by a slice that went; others of its slices may still.
    fn forget_pods(&mut self, service: &Place, slice: &Value) {
        for pod in pods_of(slice) {
            let place = (service.0.clone(), pod.to_owned());
            let Some(services) = self.services_of.get_mut(&place) else {
                continue;
            };
            if let Some(named) = services.get_mut(&service.1) {
                *named = named.saturating_sub(1);
                if *named == 0 {
                    services.remove(&service.1);
                }
            }
            if services.is_empty() {
                self.services_of.remove(&place);
            }
        }
    }

    /// The Services that name a pod.
    fn naming(&self, pod: &Place) -> Vec<Place> {
        let services = self.services_of.get(pod).into_iter().flatten();
        services
            .map(|(name, _)| (pod.0.clone(), name.clone()))
            .collect()
    }

    fn slices(&self, service: &Place) -> impl Iterator<Item = &Value> {
        let names = self.slices_of.get(service).into_iter().flatten();
        let namespace = service.0.clone();
        names.filter_map(move |name| self.slices.get(&(namespace.clone(), name.clone())))
    }

    /// Whether a Service is there, and more than another name for a host.
    pub(super) fn is_service(&self, place: &Place) -> bool {
        let service = self.services.get(place);
        service.is_some_and(|service| text(service, "/spec/type") != "ExternalName")
    }

    /// What a Service comes to; `None` if there is none.
    pub(super) fn made(
        &self,
        place: &Place,
        settings: &Settings,
        source: &SourceId,
    ) -> Option<Made> {
        let service = self.services.get(place)?;
        let basics = &settings.basics;
        let pod = |name: &str| self.pods.get(&(place.0.clone(), name.to_owned()));
        let reading = map::read(service, self.slices(place), pod, !basics.mapping.is_empty());
        let mut made = Made {
            instances: Vec::new(),
            unread: Unread {
                is_any: reading
                    .unfit
                    .iter()
                    .any(|(_, why)| matches!(why, Unfit::NoAddress)),
                ids: BTreeSet::new(),
            },
            unfit: reading.unfit,
            is_external: text(service, "/spec/type") == "ExternalName",
        };
        for (found, object) in reading.found {
            let id = found.id.clone();
            match basics.instance(source, found, || object) {
                Ok(Some(instance)) => made.instances.push(instance),
                Ok(None) => {}
                Err(why) => {
                    // By an expression its id may have been another.
                    match foreign_id(&id) {
                        Ok(id) if basics.mapping.is_empty() => {
                            made.unread.ids.insert(id);
                        }
                        Ok(_) | Err(_) => made.unread.is_any = true,
                    }
                    made.unfit.push((id, why));
                }
            }
        }
        Some(made)
    }

    /// Everything.
    pub(super) fn view(&self, settings: &Settings, source: &SourceId) -> Everything {
        let mut all = Everything::default();
        for place in self.services.keys() {
            let Some(made) = self.made(place, settings, source) else {
                continue;
            };
            if !made.unfit.is_empty() {
                made.pass_over(place, &mut all.view);
                all.unfits.insert(place.clone(), made.unfits(place));
            }
            if !made.is_external
                && let Some(key) = key_of(place)
            {
                all.view.add_service(key);
            }
            let said = all.said.entry(place.clone()).or_default();
            for instance in made.instances {
                said.insert((instance.key.clone(), instance.id.clone()));
                all.view.add(instance);
            }
        }
        all
    }
}

/// The key of a Service.
pub(super) fn key_of((namespace, name): &Place) -> Option<ServiceKey> {
    Some(ServiceKey {
        namespace: foreign_name(namespace).ok()?,
        name: foreign_name(name).ok()?,
    })
}

fn place_of(object: &Value) -> Place {
    let part = |pointer| text(object, pointer).to_owned();
    (part("/metadata/namespace"), part("/metadata/name"))
}

fn service_of(place: &Place, slice: &Value) -> Place {
    let labels = slice.pointer("/metadata/labels");
    let name = labels.and_then(|labels| labels.get(SERVICE_LABEL)?.as_str());
    (place.0.clone(), name.unwrap_or_default().to_owned())
}

fn pods_of(slice: &Value) -> impl Iterator<Item = &str> {
    let endpoints = slice.pointer("/endpoints").and_then(Value::as_array);
    let endpoints = endpoints.into_iter().flatten();
    endpoints
        .map(|endpoint| text(endpoint, "/targetRef/name"))
        .filter(|name| !name.is_empty())
}

/// Takes off what is large and of no use.
fn slim(object: &mut Value) {
    if let Some(metadata) = object
        .pointer_mut("/metadata")
        .and_then(Value::as_object_mut)
    {
        metadata.remove("managedFields");
        let annotations = metadata
            .get_mut("annotations")
            .and_then(Value::as_object_mut);
        if let Some(annotations) = annotations {
            annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
        }
    }
}
