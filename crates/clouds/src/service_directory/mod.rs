//! `service_directory`: services of Google Cloud's Service Directory.
//!
//! Settings: `project` and `location`; `namespaces`, a list of ids (default: all of the
//! location); `poll` (default 10s), how often everything is read; `timeout` (10s) for one
//! answer; `endpoint`, the API's address (`https://servicedirectory.googleapis.com`), and
//! `tls` for it.
//!
//! Credentials are `key_file`, the JSON file of a service account's key, or else the token
//! of the machine's own account, from the metadata server at `metadata_url`
//! (`http://metadata.google.internal`). Tokens are renewed a minute before they end. The
//! account needs the role Service Directory Viewer.
//!
//! | theirs | ours |
//! |---|---|
//! | namespace and service | namespace and service |
//! | endpoint's id | the id |
//! | `address`, an IP address, and `port` | address and port |
//! | annotations `zone`, `version`, `weight` of the endpoint | zone, version, weight |
//! | annotations of the service and of the endpoint | metadata; the endpoint's win |
//!
//! Expressions may speak of `namespace`, `service`, `id`, `annotations` of the endpoint,
//! `service_annotations` and `network`.
//!
//! The directory has no health and no way to wait for a change, so it is asked over and
//! over; nothing is said unless something changed. When the quota is used up (429), calls
//! pause ever longer; when the API is lost, or refuses, what was said stays and is stale.
//! What is not listed any more goes by inference.
//!
//! Trust: whoever may write endpoints in the project decides where requests go.

mod api;
mod map;
mod settings;
#[cfg(test)]
mod tests;
mod token;
mod watch;

use portolan_catalog::SourceKind;

/// The row in the shelf.
pub(crate) const KIND: SourceKind = SourceKind {
    name: "service_directory",
    summary: "services of Google Cloud's Service Directory, read over and over",
    schema: settings::schema,
    example: "project: shop-production\nlocation: europe-west1\nnamespaces: [backend]\nkey_file: /etc/portolan/directory.json\n",
    bad_example: "project: \"a/b\"\nnamespaces: [\"\"]\n",
    mapping: include_str!("mapping.txt"),
    parse: settings::parse,
};
