//! The one description of the format: which fields an object has, what they hold,
//! what they default to.
//!
//! The parser, the JSON Schema and the reference page are all read off these
//! tables, so they can't disagree. A new field is one row here and one line in the
//! reader of its object.

mod check;
mod control;
mod dns;
mod dns_beyond;
mod file;
mod listener;
mod route;
mod upstream;

pub(crate) use file::FILE;
pub(crate) use listener::LISTENER;
pub(crate) use route::ROUTE;
pub(crate) use upstream::UPSTREAM;

/// A map with known keys.
#[derive(Debug)]
pub(crate) struct Object {
    /// Its name in the schema and the reference.
    pub(crate) name: &'static str,
    /// What it is, in one or two sentences.
    pub(crate) doc: &'static str,
    pub(crate) fields: &'static [Field],
    pub(crate) rules: &'static [Rule],
}

/// A key of an object.
#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) doc: &'static str,
    pub(crate) shape: Shape,
    pub(crate) default: Default,
}

/// What an absent field means.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Default {
    /// It must be there.
    Required,
    /// Nothing, or what the documentation of the field says.
    Absent,
    /// This scalar.
    Text(&'static str),
    /// A list of these scalars.
    Texts(&'static [&'static str]),
    /// An object with all its defaults, or an empty map.
    Empty,
}

/// What holds between the fields of an object.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Rule {
    /// Exactly one of these is there.
    ExactlyOne(&'static [&'static str]),
    /// At most one of these is there.
    AtMostOne(&'static [&'static str]),
}

/// What a value looks like.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Shape {
    /// A scalar.
    Leaf(Leaf),
    /// A list with at least so many items; a single item may stand for a list of one.
    List { of: &'static Shape, min: usize },
    /// A map with keys of a kind.
    Map { key: Leaf, of: &'static Shape },
    /// A map with known keys.
    Object(&'static Object),
    /// A scalar or an object.
    Either(Leaf, &'static Object),
    /// A plug: `kind`, or `{kind: settings}`.
    Plug(Shelf),
}

/// Which shelf a plug comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shelf {
    Policies,
    Sources,
    Balancers,
}

/// What a scalar holds.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Leaf {
    /// `true` or `false`.
    Flag,
    /// `true`, where the contrary has no meaning.
    True,
    /// A whole number.
    Count { min: u64, max: u64 },
    /// A span of time, longer than zero.
    Duration,
    /// A span of time, which may be zero.
    DurationOrZero,
    /// A number of bytes.
    Size,
    /// Any text.
    Text,
    /// A name.
    Name,
    /// `service` or `namespace/service`.
    Service,
    /// An IP address and a port.
    Address,
    /// An IP address.
    Ip,
    /// A range of IP addresses.
    Network,
    /// A host name.
    Host,
    /// A host name, or `*.` and a host name.
    HostPattern,
    /// A host name and a port.
    HostPort,
    /// A path of a request, or the start of one.
    Path,
    /// A path, with its query if it has one.
    Target,
    /// A pattern with captures, or a regular expression; the router compiles it.
    Pattern,
    /// A request method.
    Method,
    /// The name of a header field.
    FieldName,
    /// A file, relative to the folder of the configuration.
    File,
    /// What a token is for.
    Scope,
    /// The hash of a token's secret.
    SecretHash,
    /// One of these words.
    Word(&'static [Word]),
}

/// A word with a meaning.
#[derive(Debug)]
pub(crate) struct Word {
    pub(crate) text: &'static str,
    pub(crate) doc: &'static str,
}

const fn word(text: &'static str, doc: &'static str) -> Word {
    Word { text, doc }
}

const fn field(name: &'static str, shape: Shape, default: Default, doc: &'static str) -> Field {
    Field {
        name,
        doc,
        shape,
        default,
    }
}

const FLAG: Shape = Shape::Leaf(Leaf::Flag);
const DURATION: Shape = Shape::Leaf(Leaf::Duration);
const SIZE: Shape = Shape::Leaf(Leaf::Size);
const TEXT: Shape = Shape::Leaf(Leaf::Text);
const NAME: Shape = Shape::Leaf(Leaf::Name);
const ADDRESS: Shape = Shape::Leaf(Leaf::Address);
const HOST: Shape = Shape::Leaf(Leaf::Host);
const PATH: Shape = Shape::Leaf(Leaf::Path);
const TARGET: Shape = Shape::Leaf(Leaf::Target);
const FILE_NAME: Shape = Shape::Leaf(Leaf::File);
/// Labels of instances.
const LABELS: Shape = Shape::Map {
    key: Leaf::Text,
    of: &TEXT,
};
const POLICIES: Shape = Shape::List {
    of: &Shape::Plug(Shelf::Policies),
    min: 0,
};

const fn count(min: u64, max: u64) -> Shape {
    Shape::Leaf(Leaf::Count { min, max })
}

impl Object {
    /// The field of that name.
    pub(crate) fn field(&self, name: &str) -> Option<&'static Field> {
        self.fields.iter().find(|field| field.name == name)
    }
}

impl Object {
    /// This object and all within it, each once, outer ones first.
    pub(crate) fn all(&'static self) -> Vec<&'static Self> {
        let mut all = vec![self];
        let mut next = 0;
        while let Some(object) = all.get(next).copied() {
            next = all.len().min(next.saturating_add(1));
            for inner in object
                .fields
                .iter()
                .filter_map(|field| field.shape.object())
            {
                if !all.iter().any(|known| known.name == inner.name) {
                    all.push(inner);
                }
            }
        }
        all
    }

    /// The first sentence on what it is, for messages.
    pub(crate) fn doc_short(&self) -> &'static str {
        self.doc
            .split_once(['.', ':'])
            .map_or(self.doc, |(first, _)| first)
    }
}

impl Shape {
    /// The object that it is, or holds many of.
    pub(crate) fn object(self) -> Option<&'static Object> {
        match self {
            Self::Leaf(_) | Self::Plug(_) => None,
            Self::List { of, .. } | Self::Map { of, .. } => of.object(),
            Self::Object(object) | Self::Either(_, object) => Some(object),
        }
    }
}

impl Shelf {
    /// What comes from it, for messages.
    pub(crate) const fn noun(self) -> &'static str {
        match self {
            Self::Policies => "policy",
            Self::Sources => "source",
            Self::Balancers => "balancing algorithm",
        }
    }
}

impl Leaf {
    /// Whether it is a flag or a number in JSON, not a text.
    pub(crate) const fn is_plain(self) -> bool {
        matches!(self, Self::Flag | Self::True | Self::Count { .. })
    }

    /// What it holds, for messages and the reference.
    pub(crate) const fn noun(self) -> &'static str {
        match self {
            Self::Flag => "`true` or `false`",
            Self::True => "`true`",
            Self::Count { .. } => "a whole number",
            Self::Duration | Self::DurationOrZero => "a duration like `30s`",
            Self::Size => "a size like `64KiB`",
            Self::Text => "a text",
            Self::Name => "a name",
            Self::Service => "a service",
            Self::Address => "an IP address and a port",
            Self::Ip => "an IP address",
            Self::Network => "a network like `10.0.0.0/8`",
            Self::Host => "a host name",
            Self::HostPattern => "a host name or `*.` and a host name",
            Self::HostPort => "a host name and a port",
            Self::Path => "a path",
            Self::Target => "a path, with a query if need be",
            Self::Pattern => "a pattern",
            Self::Method => "a method like `GET`",
            Self::FieldName => "the name of a header field",
            Self::File => "a file name",
            Self::Scope => "a scope",
            Self::SecretHash => "the hash of a secret",
            Self::Word(_) => "a word",
        }
    }
}
