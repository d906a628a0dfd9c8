//! Queries that stand for many names: every text of what they ask may have parts that come
//! from the name.
//!
//! `${name.full}`, `${name.prefix}`, `${name.suffix}`, `${match(1)}` and `${agent.segment}`;
//! `$${` stands for `${`. Nothing else is evaluated.
//! Source: the templates of Consul's prepared queries.

use std::sync::Arc;

use portolan_dialects::consul::{QueryService, SavedQuery, filter::Pattern};

/// A template that can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadTemplate {
    /// Something between braces is none of what can be there.
    #[error("Bad format '{0}'")]
    Format(String),
    /// A pattern that is none, or is too large.
    #[error("Bad Regexp '{0}'")]
    Pattern(String),
}

/// A template, ready to make queries of names.
#[derive(Clone, Debug)]
pub struct Template {
    query: SavedQuery,
    pattern: Option<Pattern>,
}

/// A part of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part<'t> {
    Text(&'t str),
    Full,
    Prefix,
    Suffix,
    Match(usize),
    Nothing,
}

impl Template {
    /// Checks every text of the query.
    ///
    /// # Errors
    /// [`BadTemplate`]: its author's fault.
    pub fn compile(query: &SavedQuery) -> Result<Self, BadTemplate> {
        let text = query.template.as_ref().map(|template| &template.regexp);
        let pattern = match text {
            Some(text) if !text.is_empty() => {
                let pattern = Pattern::new(text);
                Some(pattern.ok_or_else(|| BadTemplate::Pattern(text.clone()))?)
            }
            Some(_) | None => None,
        };
        let mut flaw = None;
        let mut check = |text: &str| {
            flaw = flaw.take().or_else(|| parts(text).err());
            text.to_owned()
        };
        let _same = with_texts(&query.service, &mut check);
        match flaw {
            Some(flaw) => Err(flaw),
            None => Ok(Self {
                query: query.clone(),
                pattern,
            }),
        }
    }

    /// The query that it makes of a name.
    #[must_use]
    pub fn render(&self, name: &str) -> SavedQuery {
        let groups = match &self.pattern {
            Some(pattern) => pattern.groups(name),
            None => Vec::new(),
        };
        let prefix = self.query.name.as_str();
        // Names are found in any case, so the prefix may be written otherwise.
        let suffix = name.get(prefix.len()..).unwrap_or_default();
        let mut fill = |text: &str| {
            let Ok(parts) = parts(text) else {
                return String::new();
            };
            let filled = parts.into_iter().map(|part| match part {
                Part::Text(text) => text,
                Part::Full => name,
                Part::Prefix => prefix,
                Part::Suffix => suffix,
                Part::Match(group) => groups.get(group).map_or("", String::as_str),
                Part::Nothing => "",
            });
            filled.collect()
        };
        let mut service = with_texts(&self.query.service, &mut fill);
        let template = self.query.template.as_ref();
        if template.is_some_and(|template| template.remove_empty_tags) {
            service.tags.retain(|tag| !tag.is_empty());
        }
        SavedQuery {
            service,
            ..self.query.clone()
        }
    }
}

/// What is asked, with every text of it put through `change`.
fn with_texts(service: &QueryService, change: &mut dyn FnMut(&str) -> String) -> QueryService {
    let mut texts = |texts: &[Arc<str>]| -> Vec<Arc<str>> {
        texts.iter().map(|text| change(text).into()).collect()
    };
    let (tags, ignored_checks, datacenters) = (
        texts(&service.tags),
        texts(&service.ignored_checks),
        texts(&service.datacenters),
    );
    let mut pairs = |pairs: &std::collections::BTreeMap<Arc<str>, Arc<str>>| {
        let changed = pairs.iter();
        changed
            .map(|(key, value)| (Arc::clone(key), change(value).into()))
            .collect()
    };
    let (node_meta, service_meta) = (pairs(&service.node_meta), pairs(&service.service_meta));
    QueryService {
        service: change(&service.service),
        near: change(&service.near),
        tags,
        ignored_checks,
        datacenters,
        node_meta,
        service_meta,
        ..service.clone()
    }
}

/// What a text consists of.
fn parts(text: &str) -> Result<Vec<Part<'_>>, BadTemplate> {
    let bad = || BadTemplate::Format(text.to_owned());
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, after) = (&rest[..at], &rest[at + 2..]);
        if let Some(escaped) = before.strip_suffix('$') {
            parts.push(Part::Text(escaped));
            parts.push(Part::Text("${"));
            rest = after;
            continue;
        }
        parts.push(Part::Text(before));
        let (inner, following) = after.split_once('}').ok_or_else(bad)?;
        parts.push(variable(inner.trim()).ok_or_else(bad)?);
        rest = following;
    }
    parts.push(Part::Text(rest));
    Ok(parts)
}

fn variable(inner: &str) -> Option<Part<'static>> {
    match inner {
        "name.full" => Some(Part::Full),
        "name.prefix" => Some(Part::Prefix),
        "name.suffix" => Some(Part::Suffix),
        // There are no segments.
        "agent.segment" => Some(Part::Nothing),
        _ => {
            let argument = inner.strip_prefix("match(")?.strip_suffix(')')?.trim();
            let group: i64 = argument.parse().ok()?;
            // A group that is not there is empty, as in Consul.
            Some(usize::try_from(group).map_or(Part::Nothing, Part::Match))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn query(service: &Value, regexp: &str) -> SavedQuery {
        let body = json!({
            "Name": "geo-", "Service": service,
            "Template": {"Type": "name_prefix_match", "Regexp": regexp, "RemoveEmptyTags": true},
        });
        SavedQuery::read(body.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn every_text_comes_from_the_name() {
        let query = query(
            &json!({
                "Service": "${match(1)}", "Near": "${name.suffix}",
                "Tags": ["${match(2)}", "$${x}", "v-${name.full}"],
                "NodeMeta": {"dc": "${name.prefix}"}, "ServiceMeta": {"s": "${agent.segment}!"},
                "IgnoreCheckIDs": ["${match(9)}c"],
            }),
            "^geo-([a-z]+)(-[a-z]+)?$",
        );
        let template = Template::compile(&query).unwrap();
        let service = template.render("geo-web").service;
        assert_eq!((&*service.service, &*service.near), ("web", "web"));
        let tags: Vec<_> = service.tags.iter().map(|tag| &**tag).collect();
        assert_eq!(tags, ["${x}", "v-geo-web"], "the empty one is left out");
        assert_eq!(&*service.node_meta["dc"], "geo-");
        assert_eq!(&*service.service_meta["s"], "!");
        assert_eq!(&*service.ignored_checks[0], "c");
        assert_eq!(template.render("geo-web-eu").service.service, "web");
        assert_eq!(template.render("geo-1").service.service, "", "no match");
    }

    #[test]
    fn what_is_not_understood_is_refused_by_name() {
        for text in [
            "${",
            "${nothing}",
            "${match()}",
            "${match(x)}",
            "a ${name.full",
        ] {
            let flaw = Template::compile(&query(&json!({"Service": text}), "")).unwrap_err();
            assert_eq!(flaw, BadTemplate::Format(text.to_owned()), "{text}");
        }
        for text in ["plain", "$", "$$", "{}", "$${name.full}", "${match(-1)}"] {
            assert!(
                Template::compile(&query(&json!({"Service": text}), "")).is_ok(),
                "{text}"
            );
        }
    }
}
