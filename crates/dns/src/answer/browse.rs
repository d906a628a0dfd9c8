//! What DNS-SD browses (RFC 6763): services, their instances, and what those say of themselves.

use super::{
    records::texts_of,
    render::{FIXED_TTL, Of, Pen},
};
use crate::{
    wire::{Owner, is_name, kind, put_labels},
    zone::{Member, Members, Service},
};

impl Pen<'_, '_> {
    pub(super) fn browsed(&mut self, service: &Service) {
        if !matches!(self.query.kind, kind::PTR | kind::ANY) {
            // By RFC 2782 it is a name of the service, too.
            if self.query.kind == kind::SRV {
                self.servers(Of::service(service), &service.all.servers);
            }
            return;
        }
        for instance in service.open() {
            let id = instance.id.as_str().as_bytes();
            // A label can't hold more; such an instance is found by the service's SRV.
            if !is_name([id], self.place.name.as_wire().len()) {
                continue;
            }
            let is_in = self
                .message
                .record(Owner::Question(0), kind::PTR, service.ttl, |out| {
                    put_labels(out, &[id], Owner::Question(0));
                });
            if !is_in {
                return;
            }
        }
    }

    pub(super) fn instance(&mut self, service: &Service, member: Member) {
        match self.query.kind {
            kind::SRV | kind::ANY => {
                self.servers(Of::service(service), &Members::new(vec![member]));
            }
            kind::TXT => {
                let texts = service.instance(&member).map(|instance| texts_of(instance));
                let texts = texts.unwrap_or_default();
                let all: Vec<&[u8]> = texts.iter().map(String::as_bytes).collect();
                // There must be one text (RFC 6763, section 6.1).
                let all = if all.is_empty() { vec![&b""[..]] } else { all };
                self.texts(&all, service.ttl);
            }
            _ => {}
        }
    }

    pub(super) fn types(&mut self, namespace: &[u8]) {
        if !matches!(self.query.kind, kind::PTR | kind::ANY) {
            return;
        }
        let table = self.place.table;
        // `_services._dns-sd._udp` stands before the domain.
        let domain = Owner::Question(self.place.name.offset(3));
        let rest = self.place.name.suffix(3).len();
        let ttl = self.settings().negative_ttl;
        for service in table.iter().filter(|service| !service.is_empty()) {
            let key = &service.known.key;
            let label = [b"_", key.name.as_str().as_bytes()].concat();
            if key.namespace.as_str().as_bytes() != namespace || !is_name([&*label, b"_tcp"], rest)
            {
                continue;
            }
            let is_in = self
                .message
                .record(Owner::Question(0), kind::PTR, ttl, |out| {
                    put_labels(out, &[&label, b"_tcp"], domain);
                });
            if !is_in {
                return;
            }
        }
    }

    pub(super) fn domain(&mut self, from: usize) {
        if !matches!(self.query.kind, kind::PTR | kind::ANY) {
            return;
        }
        let domain = Owner::Question(self.place.name.offset(from));
        self.message
            .record(Owner::Question(0), kind::PTR, FIXED_TTL, |out| {
                put_labels(out, &[], domain);
            });
    }
}
