//! The tree of hosts and path segments, packed into one hash table.
//!
//! A node is one cache line and is found by hashing its parent with the text of
//! its first segment, so a step down costs about one memory access whatever the
//! number of routes. Chains of single children are one node. The children of the
//! whole table are the hosts.
//!
//! A walk visits nodes in the order of precedence: at each node first the literal
//! child, then the capture, then what is open-ended. Each node is visited at most
//! once a walk, so a hostile path can't cost more than the configuration is large.
//!
//! A walk remembers nothing but where it is: the way back leads over the parents.
//!
//! Invariant: a node's slot never changes, its parent's slot and its first segment
//! decide where probing for it begins, and at least one slot stays empty.
//! Source: hashing by folded multiplication is that of wyhash and foldhash.

use std::ops::{ControlFlow, Range};

mod build;
mod hash;
#[cfg(test)]
mod tests;

pub(crate) use build::{Builder, Token};
use hash::{Hashed, hash_segment};

/// Bytes of a label that stand in the node itself.
const LABEL_BYTES: usize = 28;

/// Slot of a node.
pub(crate) type Slot = u32;

/// No node.
const NOWHERE: Slot = u32::MAX;
/// The parent of hosts.
const TABLE: Slot = u32::MAX - 1;

/// A place in the tree. One cache line.
#[derive(Clone, Debug)]
#[repr(align(64))]
struct Node {
    /// Where the node hangs; [`NOWHERE`] marks an empty slot.
    parent: Slot,
    tag: u32,
    /// Where the label goes on if it is longer than [`LABEL_BYTES`].
    label_rest: u32,
    label_bytes: u16,
    has_children: bool,
    has_regexes: bool,
    capture: Slot,
    here: Span,
    open: Span,
    label: [u8; LABEL_BYTES],
}

const _: () = assert!(size_of::<Node>() == 64, "a node is one cache line");

/// A run of rules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    start: u32,
    rules: u32,
}

impl Span {
    fn range(self) -> Range<usize> {
        self.start as usize..(self.start + self.rules) as usize
    }

    const fn is_empty(self) -> bool {
        self.rules == 0
    }

    fn visit(
        self,
        bytes: usize,
        visit: &mut impl FnMut(Stop) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        if self.is_empty() {
            return ControlFlow::Continue(());
        }
        visit(Stop {
            rules: self.range(),
            bytes,
        })
    }
}

/// Rules that a walk has come upon, in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stop {
    /// The rules, as places in the list that the table was built from.
    pub(crate) rules: Range<usize>,
    /// Bytes of the path that the place in the tree stands for.
    pub(crate) bytes: usize,
}

/// The packed tree.
#[derive(Debug)]
pub(crate) struct Table {
    /// Hashed nodes, then those that are reached otherwise.
    nodes: Box<[Node]>,
    /// How many slots are hashed.
    slots: usize,
    /// The ends of long labels.
    label_rests: Box<[u8]>,
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
        if !self.node(root).has_regexes {
            return ControlFlow::Continue(());
        }
        let Ok(place) = self.regexes.binary_search_by_key(&root, |(slot, _)| *slot) else {
            return ControlFlow::Continue(());
        };
        visit(Stop {
            rules: self.regexes[place].1.range(),
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
                node.here.visit(at, visit)?;
                node.open.visit(at, visit)?;
                way = self.back(root, (slot, at), path, visit)?;
                continue;
            }
            if node.has_children {
                way = self.child(slot, path, at + 1);
                if way.is_some() {
                    continue;
                }
            }
            way = node.captured(path, at);
            if way.is_none() {
                node.open.visit(at, visit)?;
                way = self.back(root, (slot, at), path, visit)?;
            }
        }
        ControlFlow::Continue(())
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
            let is_captured = slot as usize >= self.slots;
            at = if is_captured {
                let slash = path[..at].iter().rposition(|byte| *byte == b'/');
                slash.unwrap_or_default()
            } else {
                at - 1 - usize::from(node.label_bytes)
            };
            slot = node.parent;
            let parent = self.node(slot);
            if !is_captured {
                let way = parent.captured(path, at);
                if way.is_some() {
                    return ControlFlow::Continue(way);
                }
            }
            parent.open.visit(at, visit)?;
        }
        ControlFlow::Continue(None)
    }

    /// The child whose label stands in `text` from `at` on, and where it ends there.
    #[inline]
    fn child(&self, parent: Slot, text: &[u8], at: usize) -> Option<(Slot, usize)> {
        let hashed = hash_segment(parent, text.get(at..)?);
        let mut place = hashed.place(self.slots);
        loop {
            // Ends at the empty slot at the latest.
            let node = &self.nodes[place];
            if node.tag == hashed.tag && node.parent == parent {
                if let Some(end) = self.reach(node, text, at) {
                    return Some((slot(place), end));
                }
            } else if node.parent == NOWHERE {
                return None;
            }
            place += 1;
            if place == self.slots {
                place = 0;
            }
        }
    }

    /// Where the label of `node` ends in `text` if it stands there in whole segments.
    #[inline]
    fn reach(&self, node: &Node, text: &[u8], at: usize) -> Option<usize> {
        let bytes = usize::from(node.label_bytes);
        let end = at + bytes;
        let given = text.get(at..end)?;
        let inner = bytes.min(LABEL_BYTES);
        let holds = given[..inner] == node.label[..inner]
            && (bytes <= LABEL_BYTES || given[inner..] == *self.label_rest(node));
        let is_border = text.get(end).is_none_or(|byte| *byte == b'/');
        (holds && is_border).then_some(end)
    }

    fn label_rest(&self, node: &Node) -> &[u8] {
        let start = node.label_rest as usize;
        &self.label_rests[start..start + usize::from(node.label_bytes) - LABEL_BYTES]
    }

    fn node(&self, slot: Slot) -> &Node {
        &self.nodes[slot as usize]
    }
}

/// A table never has as many slots as would not fit.
fn slot(place: usize) -> Slot {
    Slot::try_from(place).unwrap_or(NOWHERE)
}

impl Node {
    const EMPTY: Self = Self {
        parent: NOWHERE,
        tag: 0,
        label_rest: 0,
        label_bytes: 0,
        has_children: false,
        has_regexes: false,
        capture: NOWHERE,
        here: Span { start: 0, rules: 0 },
        open: Span { start: 0, rules: 0 },
        label: [0; LABEL_BYTES],
    };

    /// The node that captures the next segment, if there are both.
    fn captured(&self, path: &[u8], at: usize) -> Option<(Slot, usize)> {
        if self.capture == NOWHERE {
            return None;
        }
        let segment = path.get(at + 1..)?;
        let bytes = memchr::memchr(b'/', segment).unwrap_or(segment.len());
        (bytes > 0).then_some((self.capture, at + 1 + bytes))
    }
}
