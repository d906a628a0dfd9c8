//! Settings of the `kubernetes` source.

use std::{any::Any, path::PathBuf, sync::Arc, time::Duration};

use portolan_catalog::{Source, SourceSpec};
use portolan_model::{Problem, SourceId};
use portolan_runtime::Env;
use portolan_sources::frame::{Basics, Fields, following};
use serde_json::{Map, Value, json};

use super::{map::NAMES, watch::KubernetesSource};

const TIMEOUT: Duration = Duration::from_secs(10);
/// Most namespaces that are named: each has watches of its own.
const NAMESPACES_MAX: usize = 64;
/// Longest name of a namespace, and longest selector.
const NAME_BYTES_MAX: usize = 63;
const SELECTOR_BYTES_MAX: usize = 1024;

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Settings {
    pub(super) basics: Basics,
    /// The pod's own account if there is none.
    pub(super) kubeconfig: Option<PathBuf>,
    pub(super) context: Option<String>,
    /// All if empty.
    pub(super) namespaces: Vec<String>,
    pub(super) selector: Option<String>,
    pub(super) pods: bool,
    /// For one answer.
    pub(super) timeout: Duration,
}

impl SourceSpec for Settings {
    fn build(&self, id: &SourceId, env: &Env) -> Box<dyn Source> {
        following(
            KubernetesSource::new(self.clone(), id.clone(), env.clone()),
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
    let kubeconfig = fields.text("kubeconfig").map(PathBuf::from);
    let context = fields.text("context").map(str::to_owned);
    if context.is_some() && kubeconfig.is_none() {
        fields.refuse(
            "context",
            "`context` names a part of a `kubeconfig`, and there is none",
        );
    }
    let settings = Settings {
        basics,
        kubeconfig,
        context,
        namespaces: namespaces(&mut fields),
        selector: selector(&mut fields),
        pods: fields.flag("pods", false),
        timeout: fields.span(
            "timeout",
            TIMEOUT,
            (Duration::from_millis(100), Duration::from_mins(5)),
        ),
    };
    fields.finish(settings)
}

fn namespaces(fields: &mut Fields<'_>) -> Vec<String> {
    let texts = fields.texts("namespaces");
    if texts.len() > NAMESPACES_MAX {
        let message = format!(
            "there are more than {NAMESPACES_MAX} namespaces: leave it out to read all, and narrow by `only`"
        );
        fields.refuse("namespaces", message);
    }
    let mut namespaces: Vec<String> = Vec::new();
    for (index, text) in texts {
        let is_name = !text.is_empty()
            && text.len() <= NAME_BYTES_MAX
            && text
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        if !is_name {
            fields.refuse(
                &format!("namespaces/{index}"),
                format!("`{text}` is not a namespace"),
            );
        } else if !namespaces.iter().any(|known| known == text) {
            namespaces.push(text.to_owned());
        }
    }
    namespaces
}

fn selector(fields: &mut Fields<'_>) -> Option<String> {
    let text = fields
        .text("selector")
        .filter(|text| !text.trim().is_empty())?;
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_./=!,() ".contains(c);
    if text.len() > SELECTOR_BYTES_MAX || !text.chars().all(fits) {
        let problem = Problem::new("/selector", format!("`{text}` is not a label selector"));
        fields.problem(problem.with_help("write it like `tier=web,env in (staging, production)`"));
        return None;
    }
    Some(text.to_owned())
}

pub(super) fn schema() -> Value {
    let text = |description: &str| json!({"type": "string", "description": description});
    let mut properties = Map::new();
    properties.insert(
        "kubeconfig".to_owned(),
        json!({"type": "string", "format": "path", "description": "A file that says where the API server is and who we are; without it the service account of the pod that Portolan runs in."}),
    );
    properties.insert(
        "context".to_owned(),
        text("The context of the kubeconfig; its current one by default."),
    );
    properties.insert(
        "namespaces".to_owned(),
        json!({"type": "array", "maxItems": NAMESPACES_MAX, "items": {"type": "string"}, "description": "Namespaces that are read; all by default."}),
    );
    properties.insert(
        "selector".to_owned(),
        text("A label selector for Services, like tier=web."),
    );
    properties.insert(
        "pods".to_owned(),
        json!({"type": "boolean", "default": false, "description": "Read labels of pods too, which give each instance its own version."}),
    );
    properties.insert(
        "timeout".to_owned(),
        json!({"type": "string", "default": "10s", "description": "Time for one answer of the API server."}),
    );
    Basics::describe(&mut properties, NAMES);
    json!({"type": "object", "additionalProperties": false, "properties": properties})
}
