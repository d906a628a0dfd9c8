//! The tree of hosts and path segments, packed into one hash table.
//!
//! A node is found by hashing its parent with the text of its first segment. Chains
//! of single children are one node. The children of the whole table are the hosts.
//!
//! The table has two parts, both small, because a match with many routes costs what
//! the caches miss: an index of four bytes a place, and the nodes themselves, packed
//! without holes and no longer than what they hold. An index entry carries as many
//! bits of its node's hash as the node's address leaves free, so a step down is one
//! look at the index and one at the right node, whatever the number of routes.
//!
//! A walk visits nodes in the order of precedence: at each node first the literal
//! child, then the capture, then what is open-ended. Each node is visited at most
//! once a walk, so a hostile path can't cost more than the configuration is large.
//!
//! A walk remembers nothing but where it is: the way back leads over the parents.
//!
//! Invariant: a node's address never changes, its parent's address and its first
//! segment decide where probing for it begins, and the places end with an empty group.
//! Source: hashing by folded multiplication is that of wyhash and foldhash.

use std::ops::{ControlFlow, Range};

mod build;
mod hash;
mod node;
#[cfg(test)]
mod tests;

pub(crate) use build::{Builder, Token};
use hash::{Hashed, hash_segment};
use node::{Field, Node};

/// Where a node lies in the packed nodes, in words of four bytes.
pub(crate) type Slot = u32;

/// The parent of hosts.
const TABLE: Slot = u32::MAX;
/// A place of the index that leads nowhere.
const EMPTY: u32 = u32::MAX;
/// Places that are looked at together.
const GROUP: usize = 4;
/// The bit of an entry that only an empty place has.
const EMPTY_BIT: u32 = 1 << 31;

/// A run of rules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    start: u32,
    rules: u32,
    /// Its entry if it is one rule that asks for nothing but its host and path.
    plain: Option<u32>,
}

impl Span {
    fn range(self) -> Range<usize> {
        self.start as usize..(self.start + self.rules) as usize
    }

    const fn is_empty(self) -> bool {
        self.rules == 0
    }
}

/// Rules that a walk has come upon, in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stop {
    /// The rules, as places in the list that the table was built from; of a plain one, its
    /// entry.
    pub(crate) rules: Range<usize>,
    /// It is one rule that asks for nothing but its host and path.
    pub(crate) is_plain: bool,
    /// Bytes of the path that the place in the tree stands for.
    pub(crate) bytes: usize,
}

/// The index: from a hash to a node, by linear probing.
#[derive(Debug)]
struct Index {
    /// Those where probing may begin, and those that it may come to behind them: a group of
    /// empty ones at least.
    places: Box<[u32]>,
    /// Among how many places probing begins.
    begins: usize,
    /// The bits of an entry that are the node's address; the others are of its hash, but
    /// for the highest, which only an empty place has.
    address_bits: u32,
}

/// Which of a group's places are such, as bits.
#[inline]
fn mask(group: &[u32; GROUP], is_such: impl Fn(&u32) -> bool) -> u32 {
    let bits = group.iter().zip(0_u32..);
    bits.fold(0, |mask, (entry, bit)| {
        mask | u32::from(is_such(entry)) << bit
    })
}

impl Index {
    /// The first node whose hash may be that one and that is what is looked for.
    #[inline]
    fn find<T>(&self, hashed: Hashed, mut look: impl FnMut(Slot) -> Option<T>) -> Option<T> {
        let hash_bits = !self.address_bits;
        let wanted = hashed.tag & hash_bits & !EMPTY_BIT;
        let mut places = &self.places[hashed.place(self.begins)..];
        // Ends at the empty places behind all at the latest.
        while let Some((group, rest)) = places.split_first_chunk::<GROUP>() {
            // Looking at several at once takes no turns that a processor could guess wrong.
            let is_wanted = |entry: &u32| entry & hash_bits == wanted;
            let mut wanted = mask(group, is_wanted);
            while wanted != 0 {
                let entry = group[wanted.trailing_zeros() as usize % GROUP];
                let found = look(entry & self.address_bits);
                if found.is_some() {
                    return found;
                }
                wanted &= wanted - 1;
            }
            if mask(group, |entry| *entry == EMPTY) != 0 {
                return None;
            }
            places = rest;
        }
        None
    }
}

/// The packed tree.
#[derive(Debug)]
pub(crate) struct Table {
    index: Index,
    /// Packed nodes; see [`Node`].
    nodes: Box<[u8]>,
    /// Runs of rules that don't fit into their node.
    spans: Box<[Span]>,
    /// Rules by regular expression of the nodes that have some, by slot.
    regexes: Box<[(Slot, Span)]>,
    /// The node of routes without a host.
    any: Option<Slot>,
    has_hosts: bool,
    has_suffixes: bool,
}

impl Table {
    /// Whether there are rules for that host.
    pub(crate) fn knows(&self, host: &str) -> bool {
        self.any.is_some() || self.roots(host).next().is_some()
    }

    /// Whether a walk looks at the host.
    pub(crate) const fn has_hosts(&self) -> bool {
        self.has_hosts
    }

    /// Visits all rules whose host and path hold, in the order of precedence.
    #[inline]
    pub(crate) fn walk(
        &self,
        host: &str,
        path: &[u8],
        visit: &mut impl FnMut(Stop) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        if path.first() != Some(&b'/') {
            return ControlFlow::Continue(());
        }
        if self.has_hosts {
            for root in self.roots(host) {
                self.walk_host(root, path, visit)?;
            }
        }
        match self.any {
            Some(root) => self.walk_host(root, path, visit),
            None => ControlFlow::Continue(()),
        }
    }

    /// The nodes of a host: itself, then its suffixes from the longest on.
    fn roots(&self, host: &str) -> impl Iterator<Item = Slot> {
        let host = host.strip_suffix('.').unwrap_or(host).as_bytes();
        let mut at = Some(0);
        std::iter::from_fn(move || {
            while let Some(from) = at {
                let rest = &host[from..];
                let is_suffix = from > 0;
                // A suffix begins at a dot and leaves at least one byte before it.
                at = if self.has_suffixes {
                    let next = rest.iter().skip(1).position(|byte| *byte == b'.');
                    next.map(|bytes| from + 1 + bytes)
                } else {
                    None
                };
                let is_dotted = rest.first() == Some(&b'.');
                let found = if is_dotted == is_suffix {
                    self.child(TABLE, rest, 0)
                } else {
                    None
                };
                if let Some((slot, _)) = found.filter(|(_, end)| *end == rest.len()) {
                    return Some(slot);
                }
            }
            None
        })
    }

    #[inline]
    fn walk_host(
        &self,
        root: Slot,
        path: &[u8],
        visit: &mut impl FnMut(Stop) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        self.walk_segments(root, path, visit)?;
        if !self.node(root).has_regexes() {
            return ControlFlow::Continue(());
        }
        let Ok(place) = self.regexes.binary_search_by_key(&root, |(slot, _)| *slot) else {
            return ControlFlow::Continue(());
        };
        visit(Stop {
            rules: self.regexes[place].1.range(),
            is_plain: false,
            bytes: path.len(),
        })
    }

    #[inline]
    fn walk_segments(
        &self,
        root: Slot,
        path: &[u8],
        visit: &mut impl FnMut(Stop) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let mut way = Some((root, 0));
        while let Some((slot, at)) = way {
            let node = self.node(slot);
            if at == path.len() {
                self.visit(node, Field::Here, at, visit)?;
                self.visit(node, Field::Open, at, visit)?;
                way = self.back(root, (slot, at), path, visit)?;
                continue;
            }
            if node.has_children() {
                way = self.child(slot, path, at + 1);
                if way.is_some() {
                    continue;
                }
            }
            way = node.captured(path, at);
            if way.is_none() {
                self.visit(node, Field::Open, at, visit)?;
                way = self.back(root, (slot, at), path, visit)?;
            }
        }
        ControlFlow::Continue(())
    }

    /// Visits the rules of a node that end there or are open there.
    #[inline]
    fn visit(
        &self,
        node: Node<'_>,
        field: Field,
        bytes: usize,
        visit: &mut impl FnMut(Stop) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let Some(value) = node.field(field) else {
            return ControlFlow::Continue(());
        };
        let value = value as usize;
        let is_plain = node.is_plain(field);
        let rules = if is_plain {
            value..value + 1
        } else {
            self.spans[value].range()
        };
        visit(Stop {
            rules,
            is_plain,
            bytes,
        })
    }

    /// Goes back from a node that led nowhere to the next way that is left to try.
    #[inline(never)]
    fn back(
        &self,
        root: Slot,
        (mut slot, mut at): (Slot, usize),
        path: &[u8],
        visit: &mut impl FnMut(Stop) -> ControlFlow<()>,
    ) -> ControlFlow<(), Option<(Slot, usize)>> {
        while slot != root {
            let node = self.node(slot);
            let is_captured = node.is_captured();
            at = if is_captured {
                let slash = path[..at].iter().rposition(|byte| *byte == b'/');
                slash.unwrap_or_default()
            } else {
                at - 1 - node.label().len()
            };
            slot = node.parent();
            let parent = self.node(slot);
            if !is_captured {
                let way = parent.captured(path, at);
                if way.is_some() {
                    return ControlFlow::Continue(way);
                }
            }
            self.visit(parent, Field::Open, at, visit)?;
        }
        ControlFlow::Continue(None)
    }

    /// The child whose label stands in `text` from `at` on, and where it ends there.
    #[inline]
    fn child(&self, parent: Slot, text: &[u8], at: usize) -> Option<(Slot, usize)> {
        let text = text.get(at..)?;
        self.index.find(hash_segment(parent, text), |slot| {
            let node = self.node(slot);
            let bytes = node.reach(text).filter(|_| node.parent() == parent)?;
            Some((slot, at + bytes))
        })
    }

    #[inline]
    fn node(&self, slot: Slot) -> Node<'_> {
        Node::at(&self.nodes, slot)
    }
}
