//! Reads routes, as much of them as can be read.

use std::collections::BTreeSet;

use portolan_model::{
    Name, Problem, Spec,
    route::{FieldMatch, Match, PathMatch, Route, Target, TextMatch},
};

use super::{Reader, plug};
use crate::{
    PlannedPolicy, leaf,
    tree::{Member, Node, Span, Value},
};

/// A route of which some may be missing.
#[derive(Debug)]
pub(crate) struct RouteDraft {
    pub(crate) route: Route,
    pub(crate) policies: Vec<PlannedPolicy>,
    /// The upstreams that it names, there or not.
    pub(crate) named_upstreams: Vec<Name>,
    /// Where in the lists as written each of the listeners, hosts and matches stood.
    pub(crate) listener_places: Vec<usize>,
    host_places: Vec<usize>,
    match_places: Vec<usize>,
    /// Hosts and matches that the router can't use, by their place in the route.
    bad_hosts: BTreeSet<usize>,
    bad_matches: BTreeSet<usize>,
    /// No request can reach it.
    pub(crate) is_unreachable: bool,
}

impl RouteDraft {
    /// A pointer into the route as one into what was written.
    pub(crate) fn as_written(&self, pointer: &str) -> String {
        let (places, place, rest) = match part_of(pointer) {
            Part::Host(place) => (&self.host_places, place, ""),
            Part::Match(place, rest) => (&self.match_places, place, rest),
            Part::Whole => return pointer.to_owned(),
        };
        let list = pointer.split('/').nth(1).unwrap_or_default();
        match places.get(place) {
            Some(written) => format!("/{list}/{written}{rest}"),
            None => pointer.to_owned(),
        }
    }

    /// Takes note that the router can't use a part.
    pub(crate) fn leave_out(&mut self, pointer: &str) {
        match part_of(pointer) {
            Part::Host(place) => drop(self.bad_hosts.insert(place)),
            Part::Match(place, _) => drop(self.bad_matches.insert(place)),
            Part::Whole => self.is_unreachable = true,
        }
    }

    /// Removes the parts that the router can't use.
    pub(crate) fn settle(&mut self) {
        self.is_unreachable |= remove(&mut self.route.hosts, &self.bad_hosts)
            || remove(&mut self.route.matches, &self.bad_matches);
    }
}

/// What a pointer into a route leads to.
enum Part<'a> {
    Host(usize),
    Match(usize, &'a str),
    Whole,
}

fn part_of(pointer: &str) -> Part<'_> {
    let (list, rest) = match (
        pointer.strip_prefix("/hosts/"),
        pointer.strip_prefix("/match/"),
    ) {
        (Some(rest), _) => ("hosts", rest),
        (None, Some(rest)) => ("match", rest),
        (None, None) => return Part::Whole,
    };
    let end = rest.find('/').unwrap_or(rest.len());
    let (place, rest) = rest.split_at(end);
    match place.parse() {
        Ok(place) if list == "hosts" => Part::Host(place),
        Ok(place) => Part::Match(place, rest),
        Err(_) => Part::Whole,
    }
}

/// Removes items by their places. Says whether nothing is left of something.
fn remove<T>(items: &mut Vec<T>, bad: &BTreeSet<usize>) -> bool {
    let had_some = !items.is_empty();
    let mut place = 0_usize;
    items.retain(|_| {
        let is_good = !bad.contains(&place);
        place = place.saturating_add(1);
        is_good
    });
    had_some && items.is_empty()
}

impl Reader<'_> {
    /// Reads what can be read. `None` if nobody can tell which requests it is for: then it
    /// can't even answer them with an error. A match with an error in it is left out, since
    /// without that part it would take requests that were never meant for it.
    pub(crate) fn route(&mut self, name: &Name, node: &Node, at: Span) -> Option<RouteDraft> {
        let policies = self.policies(node);
        let targets = targets(node);
        if let Some([_, ..]) = targets.as_deref()
            && targets.iter().flatten().all(|target| target.weight == 0)
        {
            let problem = Problem::new("", "all targets have the weight 0, so requests go nowhere")
                .with_help("give one of them a weight, or remove `targets` and answer by a policy");
            self.error(node, "/targets", at, problem);
        }
        let (host_places, hosts) = soundly(node, "hosts", |host| {
            leaf::host_pattern(host.scalar()?).ok()
        })?;
        let (match_places, matches) = soundly(node, "match", condition)?;
        let (listener_places, listeners) =
            soundly(node, "listeners", |name| leaf::name(name.scalar()?).ok())?;
        let specs: Vec<Spec> = node.get("policies").map_or_else(Vec::new, |list| {
            list.items().iter().filter_map(plug::spec).collect()
        });
        let targets = targets.unwrap_or_default();
        Some(RouteDraft {
            policies: policies.unwrap_or_default(),
            named_upstreams: targets
                .iter()
                .map(|target| target.upstream.clone())
                .collect(),
            route: Route {
                name: name.clone(),
                listeners,
                hosts,
                matches,
                policies: specs,
                targets,
            },
            listener_places,
            host_places,
            match_places,
            bad_hosts: BTreeSet::new(),
            bad_matches: BTreeSet::new(),
            is_unreachable: false,
        })
    }
}

/// The sound items of a list, and their places. `None` if the list says something and
/// nothing of it is sound.
fn soundly<T>(
    node: &Node,
    name: &str,
    read: impl Fn(&Node) -> Option<T>,
) -> Option<(Vec<usize>, Vec<T>)> {
    let Value::Map(members) = &node.value else {
        return None;
    };
    let Some(member) = members.iter().find(|member| member.key == name) else {
        return Some((Vec::new(), Vec::new()));
    };
    let items = member.node.items().iter().enumerate();
    let sound = items.filter(|(_, item)| item.is_sound);
    let (places, read): (Vec<_>, Vec<_>) = sound
        .filter_map(|(place, item)| Some((place, read(item)?)))
        .unzip();
    if read.is_empty() {
        None
    } else {
        Some((places, read))
    }
}

fn condition(node: &Node) -> Option<Match> {
    let pattern = |text: &str| Ok(text.to_owned());
    let path = [
        node.may_read("exact", leaf::path)?.map(PathMatch::Exact),
        node.may_read("prefix", leaf::path)?.map(PathMatch::Prefix),
        node.may_read("template", pattern)?.map(PathMatch::Template),
        node.may_read("regex", pattern)?.map(PathMatch::Regex),
    ];
    Some(Match {
        path: path.into_iter().flatten().next().unwrap_or_default(),
        methods: node.read_all("method", leaf::method)?,
        headers: fields(node, "headers")?,
        query: fields(node, "query")?,
        // The router could match on bodies, but nothing collects them yet.
        body: None,
    })
}

fn fields(node: &Node, name: &str) -> Option<Vec<FieldMatch>> {
    let field = |member: &Member| {
        Some(FieldMatch {
            name: member.key.clone(),
            value: text_match(&member.node)?,
        })
    };
    let read = node.maybe(name, |map| match &map.value {
        Value::Map(members) => members.iter().map(field).collect::<Option<_>>(),
        Value::Scalar(_) | Value::List(_) => None,
    });
    read.map(Option::unwrap_or_default)
}

fn text_match(node: &Node) -> Option<TextMatch> {
    if let Some(text) = node.scalar() {
        return Some(TextMatch::Exact(text.to_owned()));
    }
    if let Some(regex) = node.get("regex") {
        return Some(TextMatch::Regex(regex.scalar()?.to_owned()));
    }
    if node.has("present") {
        return node.get("present").map(|_| TextMatch::Present);
    }
    Some(TextMatch::Exact(node.get("exact")?.scalar()?.to_owned()))
}

fn targets(node: &Node) -> Option<Vec<Target>> {
    if node.has("target") {
        let upstream = node.read("target", leaf::name)?;
        return Some(vec![Target {
            upstream,
            weight: 1,
            subset: portolan_model::Metadata::new(),
        }]);
    }
    let target = |node: &Node| {
        Some(Target {
            upstream: node.read("upstream", leaf::name)?,
            weight: node.count("weight")?,
            subset: node.labels("subset")?,
        })
    };
    let read = node.maybe("targets", |list| list.items().iter().map(target).collect());
    read.map(Option::unwrap_or_default)
}
