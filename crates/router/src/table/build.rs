//! Builds the packed tree from rules in their final order.

use std::collections::BTreeMap;

use super::{Hashed, LABEL_BYTES, NOWHERE, Node, Slot, Span, TABLE, Table, hash_segment, slot};

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
    fn take(&mut self, rule: u32) {
        if self.rules == 0 {
            self.start = rule;
        }
        self.rules = rule + 1 - self.start;
    }
}

impl<'a> Builder<'a> {
    /// Puts in a rule by path. `host` is a whole host, a suffix with its dot, or any.
    pub(crate) fn insert(&mut self, rule: u32, host: Option<&'a str>, path: &[Token<'a>]) {
        let mut branch = &mut self.host(host).root;
        for token in path {
            branch = match token {
                Token::Literal(text) => branch.children.entry(text).or_default(),
                Token::Capture => branch.capture.get_or_insert_default(),
                Token::End => return branch.here.take(rule),
                Token::Rest | Token::Prefix => return branch.open.take(rule),
            };
        }
    }

    /// Puts in a rule by regular expression.
    pub(crate) fn insert_regex(&mut self, rule: u32, host: Option<&'a str>) {
        self.host(host).regexes.take(rule);
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
        let is_label = |node: &&FlatNode| matches!(node.way, Way::Label(_));
        let labels = self.0.iter().filter(is_label).count();
        // Three in five slots are taken at most, so that probing stays short.
        let slots = labels + labels * 2 / 3 + 1;
        let mut packer = Packer {
            nodes: vec![Node::EMPTY; slots],
            slots,
            label_rests: Vec::new(),
            regexes: Vec::new(),
            any: None,
        };
        let mut placed: Vec<Slot> = Vec::with_capacity(self.0.len());
        for node in &self.0 {
            let parent = node.parent.map_or(TABLE, |parent| placed[parent]);
            placed.push(packer.place(node, parent));
        }
        packer.regexes.sort_unstable_by_key(|(slot, _)| *slot);
        Table {
            nodes: packer.nodes.into(),
            slots,
            label_rests: packer.label_rests.into(),
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

#[derive(Debug)]
struct Packer {
    nodes: Vec<Node>,
    slots: usize,
    label_rests: Vec<u8>,
    regexes: Vec<(Slot, Span)>,
    any: Option<Slot>,
}

impl Packer {
    fn place(&mut self, flat: &FlatNode, parent: Slot) -> Slot {
        let mut node = Node {
            here: flat.here,
            open: flat.open,
            has_regexes: !flat.regexes.is_empty(),
            ..Node::EMPTY
        };
        let place = match &flat.way {
            Way::Label(label) => {
                let hashed = hash_segment(parent, label.as_bytes());
                self.label(&mut node, label.as_bytes());
                (node.parent, node.tag) = (parent, hashed.tag);
                self.free_place(hashed)
            }
            Way::Capture | Way::Any => {
                node.parent = parent;
                self.nodes.push(Node::EMPTY);
                self.nodes.len() - 1
            }
        };
        let own = slot(place);
        match flat.way {
            Way::Any => self.any = Some(own),
            Way::Capture => self.nodes[parent as usize].capture = own,
            Way::Label(_) if parent == TABLE => {}
            Way::Label(_) => self.nodes[parent as usize].has_children = true,
        }
        if node.has_regexes {
            self.regexes.push((own, flat.regexes));
        }
        self.nodes[place] = node;
        own
    }

    fn free_place(&self, hashed: Hashed) -> usize {
        let mut place = hashed.place(self.slots);
        while self.nodes[place].parent != NOWHERE {
            place = (place + 1) % self.slots;
        }
        place
    }

    fn label(&mut self, node: &mut Node, label: &[u8]) {
        let inner = label.len().min(LABEL_BYTES);
        node.label[..inner].copy_from_slice(&label[..inner]);
        // Labels are paths or hosts, whose limits are far below these.
        node.label_bytes = u16::try_from(label.len()).unwrap_or(u16::MAX);
        node.label_rest = u32::try_from(self.label_rests.len()).unwrap_or(u32::MAX);
        self.label_rests.extend_from_slice(&label[inner..]);
    }
}
