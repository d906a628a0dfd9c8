//! Keeps what a Portolan told others from coming back to it as news.
//!
//! Every registry front of a Portolan signs its answers. What is read from one is marked
//! with the Portolan that had it first, and what is marked with our own id is left out:
//! else an instance that two Portolans read from each other would never go.

use http::HeaderMap;
use portolan_model::NodeId;
use portolan_wire::call::Url;

use super::{Ended, Found, Teller};

/// Who reads, and whose word is read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Provenance {
    own: Option<NodeId>,
    server: Option<NodeId>,
}

impl Provenance {
    /// Before anything was read.
    #[must_use]
    pub fn new(teller: &Teller) -> Self {
        Self {
            own: teller.node().cloned(),
            server: None,
        }
    }

    /// The same for the answer of a server; any server will do that is not ourselves.
    ///
    /// # Errors
    /// [`Ended::Lost`]: the server is this Portolan. What it tells is in the catalogue.
    pub fn of_answer(&self, headers: &HeaderMap, url: Option<&Url>) -> Result<Self, Ended> {
        let value = headers.get(NodeId::FIELD);
        let server = value.and_then(|value| NodeId::parse(value.to_str().ok()?).ok());
        if server.is_some() && server == self.own {
            let url = url.map(ToString::to_string).unwrap_or_default();
            return Err(Ended::lost(format!(
                "{url} is this Portolan itself: a source can't read what it writes to; nothing is taken from there"
            )));
        }
        let own = self.own.clone();
        Ok(Self { own, server })
    }

    /// The Portolan that answered; none if it is another registry.
    #[must_use]
    pub const fn server(&self) -> Option<&NodeId> {
        self.server.as_ref()
    }

    /// Marks what was found with the Portolan that had it first. Says whether it is news:
    /// what is our own is not.
    pub fn admit(&self, found: &mut Found) -> bool {
        if let Some(origin) = found.metadata.get(NodeId::ORIGIN) {
            return self.own.as_ref().is_none_or(|own| own.as_str() != origin);
        }
        if let Some(server) = &self.server {
            let server = server.as_str().to_owned();
            found.metadata.insert(NodeId::ORIGIN.to_owned(), server);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(number: u64) -> NodeId {
        NodeId::of_chance([number, 0])
    }

    fn reader(number: u64) -> Provenance {
        Provenance {
            own: Some(node(number)),
            server: None,
        }
    }

    fn signed(number: u64) -> HeaderMap {
        let value = node(number).as_str().parse().unwrap();
        let mut headers = HeaderMap::new();
        headers.insert(NodeId::FIELD, value);
        headers
    }

    #[test]
    fn a_portolan_is_not_read_by_itself() {
        let error = reader(1).of_answer(&signed(1), None).unwrap_err();
        let Ended::Lost { reason, .. } = error else {
            panic!("{error:?}");
        };
        assert!(reason.contains("this Portolan itself"), "{reason}");
    }

    #[test]
    fn what_another_had_first_is_marked_once() {
        let mut found = Found::default();
        let second = reader(2).of_answer(&signed(1), None).unwrap();
        assert!(second.admit(&mut found));
        assert_eq!(found.metadata[NodeId::ORIGIN], node(1).as_str());
        let third = reader(3).of_answer(&signed(2), None).unwrap();
        assert!(third.admit(&mut found));
        assert_eq!(found.metadata[NodeId::ORIGIN], node(1).as_str());
        let first = reader(1).of_answer(&signed(3), None).unwrap();
        assert!(!first.admit(&mut found), "it is its own");
    }

    #[test]
    fn another_registry_leaves_no_mark() {
        let mut found = Found::default();
        let plain = reader(1).of_answer(&HeaderMap::new(), None).unwrap();
        assert!(plain.admit(&mut found));
        assert_eq!(found, Found::default());
    }
}
