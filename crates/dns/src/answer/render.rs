//! Writes what a subject has of the type that was asked for.

use std::net::IpAddr;

use super::{
    kubernetes,
    order::Order,
    subject::{Place, Subject},
};
use crate::{
    directory::Node,
    settings::{Settings, Shape, Zone},
    wire::{
        Code, LABEL_BYTES_MAX, Message, Name, Owner, Query, Section, can_point, kind, put_labels,
    },
    zone::{Group, Member, Members, Service},
};

/// Priority of SRV records: all are alike, the weight decides.
const PRIORITY: u16 = 1;
/// What SOA says of secondaries, of which there are none: refresh, retry, expire.
const SOA_TIMES: [u32; 3] = [3600, 600, 86400];
/// What has no data of its own that changes may be kept so long, in seconds.
const FIXED_TTL: u32 = 3600;
/// Text records of an instance in all.
const TEXT_BYTES_MAX: usize = 1300;
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
struct Of<'s> {
    service: Option<&'s Service>,
    ttl: u32,
}

impl<'s> Of<'s> {
    const fn service(service: &'s Service) -> Self {
        Self {
            service: Some(service),
            ttl: service.ttl,
        }
    }

    fn near(self, zone: Option<&str>) -> Option<u16> {
        self.service?.zone(zone?)
    }
}

impl Pen<'_, '_> {
    const fn settings(&self) -> &Settings {
        self.place.settings
    }

    /// Writes the answer, and says what it is. A name that exists without data of the type
    /// is answered as the RFCs have it: nothing, and the zone's SOA.
    pub(crate) fn write(&mut self, subject: &Subject<'_>) -> Code {
        let code = self.answer(subject);
        if code == Code::NxDomain || self.message.count(Section::Answer) == 0 {
            self.negative();
        }
        code
    }

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
        if self.message.count(Section::Answer) == 0 {
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
        if self.message.count(Section::Answer) == 0 {
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
            Subject::Server => self.addresses(&[self.local], FIXED_TTL),
            Subject::Version if matches!(kind, kind::TXT | kind::ANY) => {
                self.texts(&[KUBERNETES_VERSION], FIXED_TTL);
            }
            Subject::Browsed(service) => self.browsed(service),
            Subject::Instance(service, member) => self.instance(service, *member),
            Subject::Types(namespace) => self.types(namespace),
            Subject::Domain(from) => self.domain(*from),
            Subject::Inner | Subject::Port(..) | Subject::Version => {}
        }
        if kind == kind::ANY && self.message.count(Section::Answer) == 0 {
            self.minimal();
        }
        Code::NoError
    }

    fn service(&mut self, service: &Service, group: &Group) {
        let of = Of::service(service);
        match self.query.kind {
            kind::AAAA => self.members(of, &group.v6),
            kind::SRV => self.servers(of, &group.servers),
            kind::HTTPS | kind::SVCB => self.gateway(service.ttl),
            // One of the sets of records is enough (RFC 8482, section 4.1).
            kind::ANY if group.v4.list.is_empty() => self.members(of, &group.v6),
            kind::A | kind::ANY => self.members(of, &group.v4),
            _ => {}
        }
    }

    fn members(&mut self, of: Of<'_>, members: &Members) {
        let near = of.near(self.near);
        self.order.draw(members, near);
        for member in self.order.of(members).take(self.records_max) {
            let is_in = self.message.address(Owner::Question(0), member.ip, of.ttl);
            if !is_in {
                return;
            }
        }
    }

    fn servers(&mut self, of: Of<'_>, members: &Members) {
        let near = of.near(self.near);
        self.order.draw(members, near);
        self.targets.clear();
        for member in self.order.of(members).take(self.records_max) {
            let target = self.message.place().saturating_add(SRV_TARGET);
            let (zone, settings) = (self.zone, self.place.settings);
            let is_in = self
                .message
                .record(Owner::Question(0), kind::SRV, of.ttl, |out| {
                    put_server(out, member);
                    put_target(out, (zone, settings), of.service, member);
                });
            if !is_in {
                return;
            }
            self.targets.push((target, member.ip));
        }
        self.message.section(Section::Additional);
        for (target, ip) in &*self.targets {
            // An additional record may be left out, and one without a name must.
            if !can_point(*target) || !self.message.address(Owner::At(*target), *ip, of.ttl) {
                return;
            }
        }
    }

    fn addresses(&mut self, addresses: &[IpAddr], ttl: u32) {
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
                self.message
                    .address(Owner::At(target), self.local, FIXED_TTL);
            }
            _ => {}
        }
    }

    /// Says that there is nothing, and for how long that may be believed (RFC 2308).
    fn negative(&mut self) {
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

    fn texts(&mut self, texts: &[&[u8]], ttl: u32) {
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

    fn browsed(&mut self, service: &Service) {
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
            if id.len() > LABEL_BYTES_MAX {
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

    fn instance(&mut self, service: &Service, member: Member) {
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

    fn types(&mut self, namespace: &[u8]) {
        if !matches!(self.query.kind, kind::PTR | kind::ANY) {
            return;
        }
        let table = self.place.table;
        // `_services._dns-sd._udp` stands before the domain.
        let domain = Owner::Question(self.place.name.offset(3));
        let ttl = self.settings().negative_ttl;
        for service in table.iter().filter(|service| !service.is_empty()) {
            let key = &service.known.key;
            let label = [b"_", key.name.as_str().as_bytes()].concat();
            if key.namespace.as_str().as_bytes() != namespace || label.len() > LABEL_BYTES_MAX {
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

    fn domain(&mut self, from: usize) {
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

/// Where the target of an SRV record begins, from the start of a record whose owner is a
/// pointer: 2 + 10 before the data, 6 within.
const SRV_TARGET: usize = 18;

fn put_server(out: &mut Vec<u8>, member: &Member) {
    for value in [PRIORITY, member.weight, member.port] {
        out.extend_from_slice(&value.to_be_bytes());
    }
}

/// The name of a member, in full: targets are not compressed (RFC 2782).
fn put_target(
    out: &mut Vec<u8>,
    (zone, settings): (&Zone, &Settings),
    service: Option<&Service>,
    member: &Member,
) {
    if let Some(service) = service.filter(|_| zone.shape == Shape::Kubernetes) {
        let label = kubernetes::label_of(service, member);
        let key = &service.known.key;
        put_labels(out, &[label.as_bytes()], Owner::Name(&[]));
        put_name(out, key.name.as_str());
        put_name(out, key.namespace.as_str());
        return put_labels(out, &[b"svc"], Owner::Name(zone.name.as_wire()));
    }
    put_spelled(out, member.ip);
    put_address_zone(out, (zone, settings));
}

/// What follows an address that a label spells.
fn put_address_zone(out: &mut Vec<u8>, (zone, settings): (&Zone, &Settings)) {
    let labels: [&[u8]; 2] = [b"addr", &settings.datacenter];
    let labels = match zone.shape {
        Shape::Consul => &labels[..],
        Shape::Plain | Shape::Kubernetes => labels.get(..1).unwrap_or_default(),
    };
    put_labels(out, labels, Owner::Name(zone.name.as_wire()));
}

/// A name that may have dots, as labels.
pub(crate) fn put_name(out: &mut Vec<u8>, name: &str) {
    for label in name.split('.').filter(|label| !label.is_empty()) {
        put_labels(out, &[label.as_bytes()], Owner::Name(&[]));
    }
}

/// An address as the label that spells it.
fn put_spelled(out: &mut Vec<u8>, ip: IpAddr) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut put = |octets: &[u8]| {
        out.push(u8::try_from(octets.len().saturating_mul(2)).unwrap_or_default());
        for octet in octets {
            let digit = |half: u8| DIGITS.get(usize::from(half)).copied().unwrap_or_default();
            out.extend_from_slice(&[digit(octet >> 4), digit(octet & 0xf)]);
        }
    };
    match ip {
        IpAddr::V4(ip) => put(&ip.octets()),
        IpAddr::V6(ip) => put(&ip.octets()),
    }
}

fn put_text(out: &mut Vec<u8>, text: &[u8]) {
    let text = text.get(..255).unwrap_or(text);
    out.push(u8::try_from(text.len()).unwrap_or_default());
    out.extend_from_slice(text);
}

/// Priority, target and the parameters in the order of their numbers (RFC 9460, section 2.2).
fn put_service_binding(
    out: &mut Vec<u8>,
    (zone, settings): (&Zone, &Settings),
    (port, protocols): (u16, &[&'static str]),
    addresses: &[IpAddr],
) {
    out.extend_from_slice(&1_u16.to_be_bytes());
    match addresses.first() {
        // A zone of Kubernetes' shape has no names that spell addresses.
        Some(ip) if zone.shape != Shape::Kubernetes => {
            put_spelled(out, *ip);
            put_address_zone(out, (zone, settings));
        }
        _ => out.push(0),
    }
    let mut parameter = |number: u16, value: &[u8]| {
        if !value.is_empty() {
            out.extend_from_slice(&number.to_be_bytes());
            let length = u16::try_from(value.len()).unwrap_or_default();
            out.extend_from_slice(&length.to_be_bytes());
            out.extend_from_slice(value);
        }
    };
    let mut names = Vec::new();
    for protocol in protocols {
        put_text(&mut names, protocol.as_bytes());
    }
    parameter(1, &names);
    parameter(3, &port.to_be_bytes());
    let (mut four, mut six) = (Vec::new(), Vec::new());
    for ip in addresses {
        match ip {
            IpAddr::V4(ip) => four.extend_from_slice(&ip.octets()),
            IpAddr::V6(ip) => six.extend_from_slice(&ip.octets()),
        }
    }
    parameter(4, &four);
    parameter(6, &six);
}

/// What an instance says of itself, as RFC 6763 has it. Keys of our own fronts are left out.
fn texts_of(instance: &portolan_model::Instance) -> Vec<String> {
    let pairs = instance.metadata.iter();
    let own = pairs.filter(|(key, _)| {
        let is_printable = |byte: u8| (0x20..0x7f).contains(&byte) && byte != b'=';
        !key.is_empty() && key.bytes().all(is_printable) && !key.contains(['/', ':'])
    });
    let version = instance
        .version
        .iter()
        .map(|version| format!("version={version}"));
    let zone = instance.zone.iter().map(|zone| format!("zone={zone}"));
    let texts = own.map(|(key, value)| format!("{key}={value}"));
    let mut left = TEXT_BYTES_MAX;
    texts
        .chain(version)
        .chain(zone)
        .filter(|text| text.len() <= 255)
        .take_while(|text| {
            let fits = text.len() < left;
            left = left.saturating_sub(text.len()).saturating_sub(1);
            fits
        })
        .collect()
}
