//! What a check does, as clients say it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::consul::{
    Refusal,
    loose::{self, Fields},
};

/// What a check does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckKind {
    /// Waits to be told, at least this often.
    Ttl(Duration),
    /// Sends a request.
    Http {
        /// Where.
        url: String,
        /// The method; GET if empty.
        method: String,
        /// Further fields.
        headers: Vec<(String, String)>,
        /// The content.
        body: String,
        /// TLS, if the URL asks for it.
        tls: CheckTls,
        /// A redirect is an answer.
        stays: bool,
    },
    /// Opens a connection.
    Tcp {
        /// Host and port.
        address: String,
        /// TLS, if any.
        tls: Option<CheckTls>,
    },
    /// Sends a datagram.
    Udp(String),
    /// Calls gRPC's health service.
    Grpc {
        /// Host and port, and perhaps a service after a slash.
        address: String,
        /// TLS, if any.
        tls: Option<CheckTls>,
    },
    /// Pings over HTTP/2.
    H2Ping {
        /// Host and port.
        address: String,
        /// TLS, if any.
        tls: Option<CheckTls>,
    },
    /// Runs a program.
    Script(Vec<String>),
    /// Runs a program in a container.
    Docker {
        /// The container.
        container: String,
        /// What reads a program that is one text; `/bin/sh` if empty.
        shell: String,
        /// The program and its arguments.
        command: Vec<String>,
    },
    /// Follows another service, or a node if the service is empty.
    Alias {
        /// The node; the agent's if empty.
        node: String,
        /// The id of the service.
        service: String,
        /// Its name; empty if nobody knows it yet.
        name: String,
    },
    /// Asks the system's service manager.
    OsService(String),
    /// Somebody else runs it and registers its state.
    External,
}

/// How a check speaks TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckTls {
    /// The name to ask for; the host's if empty.
    pub server_name: String,
    /// Any certificate is fine.
    pub is_lax: bool,
}

pub(super) fn kind_of(fields: Fields<'_>) -> Result<CheckKind, Refusal> {
    if let Some(ttl) = fields.span("TTL")? {
        return Ok(CheckKind::Ttl(ttl));
    }
    let tls = || -> Result<CheckTls, Refusal> {
        Ok(CheckTls {
            server_name: fields.text("TLSServerName")?,
            is_lax: fields.truth("TLSSkipVerify")?,
        })
    };
    let tls_if = |wanted: bool| wanted.then(tls).transpose();
    let url = fields.text("HTTP")?;
    if !url.is_empty() {
        return Ok(CheckKind::Http {
            url,
            method: fields.text("Method")?,
            headers: headers_of(fields)?,
            body: fields.text("Body")?,
            tls: tls()?,
            stays: fields.truth("DisableRedirects")?,
        });
    }
    let address = fields.text("TCP")?;
    if !address.is_empty() {
        let tls = tls_if(fields.truth("TCPUseTLS")?)?;
        return Ok(CheckKind::Tcp { address, tls });
    }
    let address = fields.text("GRPC")?;
    if !address.is_empty() {
        let tls = tls_if(fields.truth("GRPCUseTLS")?)?;
        return Ok(CheckKind::Grpc { address, tls });
    }
    let address = fields.text("H2PING")?;
    if !address.is_empty() {
        // It is on unless somebody turns it off.
        let wanted = fields.find("H2PingUseTLS").is_none() || fields.truth("H2PingUseTLS")?;
        let tls = tls_if(wanted)?;
        return Ok(CheckKind::H2Ping { address, tls });
    }
    other_kind(fields)
}

fn other_kind(fields: Fields<'_>) -> Result<CheckKind, Refusal> {
    let command = command_of(fields)?;
    let container = fields.text("DockerContainerID")?;
    if !container.is_empty() {
        return Ok(CheckKind::Docker {
            container,
            shell: fields.text("Shell")?,
            command,
        });
    }
    if !command.is_empty() {
        return Ok(CheckKind::Script(command));
    }
    let address = fields.text("UDP")?;
    if !address.is_empty() {
        return Ok(CheckKind::Udp(address));
    }
    let name = fields.text("OSService")?;
    if !name.is_empty() {
        return Ok(CheckKind::OsService(name));
    }
    let (node, service) = (fields.text("AliasNode")?, fields.text("AliasService")?);
    if !node.is_empty() || !service.is_empty() {
        let name = String::new();
        return Ok(CheckKind::Alias {
            node,
            service,
            name,
        });
    }
    Ok(CheckKind::External)
}

fn command_of(fields: Fields<'_>) -> Result<Vec<String>, Refusal> {
    for name in ["Args", "ScriptArgs"] {
        let arguments = fields.texts(name)?;
        if !arguments.is_empty() {
            return Ok(arguments.iter().map(ToString::to_string).collect());
        }
    }
    let script = fields.text("Script")?;
    Ok(Some(script)
        .filter(|script| !script.is_empty())
        .into_iter()
        .collect())
}

/// `{"X-A": ["b", "c"]}`, as Go has header fields.
fn headers_of(fields: Fields<'_>) -> Result<Vec<(String, String)>, Refusal> {
    let Some(map) = fields.object("Header")? else {
        return Ok(Vec::new());
    };
    let mut headers = Vec::new();
    for (name, value) in map.entries("Header")? {
        let many = value.as_array().map(Vec::as_slice);
        let values = many.unwrap_or_else(|| std::slice::from_ref(value));
        if values.len() > loose::ELEMENTS_MAX {
            return Err(Refusal::decode("'Header' has too many values"));
        }
        for value in values {
            headers.push((name.to_owned(), loose::text_of("Header", value)?));
        }
    }
    Ok(headers)
}
