//! What is listed and watched, and where it stands. Pure.

use portolan_model::percent::encode_component;

use super::cluster::Kind;

/// Objects of one kind, everywhere or in one namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Collection {
    pub(super) kind: Kind,
    pub(super) namespace: Option<String>,
    pub(super) selector: Option<String>,
}

impl Collection {
    fn resource(&self) -> (&'static str, &'static str) {
        match self.kind {
            Kind::Services => ("/api/v1", "services"),
            Kind::Slices => ("/apis/discovery.k8s.io/v1", "endpointslices"),
            Kind::Pods => ("/api/v1", "pods"),
        }
    }

    /// The path, with what follows its question mark.
    pub(super) fn path(&self, query: &[(&str, &str)]) -> String {
        let (group, resource) = self.resource();
        let mut path = match &self.namespace {
            Some(namespace) => format!("{group}/namespaces/{namespace}/{resource}"),
            None => format!("{group}/{resource}"),
        };
        let selector = self.selector.as_deref().map(|text| ("labelSelector", text));
        let pairs = query.iter().copied().chain(selector);
        for (index, (key, value)) in pairs.enumerate() {
            path.push(if index == 0 { '?' } else { '&' });
            path.push_str(key);
            path.push('=');
            path.push_str(&encode_component(value));
        }
        path
    }

    /// Of pods only the metadata is of use.
    pub(super) const fn accept(&self) -> &'static str {
        match self.kind {
            Kind::Pods => {
                "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json"
            }
            Kind::Services | Kind::Slices => "application/json",
        }
    }

    /// What it is, in words.
    pub(super) fn words(&self) -> String {
        let (group, resource) = self.resource();
        let group = match group {
            "/api/v1" => "",
            _ => " of discovery.k8s.io",
        };
        match &self.namespace {
            Some(namespace) => format!("{resource}{group} in namespace {namespace}"),
            None => format!("{resource}{group} in all namespaces"),
        }
    }
}
