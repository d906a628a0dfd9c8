//! Keeps what a Portolan told others from coming back to it as news.
//!
//! Every registry front of a Portolan signs its answers. What is read from one is marked
//! with the Portolan that had it first and with all that passed it on, and what came
//! through our own hands is left out: else an instance that two Portolans read from each
//! other would never go. All hands count, not only the first: an id that its Portolan lost
//! would be nobody's else, and what carries it would go round for ever.
//!
//! Source: the path of BGP, RFC 4271, section 9.1.2.

use http::HeaderMap;
use portolan_model::NodeId;
use portolan_wire::call::Url;

use super::{Ended, Found, Teller};

/// Most Portolans that pass an instance on.
const HANDS_MAX: usize = 16;

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

    /// Marks what was found with the Portolans that had it. Says whether it is news: what
    /// came through our own hands is not, nor what came through too many.
    pub fn admit(&self, found: &mut Found) -> bool {
        let marks = [NodeId::ORIGIN, NodeId::PATH];
        let hands = marks.iter().filter_map(|mark| found.metadata.get(*mark));
        let hands: Vec<&str> = hands.flat_map(|hands| hands.split(',')).collect();
        let own = self.own.as_ref().map(NodeId::as_str);
        if own.is_some_and(|own| hands.contains(&own)) || hands.len() > HANDS_MAX {
            return false;
        }
        let Some(server) = self.server.as_ref().map(NodeId::as_str) else {
            return true;
        };
        let (mark, hands) = match hands.split_first() {
            None => (NodeId::ORIGIN, server.to_owned()),
            // It is named already.
            Some(_) if hands.contains(&server) => return true,
            Some((_, [])) => (NodeId::PATH, server.to_owned()),
            Some((_, others)) => (NodeId::PATH, format!("{},{server}", others.join(","))),
        };
        found.metadata.insert(mark.to_owned(), hands);
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
    fn what_carries_an_id_that_was_lost_does_not_go_round() {
        let mut found = Found::default();
        let second = reader(2).of_answer(&signed(1), None).unwrap();
        assert!(second.admit(&mut found));
        // The first one lost its id, is node 4 now, and takes its own for another's.
        let first = reader(4).of_answer(&signed(2), None).unwrap();
        assert!(first.admit(&mut found));
        assert_eq!(found.metadata[NodeId::PATH], node(2).as_str());
        let again = reader(2).of_answer(&signed(4), None).unwrap();
        assert!(!again.admit(&mut found), "it was in these hands");
    }

    #[test]
    fn what_went_through_too_many_hands_is_left_out() {
        let mut found = Found::default();
        for number in 1..=17 {
            let next = reader(100).of_answer(&signed(number + 1), None).unwrap();
            assert!(next.admit(&mut found), "{number}");
        }
        let next = reader(100).of_answer(&signed(99), None).unwrap();
        assert!(!next.admit(&mut found));
    }

    #[test]
    fn another_registry_leaves_no_mark() {
        let mut found = Found::default();
        let plain = reader(1).of_answer(&HeaderMap::new(), None).unwrap();
        assert!(plain.admit(&mut found));
        assert_eq!(found, Found::default());
    }
}
