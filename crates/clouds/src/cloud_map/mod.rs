//! `cloud_map`: services of AWS Cloud Map.
//!
//! Settings: `region`; `namespaces`, a list of names (default: all of the account);
//! `poll` (default 5s), how often each service is asked whether it changed; `relist` (1m),
//! how often namespaces and services are listed; `timeout` (10s) for one answer;
//! `endpoint`, the API's address (default: those of the region), and
//! `tls` for it.
//!
//! Credentials are the first of: `access_key_id` and `secret_access_key` (with
//! `session_token` if they are temporary); `credentials_file`, as AWS's tools share it, and
//! its `profile` (`default`); `container_credentials`, the URL that ECS and EKS tell their
//! containers, with `container_token_file`; the instance's role, by `IMDSv2` at
//! `metadata_url` (`http://169.254.169.254`). Temporary ones are renewed five minutes
//! before they end. They need `servicediscovery:ListNamespaces`, `ListServices`,
//! `DiscoverInstances` and `DiscoverInstancesRevision`.
//!
//! | theirs | ours |
//! |---|---|
//! | namespace and service | namespace and service |
//! | instance's id | the id |
//! | `AWS_INSTANCE_IPV4`, else `AWS_INSTANCE_IPV6` | the address |
//! | `AWS_INSTANCE_PORT` | the port |
//! | `AVAILABILITY_ZONE` | the zone |
//! | attribute `version`, attribute `weight` | version, weight |
//! | health status `UNHEALTHY` | critical; `HEALTHY` and `UNKNOWN` are passing |
//! | all attributes but those of AWS | metadata |
//!
//! Expressions may speak of `namespace`, `service`, `id`, `health` and `attributes`.
//!
//! A service is only read whole when its revision moved. When the API throttles, calls
//! pause ever longer; when it is lost, or refuses, what was said stays and is stale.
//! What is not listed any more goes by inference.
//!
//! Trust: whoever may register instances in the account decides where requests go.

mod api;
mod credentials;
mod map;
mod settings;
mod sign;
#[cfg(test)]
mod tests;
mod watch;

use portolan_catalog::SourceKind;

/// The row in the shelf.
pub(crate) const KIND: SourceKind = SourceKind {
    name: "cloud_map",
    summary: "services of AWS Cloud Map, read when their revision moves",
    schema: settings::schema,
    example: "region: eu-central-1\nnamespaces: [prod.local]\ncredentials_file: /root/.aws/credentials\nprofile: portolan\n",
    bad_example: "region: \"\"\naccess_key_id: AKIDEXAMPLE\npoll: never\n",
    mapping: include_str!("mapping.txt"),
    parse: settings::parse,
};
