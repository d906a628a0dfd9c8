//! The fields of a route.

use super::{
    Default, Field, LABELS, Leaf, NAME, Object, PATH, POLICIES, Rule, Shape, TEXT, count, field,
};

/// A route.
pub(crate) const ROUTE: Object = Object {
    name: "route",
    doc: "Which requests, what happens to them, and where they go. Of several routes that match, \
        the more particular one is taken: an exact host before a wildcard, an exact path before a \
        template, the longest prefix, then a regular expression; then a method, then most headers, \
        then most query parameters, then the route's name.",
    fields: &[
        field(
            "listeners",
            Shape::List { of: &NAME, min: 1 },
            Default::Absent,
            "The listeners that the route serves. All when absent.",
        ),
        field(
            "hosts",
            Shape::List {
                of: &Shape::Leaf(Leaf::HostPattern),
                min: 1,
            },
            Default::Absent,
            "The hosts that the route serves: `shop.example.com`, or `*.example.com` for any host below it. All when absent.",
        ),
        field(
            "match",
            Shape::List {
                of: &Shape::Object(&MATCH),
                min: 1,
            },
            Default::Absent,
            "The requests that the route serves: any of these. All when absent.",
        ),
        field(
            "policies",
            POLICIES,
            Default::Absent,
            "What happens to a request. The order is fixed by the kinds, not by this list.",
        ),
        field(
            "targets",
            Shape::List {
                of: &Shape::Object(&TARGET),
                min: 1,
            },
            Default::Absent,
            "Where requests go. May be absent when a policy always answers.",
        ),
        field(
            "target",
            NAME,
            Default::Absent,
            "Short for `targets` with one upstream.",
        ),
    ],
    rules: &[Rule::AtMostOne(&["targets", "target"])],
};

const MATCH: Object = Object {
    name: "match",
    doc: "A condition over a request; everything that is given must hold.",
    fields: &[
        field(
            "prefix",
            PATH,
            Default::Absent,
            "The first segments of the path: `/a` matches `/a` and `/a/b`, not `/ab`.",
        ),
        field("exact", PATH, Default::Absent, "The whole path."),
        field(
            "template",
            Shape::Leaf(Leaf::Pattern),
            Default::Absent,
            "Segments with captures: `/users/{id}`, `/files/{*rest}`.",
        ),
        field(
            "regex",
            Shape::Leaf(Leaf::Pattern),
            Default::Absent,
            "A regular expression over the whole path; named groups are captures.",
        ),
        field(
            "method",
            Shape::List {
                of: &Shape::Leaf(Leaf::Method),
                min: 1,
            },
            Default::Absent,
            "The method, any of these. All when absent.",
        ),
        field(
            "headers",
            Shape::Map {
                key: Leaf::FieldName,
                of: &TEXT_MATCH,
            },
            Default::Absent,
            "Header fields, all of these: a value, or a condition.",
        ),
        field(
            "query",
            Shape::Map {
                key: Leaf::Text,
                of: &TEXT_MATCH,
            },
            Default::Absent,
            "Query parameters, all of these: a value, or a condition.",
        ),
    ],
    rules: &[Rule::AtMostOne(&["prefix", "exact", "template", "regex"])],
};

const TEXT_MATCH: Shape = Shape::Either(Leaf::Text, &TEXT_CONDITION);

const EXACT: Field = field("exact", TEXT, Default::Absent, "Equal to this.");
const REGEX: Field = field(
    "regex",
    Shape::Leaf(Leaf::Pattern),
    Default::Absent,
    "A regular expression over the whole text.",
);
const PRESENT: Field = field(
    "present",
    Shape::Leaf(Leaf::True),
    Default::Absent,
    "There, whatever it is.",
);

const TEXT_CONDITION: Object = Object {
    name: "condition",
    doc: "A condition over a text.",
    fields: &[EXACT, REGEX, PRESENT],
    rules: &[Rule::ExactlyOne(&["exact", "regex", "present"])],
};

const TARGET: Object = Object {
    name: "target",
    doc: "Where a share of a route's requests goes.",
    fields: &[
        field("upstream", NAME, Default::Required, "The upstream."),
        field(
            "weight",
            count(0, 1_000_000),
            Default::Text("1"),
            "The share, relative to the route's other targets. 0 gets nothing.",
        ),
        field(
            "subset",
            LABELS,
            Default::Empty,
            "Only instances with these labels, besides what the upstream asks for.",
        ),
    ],
    rules: &[],
};
