//! How commands speak to a program that runs.

use std::{env, fs, path::Path, time::Duration};

use portolan_auth::LOCAL_FILE;
use portolan_model::route::{CertificateFiles, Protocol, UpstreamTls, Verify};
use portolan_runtime::Env;
use portolan_wire::{
    call::{Answer, Call, Line, Scheme, Url},
    tls::ClientTls,
};

use crate::{cli::Contact, load::chain};

/// The token, if no argument names a file with one.
const TOKEN: &str = "PORTOLAN_TOKEN";

/// The token that the environment holds, if it does.
#[expect(
    clippy::disallowed_methods,
    reason = "only the binary reads the environment, and this is it"
)]
pub(crate) fn token_of_environment() -> Option<String> {
    env::var(TOKEN).ok().filter(|token| !token.is_empty())
}

/// The token that a file holds.
///
/// # Errors
/// Words about the file.
pub(crate) fn token_of_file(file: &Path) -> Result<String, String> {
    let text = fs::read_to_string(file);
    let text = text.map_err(|error| format!("can't read {}: {error}", file.display()))?;
    Ok(text.trim().to_owned())
}

/// Asks the program and waits for its answer.
///
/// # Errors
/// Words about why there is none.
pub(super) fn ask(contact: &Contact, call: Call, within: Duration) -> Result<Answer, String> {
    let url = Url::parse(&contact.admin).map_err(|error| chain(&error))?;
    let token = token(contact, &url)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    let tls = match url.scheme() {
        Scheme::Http => None,
        Scheme::Https => {
            let made = ClientTls::new().connector(&settings(contact), Protocol::Http1);
            Some(made.map_err(|error| chain(&error))?)
        }
    };
    runtime.block_on(async {
        let opened = Line::open(&url, tls.as_deref(), &Env::system()).await;
        let mut line =
            opened.map_err(|error| format!("{}; is the program running?", chain(&error)))?;
        if let Some(token) = token {
            line.authorize(&token).map_err(|error| chain(&error))?;
        }
        let answered = line.call(call, within).await;
        answered.map_err(|error| chain(&error))
    })
}

/// The token to show: of the file, of the environment, or that which the program wrote into its
/// data folder for commands on this machine. Another machine is never shown the last one.
fn token(contact: &Contact, url: &Url) -> Result<Option<String>, String> {
    if let Some(file) = &contact.token_file {
        return token_of_file(file).map(Some);
    }
    if let Some(token) = token_of_environment() {
        return Ok(Some(token));
    }
    let host = url.host();
    let is_here = host == "localhost"
        || host
            .parse()
            .is_ok_and(|ip: std::net::IpAddr| ip.is_loopback());
    if !is_here {
        return Ok(None);
    }
    // There is none without access control, and nobody needs it then.
    Ok(token_of_file(&contact.data_dir.join(LOCAL_FILE)).ok())
}

fn settings(contact: &Contact) -> UpstreamTls {
    let pair = contact.certificate.clone().zip(contact.key.clone());
    UpstreamTls {
        server_name: None,
        ca: contact.ca.clone(),
        certificate: pair.map(|(certificate, key)| CertificateFiles { certificate, key }),
        verify: Verify::Full,
    }
}
