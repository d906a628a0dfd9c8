//! Settings of the `eureka` source.

use std::{any::Any, sync::Arc, time::Duration};

use data_encoding::BASE64;
use portolan_catalog::{Source, SourceSpec};
use portolan_model::{Problem, SourceId};
use portolan_runtime::Env;
use serde_json::{Map, Value, json};

use super::{map::NAMES, watch::Watch};
use crate::frame::{Basics, Fields, ServersSettings, following};

const EXAMPLE: &str = "http://127.0.0.1:8761/eureka";
const INTERVAL: Duration = Duration::from_secs(5);
const INTERVAL_BOUNDS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_hours(1));

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Settings {
    pub(super) basics: Basics,
    pub(super) servers: ServersSettings,
    pub(super) interval: Duration,
}

impl SourceSpec for Settings {
    fn build(&self, id: &SourceId, env: &Env) -> Box<dyn Source> {
        following(Watch::new(self.clone(), id.clone(), env.clone()), env)
    }

    fn same_as(&self, other: &dyn SourceSpec) -> bool {
        (other as &dyn Any).downcast_ref() == Some(self)
    }
}

pub(super) fn parse(settings: &Value) -> Result<Arc<dyn SourceSpec>, Vec<Problem>> {
    let mut fields = Fields::new(settings);
    let mut servers = ServersSettings::read(&mut fields, EXAMPLE);
    match (fields.text("username"), fields.text("password")) {
        (None, None) => {}
        (Some(name), Some(_)) if name.contains(':') => {
            fields.refuse("username", "a name for basic authentication has no colon");
        }
        (Some(name), Some(password)) => {
            let pair = BASE64.encode(format!("{name}:{password}").as_bytes());
            servers.authorize(&mut fields, ("password", format!("Basic {pair}")));
        }
        (Some(_), None) => fields.refuse("username", "`username` and `password` go together"),
        (None, Some(_)) => fields.refuse("password", "`username` and `password` go together"),
    }
    let settings = Settings {
        servers,
        interval: fields.span("interval", INTERVAL, INTERVAL_BOUNDS),
        basics: Basics::read(&mut fields, NAMES),
    };
    Ok(Arc::new(fields.finish(settings)?))
}

pub(super) fn schema() -> Value {
    let text = |what: &str| json!({"type": "string", "description": what});
    let mut properties = Map::new();
    ServersSettings::describe(&mut properties);
    let own = [
        ("username", text("A name for basic authentication.")),
        ("password", text("Its password.")),
        (
            "interval",
            json!({"type": "string", "default": "5s", "description": "How often changes are asked for, from 100ms to 1h."}),
        ),
    ];
    properties.extend(own.map(|(name, schema)| (name.to_owned(), schema)));
    Basics::describe(&mut properties, NAMES);
    json!({"type": "object", "additionalProperties": false, "properties": properties})
}
