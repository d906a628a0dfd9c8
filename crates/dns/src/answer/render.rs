//! Writes what a subject has of the type that was asked for.

use std::net::IpAddr;

use super::{
    order::Order,
    records::{SRV_TARGET, has_target, put_place, put_service_binding, put_target, put_text},
    subject::{Place, Subject},
};
use crate::{
    settings::{Settings, Zone},
    wire::{Code, Message, Owner, Query, Section, can_point, kind, put_labels},
    zone::{Group, Member, Members, Service},
};

/// What SOA says of secondaries, of which there are none: refresh, retry, expire.
const SOA_TIMES: [u32; 3] = [3600, 600, 86400];
/// What has no data of its own that changes may be kept so long, in seconds.
pub(super) const FIXED_TTL: u32 = 3600;
/// The version of the Kubernetes specification.
const KUBERNETES_VERSION: &[u8] = b"1.1.0";

/// What is written by, and where it is kept meanwhile.
pub(crate) struct Pen<'a, 'b> {
    pub(crate) query: &'a Query,
    pub(crate) zone: &'a Zone,
    pub(crate) place: Place<'a>,
    /// Where the query came to: our own address.
    pub(crate) local: IpAddr,
    /// The zone of the client.
    pub(crate) near: Option<&'a str>,
    /// Most records of an answer.
    pub(crate) records_max: usize,
    pub(crate) message: Message<'b>,
    pub(crate) order: &'a mut Order,
    pub(crate) targets: &'a mut Vec<(usize, IpAddr)>,
}

/// Whose members are told, and for how long.
#[derive(Clone, Copy)]
pub(super) struct Of<'s> {
    pub(super) service: Option<&'s Service>,
    pub(super) ttl: u32,
}

impl<'s> Of<'s> {
    pub(super) fn service(service: &'s Service) -> Self {
        Self {
            service: Some(service),
            ttl: service.ttl(),
        }
    }

    fn near(self, zone: Option<&str>) -> Option<u16> {
        self.service?.zone(zone?)
    }
}

impl Pen<'_, '_> {
    pub(super) const fn settings(&self) -> &Settings {
        self.place.settings
    }

    /// Writes the answer, and says what it is. A name that exists without data of the type
    /// is answered as the RFCs have it: nothing, and the zone's SOA.
    pub(crate) fn write(&mut self, subject: &Subject<'_>) -> Code {
        let code = self.answer(subject);
        if code == Code::NxDomain || self.is_nothing() {
            self.negative();
        }
        code
    }

    /// Whether there is nothing to tell; what does not fit is something.
    pub(super) fn is_nothing(&self) -> bool {
        self.message.count(Section::Answer) == 0 && !self.message.is_cut()
    }

    fn answer(&mut self, subject: &Subject<'_>) -> Code {
        let kind = self.query.kind;
        match subject {
            Subject::Nothing | Subject::Node(_) | Subject::Query(_) => return Code::NxDomain,
            Subject::Service(service, _) if service.is_empty() => return Code::NxDomain,
            Subject::Service(service, group) => self.service(service, group),
            Subject::Port(service, group) if kind == kind::SRV || kind == kind::ANY => {
                self.servers(Of::service(service), &group.servers);
            }
            Subject::Endpoint(addresses, ttl) => self.addresses(addresses, *ttl),
            Subject::Address(ip) => self.spelled(*ip),
            Subject::Apex => self.apex(),
            Subject::Server if !self.local.is_unspecified() => {
                self.addresses(&[self.local], FIXED_TTL);
            }
            Subject::Version if matches!(kind, kind::TXT | kind::ANY) => {
                self.texts(&[KUBERNETES_VERSION], FIXED_TTL);
            }
            Subject::Browsed(service) => self.browsed(service),
            Subject::Instance(service, member) => self.instance(service, *member),
            Subject::Types(namespace) => self.types(namespace),
            Subject::Domain(from) => self.domain(*from),
            Subject::Inner | Subject::Port(..) | Subject::Version | Subject::Server => {}
        }
        if kind == kind::ANY && self.is_nothing() {
            self.minimal();
        }
        Code::NoError
    }

    fn service(&mut self, service: &Service, group: &Group) {
        let of = Of::service(service);
        match self.query.kind {
            kind::AAAA => self.members(of, &group.v6),
            kind::SRV => self.servers(of, &group.servers),
            kind::HTTPS | kind::SVCB => self.gateway(service.ttl()),
            // One of the sets of records is enough (RFC 8482, section 4.1).
            kind::ANY if group.v4.list.is_empty() => self.members(of, &group.v6),
            kind::A | kind::ANY => self.members(of, &group.v4),
            _ => {}
        }
    }

    pub(super) fn members(&mut self, of: Of<'_>, members: &Members) {
        let near = of.near(self.near);
        for member in self.order.draw(members, near).take(self.records_max) {
            let is_in = self.message.address(Owner::Question(0), member.ip, of.ttl);
            if !is_in {
                return;
            }
        }
    }

    pub(super) fn servers(&mut self, of: Of<'_>, members: &Members) {
        let (near, at) = (of.near(self.near), (self.zone, self.place.settings));
        self.targets.clear();
        let members = self.order.draw(members, near);
        let named = members.filter(|member| has_target(at.0, of.service, member));
        for member in named.take(self.records_max) {
            let Some(target) = put_server(&mut self.message, at, of, member) else {
                return;
            };
            self.targets.push((target, member.ip));
        }
        self.locate(of.ttl);
    }

    /// One server that is asked for by its name.
    pub(super) fn server(&mut self, of: Of<'_>, member: &Member) {
        let at = (self.zone, self.place.settings);
        self.targets.clear();
        if !has_target(at.0, of.service, member) {
            return;
        }
        if let Some(target) = put_server(&mut self.message, at, of, member) {
            self.targets.push((target, member.ip));
            self.locate(of.ttl);
        }
    }

    /// Says where the servers are.
    fn locate(&mut self, ttl: u32) {
        self.message.section(Section::Additional);
        for (target, ip) in &*self.targets {
            // An additional record may be left out, and one without a name must.
            if !can_point(*target) || !self.message.address(Owner::At(*target), *ip, ttl) {
                return;
            }
        }
    }

    pub(super) fn addresses(&mut self, addresses: &[IpAddr], ttl: u32) {
        let wants_six = self.query.kind == kind::AAAA;
        if !matches!(self.query.kind, kind::A | kind::AAAA | kind::ANY) {
            return;
        }
        let is_any = self.query.kind == kind::ANY;
        for ip in addresses {
            if is_any || ip.is_ipv6() == wants_six {
                self.message.address(Owner::Question(0), *ip, ttl);
            }
        }
    }

    /// The address that the name spells; of another type than was asked for, it is told as
    /// something additional, as Consul does.
    fn spelled(&mut self, ip: IpAddr) {
        self.addresses(&[ip], self.settings().address_ttl());
        let is_asked = matches!(self.query.kind, kind::A | kind::AAAA);
        if is_asked && self.message.count(Section::Answer) == 0 {
            self.negative();
            self.message.section(Section::Additional);
            let ttl = self.settings().address_ttl();
            self.message.address(Owner::Question(0), ip, ttl);
        }
    }

    fn apex(&mut self) {
        match self.query.kind {
            kind::SOA | kind::ANY => self.soa(),
            kind::NS => {
                let target = self.message.place().saturating_add(12);
                self.message
                    .record(Owner::Question(0), kind::NS, FIXED_TTL, |out| {
                        put_labels(out, &[b"ns"], Owner::Question(0));
                    });
                self.message.section(Section::Additional);
                // Not known, it is not told.
                if !self.local.is_unspecified() {
                    self.message
                        .address(Owner::At(target), self.local, FIXED_TTL);
                }
            }
            _ => {}
        }
    }

    /// Says that there is nothing, and for how long that may be believed (RFC 2308).
    pub(super) fn negative(&mut self) {
        if self.message.count(Section::Authority) == 0 {
            self.message.section(Section::Authority);
            self.soa();
        }
    }

    fn soa(&mut self) {
        let zone = Owner::Question(self.place.name.offset(self.place.own));
        let (serial, minimum) = (self.place.table.serial, self.settings().negative_ttl);
        self.message.record(zone, kind::SOA, minimum, |out| {
            put_labels(out, &[b"ns"], zone);
            put_labels(out, &[b"hostmaster"], zone);
            out.extend_from_slice(&serial.to_be_bytes());
            for seconds in SOA_TIMES {
                out.extend_from_slice(&seconds.to_be_bytes());
            }
            out.extend_from_slice(&minimum.to_be_bytes());
        });
    }

    /// All that is told to who asks for anything, where there is nothing else (RFC 8482,
    /// section 4.2).
    fn minimal(&mut self) {
        self.message
            .record(Owner::Question(0), kind::HINFO, FIXED_TTL, |out| {
                put_text(out, b"RFC8482");
                out.push(0);
            });
    }

    pub(super) fn texts(&mut self, texts: &[&[u8]], ttl: u32) {
        self.message
            .record(Owner::Question(0), kind::TXT, ttl, |out| {
                for text in texts {
                    put_text(out, text);
                }
            });
    }

    /// Where the gateway serves services (RFC 9460). HTTPS is told of a listener with TLS
    /// only: whoever sees it speaks TLS.
    fn gateway(&mut self, ttl: u32) {
        let gateway = &self.place.settings.gateway;
        let is_secure = self.query.kind == kind::HTTPS;
        let port = match &gateway.tls {
            Some((port, protocols)) => Some((*port, &**protocols)),
            None => gateway
                .plain
                .filter(|_| !is_secure)
                .map(|port| (port, &[][..])),
        };
        let Some((port, protocols)) = port else {
            return;
        };
        let own = [self.local];
        let addresses: &[IpAddr] = match &*gateway.addresses {
            // Not known, it is the name that was asked for.
            [] if self.local.is_unspecified() => &[],
            [] => &own,
            some => some,
        };
        let (zone, settings) = (self.zone, self.place.settings);
        let place = (port, protocols);
        self.message
            .record(Owner::Question(0), self.query.kind, ttl, |out| {
                put_service_binding(out, (zone, settings), place, addresses);
            });
    }
}

/// Writes where a server is, and says where in the message its name begins; none if that did not
/// fit.
fn put_server(
    message: &mut Message<'_>,
    (zone, settings): (&Zone, &Settings),
    of: Of<'_>,
    member: &Member,
) -> Option<usize> {
    let target = message.place().saturating_add(SRV_TARGET);
    let is_in = message.record(Owner::Question(0), kind::SRV, of.ttl, |out| {
        put_place(out, member);
        put_target(out, (zone, settings), of.service, member);
    });
    is_in.then_some(target)
}
