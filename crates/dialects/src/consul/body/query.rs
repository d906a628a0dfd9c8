//! Prepared queries as clients define them.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use crate::consul::{
    Refusal,
    filter::Pattern,
    loose::{self, Fields, Pairs},
};

/// The body of a prepared query.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SavedQuery {
    /// Its name; may be empty.
    pub name: String,
    /// Ends with this session, if it is one's.
    pub session: String,
    /// Stands for many names.
    pub template: Option<QueryTemplate>,
    /// What is asked.
    pub service: QueryService,
    /// How long a DNS answer may be kept.
    pub dns_ttl: Option<Duration>,
}

/// A query that stands for many names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueryTemplate {
    /// Names that begin so and match this; `name_prefix_match` is the only type.
    pub regexp: String,
    /// Whether tags that became empty are left out.
    pub remove_empty_tags: bool,
}

/// What a prepared query asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueryService {
    /// The service's name.
    pub service: String,
    /// Leave out what warns.
    pub only_passing: bool,
    /// Sort by the way to this node; `_agent` and `_ip` stand for the asker.
    pub near: String,
    /// Wanted tags; those after a `!` are unwanted.
    pub tags: Vec<Arc<str>>,
    /// Wanted labels of the node.
    pub node_meta: Pairs,
    /// Wanted labels of the service.
    pub service_meta: Pairs,
    /// Checks that do not count.
    pub ignored_checks: Vec<Arc<str>>,
    /// How many other datacenters are asked if there is nobody here.
    pub nearest: u32,
    /// Which ones.
    pub datacenters: Vec<Arc<str>>,
}

impl SavedQuery {
    /// Reads the body.
    ///
    /// # Errors
    /// [`Refusal`]: 400, or 500 if it makes no sense.
    pub fn read(body: &[u8]) -> Result<Self, Refusal> {
        let value = loose::parse(body)?;
        let fields = Fields::of(&value)?;
        let service = fields
            .object("Service")?
            .ok_or_else(|| Refusal::failed("Must provide a Service name to query"))?;
        let dns = fields.object("DNS")?;
        Ok(Self {
            name: fields.text("Name")?,
            session: fields.text("Session")?,
            template: template_of(fields)?,
            service: QueryService::of(service)?,
            dns_ttl: dns.map(|dns| dns.span("TTL")).transpose()?.flatten(),
        })
    }
}

fn template_of(fields: Fields<'_>) -> Result<Option<QueryTemplate>, Refusal> {
    let Some(template) = fields.object("Template")? else {
        return Ok(None);
    };
    match template.text("Type")?.as_str() {
        "" => return Ok(None),
        "name_prefix_match" => {}
        other => {
            let text = format!("Bad Template.Type '{other}'");
            return Err(Refusal::failed(text));
        }
    }
    let regexp = template.text("Regexp")?;
    if !regexp.is_empty() && Pattern::new(&regexp).is_none() {
        return Err(Refusal::failed("Bad Template.Regexp"));
    }
    Ok(Some(QueryTemplate {
        regexp,
        remove_empty_tags: template.truth("RemoveEmptyTags")?,
    }))
}

impl QueryService {
    fn of(fields: Fields<'_>) -> Result<Self, Refusal> {
        let service = fields.text("Service")?;
        if service.is_empty() {
            return Err(Refusal::failed("Must provide a Service name to query"));
        }
        let failover = fields.object("Failover")?;
        let nearest = failover.map(|failover| failover.count("NearestN", 1000));
        let datacenters = failover.map(|failover| failover.texts("Datacenters"));
        Ok(Self {
            service,
            only_passing: fields.truth("OnlyPassing")?,
            near: fields.text("Near")?,
            tags: fields.texts("Tags")?,
            node_meta: fields.pairs("NodeMeta")?,
            service_meta: fields.pairs("ServiceMeta")?,
            ignored_checks: fields.texts("IgnoreCheckIDs")?,
            nearest: nearest.transpose()?.unwrap_or(0),
            datacenters: datacenters.transpose()?.unwrap_or_default(),
        })
    }

    /// Whether an instance with these tags is wanted; case does not matter.
    #[must_use]
    pub fn wants_tags(&self, tags: &[Arc<str>]) -> bool {
        let has = |wanted: &str| tags.iter().any(|tag| tag.eq_ignore_ascii_case(wanted));
        self.tags
            .iter()
            .all(|wanted| match wanted.strip_prefix('!') {
                Some(unwanted) => !has(unwanted),
                None => has(wanted),
            })
    }
}
