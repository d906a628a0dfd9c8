//! Reads what control listeners have in common, and access control.

use std::collections::BTreeMap;

use portolan_access::Scopes;
use portolan_model::Name;

use super::Reader;
use crate::{
    Access, ControlLimits, ControlTls, DeclaredToken, Security, leaf,
    tree::{Node, Span, Value},
};

impl Reader<'_> {
    /// Who gets into a control listener.
    pub(super) fn security(&mut self, node: &Node, at: Span) -> Option<Security> {
        Some(Security {
            tls: node.maybe("tls", |tls| self.control_tls(tls, at))?,
            limits: limits(node.get("limits")?)?,
            is_insecure: node.read("insecure", leaf::flag)?,
        })
    }

    pub(super) fn control_tls(&mut self, node: &Node, at: Span) -> Option<ControlTls> {
        Some(ControlTls {
            served: self.listener_tls(node, at)?,
            client_ca: node.maybe("client_ca", |ca| self.roots(ca, at))?,
            is_certificate_optional: node.word("client_certificates", |word| match word {
                "required" => Some(false),
                "optional" => Some(true),
                _ => None,
            })?,
        })
    }
}

fn limits(node: &Node) -> Option<ControlLimits> {
    let count = |name| {
        let read = node.may_read(name, super::any_count)?;
        Some(read.and_then(|number| u32::try_from(number).ok()?.try_into().ok()))
    };
    Some(ControlLimits {
        head_max: node.read("head", leaf::size)?,
        headers_max: node.count("headers")?,
        body_max: node.read("body", leaf::size)?,
        connections_max: count("connections")??,
        connections_per_client: count("connections_per_client")?,
        requests_per_client: count("requests")?,
        burst: count("burst")?,
    })
}

/// Access control.
pub(crate) fn access(node: &Node) -> Option<Access> {
    let mut tokens = Vec::new();
    for (name, token) in members(node, "tokens")? {
        tokens.push(DeclaredToken {
            name: Name::parse(name).ok()?,
            hash: token.read("hash", leaf::secret_hash)?,
            scopes: scopes(token.get("scopes")?)?,
        });
    }
    let certificates = members(node, "certificates")?.into_iter();
    let certificates = certificates.map(|(name, node)| Some((name.to_owned(), scopes(node)?)));
    Some(Access {
        anonymous: node.maybe("anonymous", scopes)?.unwrap_or_default(),
        tokens,
        certificates: certificates.collect::<Option<BTreeMap<_, _>>>()?,
    })
}

fn scopes(node: &Node) -> Option<Scopes> {
    let texts = node.items().iter().map(Node::scalar);
    let texts = texts.collect::<Option<Vec<_>>>()?;
    Scopes::parse(texts).ok()
}

/// The members of a map that may be absent.
fn members<'n>(node: &'n Node, name: &str) -> Option<Vec<(&'n str, &'n Node)>> {
    if !node.has(name) {
        return Some(Vec::new());
    }
    let Value::Map(members) = &node.get(name)?.value else {
        return None;
    };
    let members = members.iter();
    Some(
        members
            .map(|member| (member.key.as_str(), &member.node))
            .collect(),
    )
}
