//! The messages of Nacos's gRPC: one envelope for all, with JSON in it.
//!
//! Source: `nacos_grpc_service.proto`, and the request classes of Nacos's API by their names.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::map::{Service, ServiceInfo};

/// Asks for one answer.
pub(super) const REQUEST: &str = "/Request/request";
/// What the server asks of its clients, and what those answer.
pub(super) const STREAM: &str = "/BiRequestStream/requestBiStream";
/// What a server takes us for.
const VERSION: &str = "Portolan:v1";

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Payload {
    #[prost(message, optional, tag = "2")]
    pub(super) metadata: Option<Metadata>,
    #[prost(message, optional, tag = "3")]
    pub(super) body: Option<Any>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Metadata {
    #[prost(string, tag = "3")]
    pub(super) kind: String,
    #[prost(map = "string, string", tag = "7")]
    pub(super) headers: HashMap<String, String>,
    #[prost(string, tag = "8")]
    pub(super) client_ip: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Any {
    #[prost(string, tag = "1")]
    pub(super) type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) value: Vec<u8>,
}

/// What all answers say.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Answer {
    pub(super) result_code: u32,
    pub(super) error_code: u32,
    pub(super) message: Option<String>,
    pub(super) service_names: Option<Vec<String>>,
    pub(super) count: u64,
    pub(super) service_info: Option<ServiceInfo>,
}

/// What the server asks.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Asked {
    pub(super) request_id: Option<String>,
    pub(super) namespace: Option<String>,
    pub(super) service_info: Option<ServiceInfo>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Replied<'a> {
    result_code: u32,
    request_id: &'a str,
}

impl Payload {
    /// An envelope; shows the token if there is one.
    pub(super) fn new(kind: &str, body: &Value, token: Option<&str>) -> Self {
        let token = token.map(|token| ("accessToken".to_owned(), token.to_owned()));
        Self {
            metadata: Some(Metadata {
                kind: kind.to_owned(),
                headers: token.into_iter().collect(),
                client_ip: String::new(),
            }),
            body: Some(Any {
                type_url: String::new(),
                value: body.to_string().into_bytes(),
            }),
        }
    }

    /// What kind of message it is.
    pub(super) fn kind(&self) -> &str {
        let metadata = self.metadata.as_ref();
        metadata.map(|metadata| &*metadata.kind).unwrap_or_default()
    }

    /// What is in it.
    pub(super) fn read<'a, T: Deserialize<'a>>(&'a self) -> Result<T, serde_json::Error> {
        let body = self.body.as_ref().map(|body| &*body.value);
        serde_json::from_slice(body.unwrap_or_default())
    }

    /// The answer to what a server asked; `kind` is that of the question.
    pub(super) fn reply(kind: &str, request_id: &str) -> Self {
        let kind = kind.strip_suffix("Request").unwrap_or(kind);
        let body = Replied {
            result_code: 200,
            request_id,
        };
        Self::new(&format!("{kind}Response"), &json!(body), None)
    }
}

pub(super) fn check() -> (&'static str, Value) {
    (
        "ServerCheckRequest",
        json!({"headers": {}, "module": "internal"}),
    )
}

pub(super) fn set_up() -> (&'static str, Value) {
    let body = json!({
        "headers": {}, "module": "internal", "clientVersion": VERSION, "tenant": "",
        "labels": {"source": "sdk", "module": "naming", "AppName": "portolan"}, "abilities": {},
    });
    ("ConnectionSetupRequest", body)
}

pub(super) fn list(namespace: &str, group: &str, page: u64, size: u64) -> (&'static str, Value) {
    let body = json!({
        "headers": {}, "module": "naming", "namespace": namespace, "groupName": group,
        "serviceName": "", "pageNo": page, "pageSize": size, "selector": "",
    });
    ("ServiceListRequest", body)
}

pub(super) fn subscribe(service: &Service, wanted: bool) -> (&'static str, Value) {
    let body = json!({
        "headers": {}, "module": "naming", "namespace": service.namespace,
        "groupName": service.group, "serviceName": service.name, "clusters": "",
        "subscribe": wanted,
    });
    ("SubscribeServiceRequest", body)
}

/// Reads bytes as what a server sends.
pub(crate) fn read_anything(input: &[u8]) {
    if let Ok(payload) = <Payload as prost::Message>::decode(input) {
        let body = payload.body.unwrap_or_default().value;
        let _answer = serde_json::from_slice::<Answer>(&body);
        let _asked = serde_json::from_slice::<Asked>(&body);
    }
    let _answer = serde_json::from_slice::<Answer>(input);
}
