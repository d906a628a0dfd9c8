//! Credentials: from settings, from the shared file, from the container's or the
//! instance's own agent; renewed before they end.

use std::{fmt, path::Path, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use portolan_model::{
    ByteSize, Timestamp,
    route::{UpstreamTls, Verify},
};
use portolan_runtime::Env;
use portolan_wire::call::{Answer, Call, Url};
use serde_json::Value;

use super::settings::{Chain, Keys};
use portolan_sources::frame::{Ended, Servers, ServersSettings};

/// Temporary credentials are renewed this long before they end.
const EARLY: Duration = Duration::from_mins(5);
/// What is read again this often says not itself when it ends.
const FILE_AGE: Duration = Duration::from_mins(1);
/// The largest answer, and the largest file.
const BYTES_MAX: usize = 64 << 10;
const TIMEOUT: Duration = Duration::from_secs(5);
const ROLE: &str = "/latest/meta-data/iam/security-credentials/";

/// Credentials that are there when they are needed.
pub(super) struct Credentials {
    chain: Chain,
    env: Env,
    held: Option<(Keys, Timestamp)>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("chain", &self.chain)
            .finish_non_exhaustive()
    }
}

impl Credentials {
    pub(super) fn new(chain: Chain, env: Env) -> Self {
        Self {
            chain,
            env,
            held: None,
        }
    }

    /// Fetches them anew when they are asked for next: the API does not know them.
    pub(super) fn forget(&mut self) {
        self.held = None;
    }

    /// Credentials that are good for a while.
    pub(super) async fn keys(&mut self) -> Result<Keys, Ended> {
        let now = self.env.now();
        if let Some((keys, until)) = &self.held
            && now.after(EARLY) < *until
        {
            return Ok(keys.clone());
        }
        let (keys, until) = match self.chain.clone() {
            Chain::Given(keys) => (keys, None),
            Chain::File { path, profile } => (
                self.of_file(&path, &profile).await?,
                Some(now.after(FILE_AGE.saturating_add(EARLY))),
            ),
            Chain::Container { url, token_file } => {
                self.of_container(&url, token_file.as_deref()).await?
            }
            Chain::Instance(url) => self.of_instance(&url).await?,
        };
        // Those that do not say when they end are good for ever.
        let until = until.unwrap_or(Timestamp::from_millis(u64::MAX));
        self.held = Some((keys.clone(), until));
        Ok(keys)
    }

    async fn of_file(&self, path: &Path, profile: &str) -> Result<Keys, Ended> {
        let text = tokio::fs::read_to_string(path).await;
        let text = text.map_err(|error| {
            Ended::lost(format!(
                "the credentials in {} can't be read: {error}",
                path.display()
            ))
        })?;
        in_profile(&text, profile).ok_or_else(|| {
            Ended::lost(format!(
                "{} has no key for the profile `{profile}`",
                path.display()
            ))
        })
    }

    async fn of_container(
        &self,
        url: &Url,
        token_file: Option<&Path>,
    ) -> Result<(Keys, Option<Timestamp>), Ended> {
        let mut fields = HeaderMap::new();
        if let Some(path) = token_file {
            let token = tokio::fs::read_to_string(path).await;
            let token = token.map_err(|error| {
                Ended::lost(format!(
                    "the token in {} can't be read: {error}",
                    path.display()
                ))
            })?;
            fields.insert(header::AUTHORIZATION, secret(token.trim())?);
        }
        let call = Call {
            headers: fields,
            ..Call::get("")
        };
        let answer = self.ask(url, call).await?;
        temporary(&answer).ok_or_else(|| Ended::lost(format!("{url} answered with no credentials")))
    }

    async fn of_instance(&self, url: &Url) -> Result<(Keys, Option<Timestamp>), Ended> {
        let age = HeaderName::from_static("x-aws-ec2-metadata-token-ttl-seconds");
        let call = Call {
            method: Method::PUT,
            path: "/latest/api/token".to_owned(),
            headers: HeaderMap::from_iter([(age, HeaderValue::from_static("300"))]),
            body: None,
        };
        let token = self.ask(url, call).await?;
        let name = HeaderName::from_static("x-aws-ec2-metadata-token");
        let token = secret(String::from_utf8_lossy(&token.body).trim())?;
        let fields = HeaderMap::from_iter([(name, token)]);
        let call = |path: String| Call {
            headers: fields.clone(),
            ..Call::get(path)
        };
        let roles = self.ask(url, call(ROLE.to_owned())).await?;
        let roles = String::from_utf8_lossy(&roles.body).into_owned();
        let role = roles.lines().next().unwrap_or_default().trim();
        if role.is_empty() {
            return Err(Ended::lost(
                "no credentials are set, and this instance has no role",
            ));
        }
        let answer = self.ask(url, call(format!("{ROLE}{role}"))).await?;
        temporary(&answer).ok_or_else(|| {
            Ended::lost(format!(
                "{url} answered with no credentials for the role {role}"
            ))
        })
    }

    async fn ask(&self, url: &Url, call: Call) -> Result<Answer, Ended> {
        let settings = ServersSettings {
            urls: vec![url.clone()],
            tls: UpstreamTls {
                server_name: None,
                ca: None,
                certificate: None,
                verify: Verify::Full,
            },
            fields: HeaderMap::new(),
        };
        let limit = ByteSize::from_bytes(BYTES_MAX as u64);
        let mut servers = Servers::new(settings, limit, self.env.clone());
        let about = |ended| match ended {
            Ended::Lost { reason, after } => Ended::Lost {
                reason: format!("no credentials: {reason}"),
                after,
            },
            Ended::Closed => Ended::Closed,
        };
        let answer = servers.ask(call, TIMEOUT).await.map_err(about)?;
        if answer.status.is_success() {
            return Ok(answer);
        }
        // What it says is not told: it may hold a token.
        Err(Ended::lost(format!(
            "no credentials: {url} answered {}",
            answer.status
        )))
    }
}

fn secret(text: &str) -> Result<HeaderValue, Ended> {
    let value = HeaderValue::from_str(text);
    let mut value = value
        .map_err(|_| Ended::lost("no credentials: the token has characters that can't be sent"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// The keys of a profile in the file that AWS's tools share.
pub(super) fn in_profile(text: &str, profile: &str) -> Option<Keys> {
    let mut is_ours = false;
    let (mut id, mut secret, mut token) = (None, None, None);
    for line in text.lines().map(str::trim) {
        if let Some(name) = line
            .strip_prefix('[')
            .and_then(|line| line.strip_suffix(']'))
        {
            let name = name.trim();
            is_ours = name.strip_prefix("profile ").unwrap_or(name).trim() == profile;
            continue;
        }
        let Some((key, value)) = line
            .split_once('=')
            .filter(|_| is_ours && !line.starts_with(['#', ';']))
        else {
            continue;
        };
        let value = Some(value.trim().to_owned()).filter(|value| !value.is_empty());
        match key.trim() {
            "aws_access_key_id" => id = value,
            "aws_secret_access_key" => secret = value,
            "aws_session_token" => token = value,
            _ => {}
        }
    }
    Some(Keys {
        id: id?,
        secret: secret?,
        token,
    })
}

/// The keys that an agent answers with, and when they end.
pub(super) fn temporary(answer: &Answer) -> Option<(Keys, Option<Timestamp>)> {
    let told: Value = serde_json::from_slice(&answer.body).ok()?;
    let text =
        |name: &str| Some(told.get(name)?.as_str()?.to_owned()).filter(|text| !text.is_empty());
    let keys = Keys {
        id: text("AccessKeyId")?,
        secret: text("SecretAccessKey")?,
        token: text("Token"),
    };
    let until = text("Expiration").and_then(|text| Timestamp::parse(&text).ok());
    Some((keys, until))
}
