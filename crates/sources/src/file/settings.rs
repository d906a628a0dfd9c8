//! Settings of the `file` source.

use std::{any::Any, path::PathBuf, sync::Arc, time::Duration};

use portolan_catalog::{Source, SourceSpec};
use portolan_model::{Problem, SourceId};
use portolan_runtime::Env;
use serde_json::{Value, json};

use super::watch::FileSource;
use crate::frame::Fields;

const POLL: Duration = Duration::from_secs(10);
const POLL_BOUNDS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_hours(24));

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    /// A file or a folder.
    pub(super) path: PathBuf,
    /// How often it is looked at when nothing notifies.
    pub(super) poll: Duration,
}

impl SourceSpec for Settings {
    fn build(&self, id: &SourceId, env: &Env) -> Box<dyn Source> {
        Box::new(FileSource::new(self.clone(), id.clone(), env.clone()))
    }

    fn same_as(&self, other: &dyn SourceSpec) -> bool {
        (other as &dyn Any).downcast_ref() == Some(self)
    }
}

pub(super) fn parse(settings: &Value) -> Result<Arc<dyn SourceSpec>, Vec<Problem>> {
    let mut fields = Fields::new(settings);
    let path = fields.text("path");
    if path.is_none_or(str::is_empty) {
        let problem = Problem::new("/path", "a `file` source needs a path");
        fields.problem(problem.with_help("name a file like `services.yaml`, or a folder"));
    }
    let settings = Settings {
        path: path.unwrap_or_default().into(),
        poll: fields.span("poll", POLL, POLL_BOUNDS),
    };
    Ok(Arc::new(fields.finish(settings)?))
}

pub(super) fn schema() -> Value {
    json!({
        "type": "object",
        "additionalProperties": false,
        "required": ["path"],
        "properties": {
            "path": {
                "type": "string",
                "minLength": 1,
                "description": "A YAML or JSON file, or a folder of them."
            },
            "poll": {
                "type": "string",
                "default": "10s",
                "description": "How often the file is looked at besides the system's notifications."
            }
        }
    })
}
