//! What DNS-SD browses (RFC 6763): services, their instances, and what those say of themselves.

use super::{
    records::put_texts_of,
    render::{FIXED_TTL, Of, Pen},
};
use crate::{
    wire::{LABEL_BYTES_MAX, Owner, is_name, kind, put_labels},
    zone::{Member, Service},
};

impl Pen<'_, '_> {
    pub(super) fn browsed(&mut self, service: &Service) {
        if !matches!(self.query.kind, kind::PTR | kind::ANY) {
            // By RFC 2782 it is a name of the service, too.
            if self.query.kind == kind::SRV {
                self.servers(Of::service(service), &service.all().servers);
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
                .record(Owner::Question(0), kind::PTR, service.ttl(), |out| {
                    put_labels(out, &[id], Owner::Question(0));
                });
            if !is_in {
                return;
            }
        }
    }

    pub(super) fn instance(&mut self, service: &Service, member: Member) {
        match self.query.kind {
            kind::SRV | kind::ANY => self.server(Of::service(service), &member),
            kind::TXT => {
                let Some(instance) = service.instance(&member) else {
                    return;
                };
                self.message
                    .record(Owner::Question(0), kind::TXT, service.ttl(), |out| {
                        put_texts_of(out, instance);
                    });
            }
            _ => {}
        }
    }

    pub(super) fn types(&mut self, namespace: &[u8]) {
        if !matches!(self.query.kind, kind::PTR | kind::ANY) {
            return;
        }
        // `_services._dns-sd._udp` stands before the domain.
        let domain = Owner::Question(self.place.name.offset(3));
        // With the underscore that a name gets.
        let rest = self.place.name.suffix(3).len().saturating_add(1);
        let ttl = self.settings().negative_ttl;
        for name in self.place.table.open_in(namespace) {
            let name = name.as_str().as_bytes();
            if name.len() >= LABEL_BYTES_MAX || !is_name([name, b"_tcp"], rest) {
                continue;
            }
            let is_in = self
                .message
                .record(Owner::Question(0), kind::PTR, ttl, |out| {
                    out.push(u8::try_from(name.len().saturating_add(1)).unwrap_or_default());
                    out.push(b'_');
                    out.extend_from_slice(name);
                    put_labels(out, &[b"_tcp"], domain);
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
