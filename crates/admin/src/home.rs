//! A page for whoever opens the admin listener by hand.

use std::fmt::Write as _;

use http::{HeaderMap, header};
use portolan_snapshot::Snapshot;
use portolan_wire::serve::Response;

use crate::{ROUTES, answer::text};

pub(crate) fn home(snapshot: &Snapshot, headers: &HeaderMap) -> Response {
    let host = headers.get(header::HOST);
    let host = host
        .and_then(|host| host.to_str().ok())
        .unwrap_or("localhost:9070");
    let catalog = &snapshot.catalog;
    let services = catalog.service_count();
    let instances: usize = catalog
        .services()
        .map(|service| service.instances.len())
        .sum();
    let mut page = format!(
        "Portolan: {}, {}, revision {}\n\n",
        counted(services, "service"),
        counted(instances, "instance"),
        snapshot.revision()
    );
    let registry = [
        ("get", "/v1/services"),
        ("get", "/v1/watch"),
        ("get", "/v1/events"),
        ("get", "/v1/sources"),
    ];
    let shown = ROUTES
        .iter()
        .filter(|(_, path)| *path != "/")
        .chain(&registry);
    for (method, path) in shown {
        // Writing to a string can't fail.
        let _written = writeln!(page, "  {:<5} http://{host}{path}", method.to_uppercase());
    }
    let _written = write!(
        page,
        "\nRegister an instance of a service `hello` that listens on port 9001:\n\n  \
         curl -X PUT http://{host}/v1/services/hello/instances/1 -d '{{\"port\": 9001}}'\n"
    );
    text("text/plain; charset=utf-8", page)
}

fn counted(number: usize, word: &str) -> String {
    if number == 1 {
        format!("1 {word}")
    } else {
        format!("{number} {word}s")
    }
}
