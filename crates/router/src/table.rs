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
//! Invariant: a node's slot never changes, its parent's slot and its first segment
//! decide where probing for it begins, and at least one slot stays empty.
//! Source: hashing by folded multiplication is that of wyhash and foldhash.

use std::ops::{ControlFlow, Range};

use smallvec::SmallVec;

mod build;
mod hash;
#[cfg(test)]
mod tests;

pub(crate) use build::{Builder, Token};
use hash::{Hashed, hash_segment};

/// Bytes of a label that stand in the node itself.
const LABEL_BYTES: usize = 28;
/// Open ends that a walk remembers without allocating.
const DETOURS: usize = 32;

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

    fn visit<B>(
        self,
        bytes: usize,
        visit: &mut impl FnMut(Stop) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
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

    /// Visits all rules whose host and path hold, in the order of precedence.
    pub(crate) fn walk<B>(
        &self,
        host: &str,
        path: &[u8],
        visit: &mut impl FnMut(Stop) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
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
        // A suffix begins at a dot and leaves at least one byte before it.
        let dots = (1..host.len()).filter(move |at| self.has_suffixes && host[*at] == b'.');
        let whole = (host.first() != Some(&b'.')).then_some(0);
        whole.into_iter().chain(dots).filter_map(move |at| {
            let (slot, end) = self.child(TABLE, host, at)?;
            (end == host.len()).then_some(slot)
        })
    }

    fn walk_host<B>(
        &self,
        root: Slot,
        path: &[u8],
        visit: &mut impl FnMut(Stop) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
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

    fn walk_segments<B>(
        &self,
        root: Slot,
        path: &[u8],
        visit: &mut impl FnMut(Stop) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        let mut detours: SmallVec<[Detour; DETOURS]> = SmallVec::new();
        let mut next = Some((root, 0));
        loop {
            let Some((slot, at)) = next else {
                let Some(detour) = detours.pop() else {
                    return ControlFlow::Continue(());
                };
                next = self.take(detour, path, &mut detours, visit)?;
                continue;
            };
            let node = self.node(slot);
            if at == path.len() {
                node.here.visit(at, visit)?;
                node.open.visit(at, visit)?;
                next = None;
                continue;
            }
            if node.capture != NOWHERE {
                detours.push(Detour::capture(slot, at));
            } else if !node.open.is_empty() {
                detours.push(Detour::open(slot, at));
            }
            next = None;
            if node.has_children {
                next = self.child(slot, path, at + 1);
            }
        }
    }

    /// Goes back to a node whose literal child led nowhere.
    fn take<B>(
        &self,
        detour: Detour,
        path: &[u8],
        detours: &mut SmallVec<[Detour; DETOURS]>,
        visit: &mut impl FnMut(Stop) -> ControlFlow<B>,
    ) -> ControlFlow<B, Option<(Slot, usize)>> {
        let node = self.node(detour.slot);
        let at = detour.at as usize;
        let segment = path.get(at + 1..).unwrap_or_default();
        let bytes = memchr::memchr(b'/', segment).unwrap_or(segment.len());
        if detour.by_capture && bytes > 0 {
            if !node.open.is_empty() {
                detours.push(Detour::open(detour.slot, at));
            }
            return ControlFlow::Continue(Some((node.capture, at + 1 + bytes)));
        }
        node.open.visit(at, visit)?;
        ControlFlow::Continue(None)
    }

    /// The child whose label stands in `text` from `at` on, and where it ends there.
    fn child(&self, parent: Slot, text: &[u8], at: usize) -> Option<(Slot, usize)> {
        let hashed = hash_segment(parent, text, at);
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
}

/// A node that has more to offer than its literal child.
#[derive(Clone, Copy, Debug)]
struct Detour {
    slot: Slot,
    at: u32,
    by_capture: bool,
}

impl Detour {
    fn capture(slot: Slot, at: usize) -> Self {
        Self {
            by_capture: true,
            ..Self::open(slot, at)
        }
    }

    fn open(slot: Slot, at: usize) -> Self {
        Self {
            slot,
            // A path is far shorter: heads are limited to 16 MiB.
            at: u32::try_from(at).unwrap_or(u32::MAX),
            by_capture: false,
        }
    }
}
