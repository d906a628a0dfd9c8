//! Settings of the `cloud_map` source.

use std::{any::Any, fmt, path::PathBuf, sync::Arc, time::Duration};

use http::HeaderMap;
use portolan_catalog::{Source, SourceSpec};
use portolan_model::{Problem, SourceId};
use portolan_runtime::Env;
use portolan_wire::call::{Scheme, Url};
use serde_json::{Map, Value, json};

use super::{map::NAMES, watch::CloudMapSource};
use portolan_sources::frame::{Basics, Fields, ServersSettings, following, tls};

const METADATA: &str = "http://169.254.169.254";
const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_hours(24);
const NAMESPACES_MAX: usize = 100;

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Settings {
    pub(super) basics: Basics,
    pub(super) region: String,
    /// All if empty.
    pub(super) namespaces: Vec<String>,
    /// Where namespaces and services are listed, and where instances are discovered.
    pub(super) control: ServersSettings,
    pub(super) data: ServersSettings,
    pub(super) credentials: Chain,
    pub(super) poll: Duration,
    pub(super) relist: Duration,
    pub(super) timeout: Duration,
}

/// Where credentials come from; the first that is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Chain {
    Given(Keys),
    File {
        path: PathBuf,
        profile: String,
    },
    Container {
        url: Url,
        token_file: Option<PathBuf>,
    },
    Instance(Url),
}

/// Credentials. Only the id of the key is shown.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Keys {
    pub(super) id: String,
    pub(super) secret: String,
    pub(super) token: Option<String>,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl SourceSpec for Settings {
    fn build(&self, id: &SourceId, env: &Env) -> Box<dyn Source> {
        following(
            CloudMapSource::new(self.clone(), id.clone(), env.clone()),
            env,
        )
    }

    fn same_as(&self, other: &dyn SourceSpec) -> bool {
        (other as &dyn Any).downcast_ref() == Some(self)
    }
}

pub(super) fn parse(settings: &Value) -> Result<Arc<dyn SourceSpec>, Vec<Problem>> {
    Ok(Arc::new(read(settings)?))
}

pub(super) fn read(settings: &Value) -> Result<Settings, Vec<Problem>> {
    let mut fields = Fields::new(settings);
    let basics = Basics::read(&mut fields, NAMES);
    let region = region(&mut fields);
    let endpoint = fields.url("endpoint", None);
    let tls = tls(&mut fields);
    let servers = |prefix: &str| {
        let host = format!("https://{prefix}servicediscovery.{region}.amazonaws.com");
        ServersSettings {
            urls: endpoint
                .clone()
                .or_else(|| Url::parse(&host).ok())
                .into_iter()
                .collect(),
            tls: tls.clone(),
            fields: HeaderMap::new(),
        }
    };
    let (control, data) = (servers(""), servers("data-"));
    let is_plain = |url: &Url| url.scheme() == Scheme::Http;
    if endpoint.as_ref().is_some_and(is_plain) && fields.value("tls").is_some() {
        fields.refuse("tls", "`endpoint` is http://, which is spoken without TLS");
    }
    let poll = fields.span("poll", Duration::from_secs(5), (SECOND, DAY));
    let relist = fields.span("relist", poll.max(Duration::from_mins(1)), (SECOND, DAY));
    if relist < poll {
        fields.refuse("relist", "`relist` is shorter than `poll`");
    }
    let settings = Settings {
        basics,
        region,
        namespaces: namespaces(&mut fields),
        control,
        data,
        credentials: chain(&mut fields),
        poll,
        relist,
        timeout: fields.span(
            "timeout",
            Duration::from_secs(10),
            (Duration::from_millis(100), Duration::from_mins(5)),
        ),
    };
    fields.finish(settings)
}

fn namespaces(fields: &mut Fields<'_>) -> Vec<String> {
    let texts = fields.texts("namespaces");
    if texts.len() > NAMESPACES_MAX {
        fields.refuse(
            "namespaces",
            format!("there are more than {NAMESPACES_MAX} namespaces"),
        );
    }
    let mut namespaces: Vec<String> = Vec::new();
    for (index, text) in texts {
        if text.is_empty() || namespaces.iter().any(|known| known == text) {
            let what = if text.is_empty() {
                "has no name"
            } else {
                "is named twice"
            };
            fields.refuse(
                &format!("namespaces/{index}"),
                format!("this namespace {what}"),
            );
            continue;
        }
        namespaces.push(text.to_owned());
    }
    namespaces
}

fn region(fields: &mut Fields<'_>) -> String {
    let text = fields.text("region").unwrap_or_default();
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if text.is_empty() || !text.bytes().all(fits) {
        let problem = Problem::new("/region", "a `cloud_map` source needs a region");
        fields.problem(problem.with_help("write it like `region: eu-central-1`"));
    }
    text.to_owned()
}

fn chain(fields: &mut Fields<'_>) -> Chain {
    let text = |fields: &mut Fields<'_>, name| {
        fields
            .text(name)
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
    };
    let id = text(fields, "access_key_id");
    let secret = text(fields, "secret_access_key");
    let token = text(fields, "session_token");
    let file = text(fields, "credentials_file");
    let profile = text(fields, "profile");
    needs(
        fields,
        ("profile", profile.is_some()),
        ("credentials_file", file.is_some()),
    );
    needs(
        fields,
        ("session_token", token.is_some()),
        ("access_key_id", id.is_some()),
    );
    let profile = profile.unwrap_or_else(|| "default".to_owned());
    let is_contained = text(fields, "container_credentials").is_some();
    let container = is_contained.then(|| container_url(fields)).flatten();
    let token_file = text(fields, "container_token_file").map(PathBuf::from);
    needs(
        fields,
        ("container_token_file", token_file.is_some()),
        ("container_credentials", is_contained),
    );
    let metadata = fields.url("metadata_url", Some(METADATA));
    match (id, secret) {
        (Some(id), Some(secret)) => return Chain::Given(Keys { id, secret, token }),
        (None, None) => {}
        (Some(_), None) => fields.refuse(
            "secret_access_key",
            "`access_key_id` needs `secret_access_key`",
        ),
        (None, Some(_)) => {
            fields.refuse("access_key_id", "`secret_access_key` needs `access_key_id`");
        }
    }
    match (file, container, metadata) {
        (Some(path), ..) => Chain::File {
            path: path.into(),
            profile,
        },
        (None, Some(url), _) => Chain::Container { url, token_file },
        (None, None, Some(url)) => Chain::Instance(url),
        // A finding was written already.
        (None, None, None) => Chain::File {
            path: PathBuf::new(),
            profile,
        },
    }
}

/// A setting that says nothing without another.
fn needs(fields: &mut Fields<'_>, (name, is_set): (&str, bool), (other, has_other): (&str, bool)) {
    if is_set && !has_other {
        fields.refuse(name, format!("`{name}` needs `{other}`"));
    }
}

/// Credentials go over the network in the clear only where AWS does so itself: to the host's
/// own agents.
fn container_url(fields: &mut Fields<'_>) -> Option<Url> {
    let url = fields.url("container_credentials", None)?;
    let is_near = url
        .host()
        .parse::<std::net::IpAddr>()
        .is_ok_and(|ip| match ip {
            std::net::IpAddr::V4(ip) => ip.is_loopback() || ip.is_link_local(),
            std::net::IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local(),
        });
    if url.scheme() == Scheme::Http && !is_near && url.host() != "localhost" {
        fields.refuse(
            "container_credentials",
            "credentials are asked for over https://, or from this host's own agent",
        );
        return None;
    }
    Some(url)
}

pub(super) fn schema() -> Value {
    let text = |description: &str| json!({"type": "string", "description": description});
    let file =
        |description: &str| json!({"type": "string", "format": "path", "description": description});
    let or = |default: &str, description: &str| json!({"type": "string", "default": default, "description": description});
    let mut properties: Map<String, Value> = [
        ("region", text("The region, like eu-central-1.")),
        (
            "namespaces",
            json!({"type": "array", "maxItems": NAMESPACES_MAX, "items": {"type": "string"}, "description": "Names of namespaces; all of the account by default."}),
        ),
        ("endpoint", text("The API's address; those of the region by default.")),
        ("access_key_id", text("The id of a key; with `secret_access_key` the first of the places that credentials come from.")),
        ("secret_access_key", text("The key itself; write it as ${VARIABLE}.")),
        ("session_token", text("The token of temporary credentials.")),
        ("credentials_file", file("The file of credentials that AWS's tools share: the second place.")),
        ("profile", or("default", "The profile in that file.")),
        ("container_credentials", text("The URL that ECS or EKS tells its containers in AWS_CONTAINER_CREDENTIALS_FULL_URI: the third place.")),
        ("container_token_file", file("The file of AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE, whose text goes with that call.")),
        ("metadata_url", or(METADATA, "Where the instance's role is asked for (IMDSv2): the last place.")),
        ("poll", or("5s", "How often each service is asked whether it changed.")),
        ("relist", or("1m", "How often namespaces and services are listed; no more often than `poll`, and as often as that if it is longer than a minute.")),
        ("timeout", or("10s", "Time for one answer.")),
    ]
    .map(|(name, schema)| (name.to_owned(), schema))
    .into_iter()
    .collect();
    let mut servers = Map::new();
    ServersSettings::describe(&mut servers);
    properties.extend(servers.remove("tls").map(|tls| ("tls".to_owned(), tls)));
    Basics::describe(&mut properties, NAMES);
    json!({"type": "object", "additionalProperties": false, "required": ["region"], "properties": properties})
}
