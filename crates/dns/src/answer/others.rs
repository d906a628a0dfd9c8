//! What others found: prepared queries and nodes.

use std::net::IpAddr;

use super::render::{Of, Pen};
use crate::{
    directory::Node,
    wire::{Code, Name, Owner, kind, put_labels},
    zone::{Member, Members},
};

impl Pen<'_, '_> {
    /// Writes what a prepared query found.
    pub(crate) fn write_members(&mut self, members: &Members, ttl: u32) -> Code {
        let of = Of { service: None, ttl };
        if members.list.is_empty() {
            self.negative();
            return Code::NxDomain;
        }
        match self.query.kind {
            kind::SRV => self.servers(of, members),
            kind::A | kind::AAAA | kind::ANY => {
                let wanted = members.list.iter().filter(|member| match self.query.kind {
                    kind::A => member.ip.is_ipv4(),
                    kind::AAAA => member.ip.is_ipv6(),
                    _ => true,
                });
                let wanted = Members::new(wanted.map(Member::portless).collect());
                self.members(of, &wanted);
            }
            _ => {}
        }
        if self.is_nothing() {
            self.negative();
        }
        Code::NoError
    }

    /// Writes where a node is, and what is said of it (RFC 1464, as Consul has it).
    pub(crate) fn write_node(&mut self, node: &Node) -> Code {
        let ttl = self.settings().address_ttl();
        match node.address.parse::<IpAddr>() {
            Ok(ip) => self.addresses(&[ip], ttl),
            Err(_) => self.alias(&node.address, ttl),
        }
        if matches!(self.query.kind, kind::TXT | kind::ANY) {
            for (key, value) in &node.meta {
                let text = match key.strip_prefix("rfc1035-") {
                    Some(_) => value.clone(),
                    None => format!("{key}={value}"),
                };
                self.texts(&[text.as_bytes()], ttl);
            }
        }
        if self.is_nothing() {
            self.negative();
        }
        Code::NoError
    }

    /// The name that something goes by elsewhere; whatever is asked, the alias is the answer.
    fn alias(&mut self, target: &str, ttl: u32) {
        if self.query.kind == kind::TXT {
            return;
        }
        let Some(target) = Name::of_text(target) else {
            return;
        };
        self.message
            .record(Owner::Question(0), kind::CNAME, ttl, |out| {
                put_labels(out, &[], Owner::Name(target.as_wire()));
            });
    }
}
