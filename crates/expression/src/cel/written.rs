//! What an evaluation came to, as JSON.

use serde_json::{Map, Value as Json};

use super::{evaluate::Evaluation, stop::Stop, value::Value};

impl<'a> Evaluation<'a> {
    /// A value as JSON. Lists share their parts, written ones don't, so writing is metered.
    pub(super) fn written(&mut self, value: &Value<'a>) -> Result<Json, Stop> {
        self.spend(value.steps())?;
        Ok(match value {
            Value::Null => Json::Null,
            Value::Bool(bool) => Json::Bool(*bool),
            Value::Int(int) => Json::from(*int),
            Value::Double(double) => Json::from(*double),
            Value::Text(text) => Json::from(text.as_str()),
            Value::List(list) => {
                let elements = list.to_vec();
                let written: Result<_, _> = elements.iter().map(|e| self.written(e)).collect();
                Json::Array(written?)
            }
            Value::Map(map) => {
                let mut written = Map::new();
                for (key, value) in *map {
                    let value = self.written(&Value::from(value))?;
                    written.insert(key.clone(), value);
                }
                Json::Object(written)
            }
        })
    }
}
