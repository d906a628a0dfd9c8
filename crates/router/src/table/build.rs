//! Builds the packed tree from rules in their final order.

use std::collections::BTreeMap;

use super::{
    EMPTY, EMPTY_BIT, GROUP, Hashed, Index, Slot, Span, TABLE, Table, hash_segment,
    node::{Draft, WORD, address, set_capture},
};

/// Half of the places are taken at most: probing stays within a group or two, and the index
/// within the nearer caches.
const PLACES_PER_NODE: usize = 2;

/// One word of a path condition, in the order of precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Token<'a> {
    /// The path ends here.
    End,
    /// A segment.
    Literal(&'a str),
    /// Any segment that is not empty.
    Capture,
    /// A slash and anything, captured.
    Rest,
    /// Anything in whole segments.
    Prefix,
}

/// The tree as it grows.
#[derive(Debug, Default)]
pub(crate) struct Builder<'a> {
    hosts: BTreeMap<&'a str, Host<'a>>,
    any: Option<Host<'a>>,
}

#[derive(Debug, Default)]
struct Host<'a> {
    root: Branch<'a>,
    regexes: Span,
}

#[derive(Debug, Default)]
struct Branch<'a> {
    children: BTreeMap<&'a str, Self>,
    capture: Option<Box<Self>>,
    here: Span,
    open: Span,
}

impl Span {
    /// Takes in the next rule. Those of one place follow each other in the order.
    fn take(&mut self, rule: u32, plain: Option<u32>) {
        if self.rules == 0 {
            self.start = rule;
        }
        self.rules = rule + 1 - self.start;
        self.plain = plain.filter(|_| self.rules == 1);
    }
}

impl<'a> Builder<'a> {
    /// Puts in a rule by path. `host` is a whole host, a suffix with its dot, or any;
    /// `plain` is the rule's entry if it asks for nothing else.
    pub(crate) fn insert(
        &mut self,
        rule: u32,
        host: Option<&'a str>,
        path: &[Token<'a>],
        plain: Option<u32>,
    ) {
        let mut branch = &mut self.host(host).root;
        for token in path {
            branch = match token {
                Token::Literal(text) => branch.children.entry(text).or_default(),
                Token::Capture => branch.capture.get_or_insert_default(),
                Token::End => return branch.here.take(rule, plain),
                Token::Prefix => return branch.open.take(rule, plain),
                // What it captures begins with a slash, which somebody has to look for.
                Token::Rest => return branch.open.take(rule, None),
            };
        }
    }

    /// Puts in a rule by regular expression.
    pub(crate) fn insert_regex(&mut self, rule: u32, host: Option<&'a str>) {
        self.host(host).regexes.take(rule, None);
    }

    fn host(&mut self, host: Option<&'a str>) -> &mut Host<'a> {
        match host {
            Some(host) => self.hosts.entry(host).or_default(),
            None => self.any.get_or_insert_default(),
        }
    }

    /// Packs the tree.
    pub(crate) fn finish(self) -> Table {
        let mut flat = Flat::default();
        for (text, host) in &self.hosts {
            flat.push(
                Way::Label((*text).to_owned()),
                None,
                &host.root,
                host.regexes,
            );
        }
        if let Some(host) = &self.any {
            flat.push(Way::Any, None, &host.root, host.regexes);
        }
        let has_suffixes = self.hosts.keys().any(|host| host.starts_with('.'));
        flat.pack(!self.hosts.is_empty(), has_suffixes)
    }
}

/// How a node is reached from its parent.
#[derive(Debug)]
enum Way {
    /// By this text, hashed by its first segment.
    Label(String),
    /// By any segment.
    Capture,
    /// By a request whose host no other node serves.
    Any,
}

/// The tree's nodes, a parent before its children.
#[derive(Debug, Default)]
struct Flat(Vec<FlatNode>);

#[derive(Debug)]
struct FlatNode {
    way: Way,
    parent: Option<usize>,
    has_capture: bool,
    has_children: bool,
    here: Span,
    open: Span,
    regexes: Span,
}

impl Flat {
    fn push(&mut self, way: Way, parent: Option<usize>, branch: &Branch<'_>, regexes: Span) {
        let place = self.0.len();
        self.0.push(FlatNode {
            way,
            parent,
            has_capture: branch.capture.is_some(),
            has_children: !branch.children.is_empty(),
            here: branch.here,
            open: branch.open,
            regexes,
        });
        for (text, child) in &branch.children {
            let (label, child) = compress(text, child);
            self.push(Way::Label(label), Some(place), child, Span::default());
        }
        if let Some(capture) = &branch.capture {
            self.push(Way::Capture, Some(place), capture, Span::default());
        }
    }

    fn pack(self, has_hosts: bool, has_suffixes: bool) -> Table {
        let mut packer = Packer::default();
        let mut placed: Vec<Slot> = Vec::with_capacity(self.0.len());
        for node in &self.0 {
            let parent = node.parent.map_or(TABLE, |parent| placed[parent]);
            placed.push(packer.place(node, parent));
        }
        packer.regexes.sort_unstable_by_key(|(slot, _)| *slot);
        Table {
            index: packer.index(),
            nodes: packer.nodes.into(),
            spans: packer.spans.into(),
            regexes: packer.regexes.into(),
            any: packer.any,
            has_hosts,
            has_suffixes,
        }
    }
}

/// Follows a chain of single literal children without rules.
fn compress<'b, 'a>(text: &str, branch: &'b Branch<'a>) -> (String, &'b Branch<'a>) {
    let mut label = text.to_owned();
    let mut branch = branch;
    while branch.here.is_empty() && branch.open.is_empty() && branch.capture.is_none() {
        let mut children = branch.children.iter();
        let (Some((text, child)), None) = (children.next(), children.next()) else {
            break;
        };
        label.extend(["/", text]);
        branch = child;
    }
    (label, branch)
}

#[derive(Debug, Default)]
struct Packer {
    nodes: Vec<u8>,
    spans: Vec<Span>,
    /// Nodes that are found by hash, with it.
    hashed: Vec<(Hashed, Slot)>,
    regexes: Vec<(Slot, Span)>,
    any: Option<Slot>,
}

impl Packer {
    fn place(&mut self, flat: &FlatNode, parent: Slot) -> Slot {
        let label = match &flat.way {
            Way::Label(label) => label.as_bytes(),
            Way::Capture | Way::Any => &[],
        };
        let draft = Draft {
            parent,
            label,
            has_capture: flat.has_capture,
            has_children: flat.has_children,
            has_regexes: !flat.regexes.is_empty(),
            is_captured: matches!(flat.way, Way::Capture),
            here: flat.here,
            open: flat.open,
        };
        let own = draft.write(&mut self.nodes, &mut self.spans);
        match flat.way {
            Way::Any => self.any = Some(own),
            Way::Capture => set_capture(&mut self.nodes, parent, own),
            Way::Label(_) => self.hashed.push((hash_segment(parent, label), own)),
        }
        if draft.has_regexes {
            self.regexes.push((own, flat.regexes));
        }
        own
    }

    fn index(&self) -> Index {
        let begins = self.hashed.len() * PLACES_PER_NODE + 1;
        let mut places = vec![EMPTY; begins + GROUP];
        // Less than half of 2^32: the highest bit of an entry is that of empty places.
        let addresses = (self.nodes.len() / WORD).max(1).next_power_of_two();
        let address_bits = address(addresses - 1) & !EMPTY_BIT;
        for (hashed, slot) in &self.hashed {
            let begin = hashed.place(begins);
            let free = places[begin..].iter().position(|entry| *entry == EMPTY);
            // The last group is always empty.
            let place = begin + free.unwrap_or_default();
            if place + GROUP >= places.len() {
                places.resize(place + GROUP + 1, EMPTY);
            }
            places[place] = hashed.tag & !address_bits & !EMPTY_BIT | slot;
        }
        Index {
            places: places.into(),
            begins,
            address_bits,
        }
    }
}
