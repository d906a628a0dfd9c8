//! `kubernetes`: Services and their `EndpointSlices`, by list and watch.
//!
//! Settings: `kubeconfig`, a file that says where the API server is and who we are, and
//! `context` within it (default: its current one); without it the service account of the
//! pod that Portolan runs in. `namespaces`, a list (default: all); `selector`, a label
//! selector for Services like `tier=web`; `pods` (false), whether labels of pods are read
//! besides; `timeout` (10s) for one answer.
//!
//! The account needs `list` and `watch` on `services`, on `endpointslices` of
//! `discovery.k8s.io`, and with `pods` on `pods`: by a `ClusterRole`, or by Roles in every
//! one of `namespaces`.
//!
//! | theirs | ours |
//! |---|---|
//! | namespace and name of the Service | namespace and name of the service |
//! | name of the pod, else the host name, else the address | the id |
//! | ports of the slice, in the order of the Service's, TCP only | named ports; numbers may differ from slice to slice |
//! | `zone` of the endpoint | the zone |
//! | label `app.kubernetes.io/version`, else `version`, of the pod, else of the Service | the version |
//! | condition `ready`, or `publishNotReadyAddresses` of the Service | passing, else critical |
//! | condition `terminating` | leaving; if nobody is ready, those that still serve get traffic with a warning |
//! | labels of the pod, else of the Service; `hostname`, `pod`, `node`, `hints`, `app_protocol` | metadata |
//!
//! All slices of a Service are one; an endpoint that two of them name, because it moves
//! between them, is one instance. Of a pod with addresses of both families the Service's
//! first family is used. Headless Services are like others. An `ExternalName` and slices of
//! host names are passed over.
//!
//! Expressions may speak of `namespace`, `name`, `labels`, `annotations` and `type` of the
//! Service, of the `endpoint` as its slice has it, its `ports`, and of `pod`, the metadata
//! of the pod (empty without `pods`).
//!
//! Watches are taken up where they ended; bookmarks keep that point fresh. When the server
//! has forgotten it (410), everything is listed again and said at once, when the list is
//! whole. An endpoint that its slice does not name any more is gone, half a second
//! later, lest it only moved. What is missing from a new list, or can't be read any more,
//! goes by inference. By `map`, several Services may name one instance: the first in order
//! describes it, and it is gone when none names it. A server that is lost, silent, or refuses changes nothing but makes the source stale.
//!
//! Trust: whoever may write Services or `EndpointSlices` there decides where requests go. A
//! kubeconfig may name a program that fetches credentials; it is run as it says, and has
//! `timeout` for it.

mod api;
mod cluster;
mod collection;
mod map;
mod said;
mod settings;
#[cfg(test)]
mod tests;
mod watch;
mod watcher;

use portolan_catalog::SourceKind;

/// The row in the shelf.
pub(crate) const KIND: SourceKind = SourceKind {
    name: "kubernetes",
    summary: "Services and EndpointSlices of a Kubernetes cluster, watched",
    schema: settings::schema,
    example: "kubeconfig: /etc/portolan/kubeconfig.yaml\ncontext: production\nnamespaces: [shop, payments]\nselector: tier=web\npods: true\n",
    bad_example: "namespaces: [Shop, \"\"]\ncontext: production\npods: maybe\n",
    mapping: include_str!("mapping.txt"),
    parse: settings::parse,
};
