//! Tokens of a service account: by its key, or from the machine's metadata server.

use std::{fmt, path::Path, time::Duration};

use data_encoding::BASE64URL_NOPAD;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use portolan_model::{
    ByteSize, Timestamp,
    route::{UpstreamTls, Verify},
};
use portolan_runtime::Env;
use portolan_wire::call::{Answer, Call, Url};
use ring::{
    rand::SystemRandom,
    signature::{RSA_PKCS1_SHA256, RsaKeyPair},
};
use rustls_pki_types::{PrivatePkcs8KeyDer, pem::PemObject};
use serde_json::{Value, json};

use super::settings::Account;
use portolan_sources::frame::{Ended, Servers, ServersSettings};

/// Tokens are renewed this long before they end.
const EARLY: Duration = Duration::from_mins(1);
/// How long a token is asked for.
const LIFE: Duration = Duration::from_hours(1);
const TIMEOUT: Duration = Duration::from_secs(5);
const ANSWER_MAX: ByteSize = ByteSize::from_bytes(64 << 10);
const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
const GRANT: &str = "urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer";
const MACHINE: &str = "/computeMetadata/v1/instance/service-accounts/default/token";

/// A token that is there when it is needed.
pub(super) struct Tokens {
    account: Account,
    /// How the servers that give tokens are spoken to.
    tls: UpstreamTls,
    env: Env,
    held: Option<(HeaderValue, Timestamp)>,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens")
            .field("account", &self.account)
            .finish_non_exhaustive()
    }
}

/// What a key file holds that is of use.
pub(super) struct KeyFile {
    email: String,
    key_id: Option<String>,
    key: RsaKeyPair,
    pub(super) token_url: Url,
}

impl KeyFile {
    /// Reads the JSON of a service account's key. Says what is missing.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let told: Value =
            serde_json::from_str(text).map_err(|error| format!("it is no JSON: {error}"))?;
        let field = |name: &str| {
            let text = told
                .get(name)
                .and_then(Value::as_str)
                .filter(|text| !text.is_empty());
            text.ok_or_else(|| format!("it has no `{name}`"))
        };
        let pem = field("private_key")?;
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes());
        let der = der.map_err(|_| "its `private_key` is no key in PEM".to_owned())?;
        let key = RsaKeyPair::from_pkcs8(der.secret_pkcs8_der());
        Ok(Self {
            email: field("client_email")?.to_owned(),
            key_id: field("private_key_id").ok().map(str::to_owned),
            key: key.map_err(|error| format!("its `private_key` is no RSA key: {error}"))?,
            token_url: Url::parse(field("token_uri")?).map_err(|bad| bad.to_string())?,
        })
    }

    /// A signed word that we are that account (RFC 7523).
    pub(super) fn assertion(&self, now: Timestamp) -> Result<String, String> {
        let seconds = now.as_millis() / 1000;
        let mut head = json!({"alg": "RS256", "typ": "JWT"});
        if let (Some(id), Some(head)) = (&self.key_id, head.as_object_mut()) {
            head.insert("kid".to_owned(), json!(id));
        }
        let claims = json!({
            "iss": self.email, "scope": SCOPE, "aud": self.token_url.to_string(),
            "iat": seconds, "exp": seconds.saturating_add(LIFE.as_secs()),
        });
        let part = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
        let text = format!("{}.{}", part(&head), part(&claims));
        let mut signature = vec![0; self.key.public().modulus_len()];
        let signed = self.key.sign(
            &RSA_PKCS1_SHA256,
            &SystemRandom::new(),
            text.as_bytes(),
            &mut signature,
        );
        signed.map_err(|_| "the key signs nothing".to_owned())?;
        Ok(format!("{text}.{}", BASE64URL_NOPAD.encode(&signature)))
    }
}

impl Tokens {
    pub(super) const fn new(account: Account, tls: UpstreamTls, env: Env) -> Self {
        Self {
            account,
            tls,
            env,
            held: None,
        }
    }

    /// Fetches a new one when it is asked for next: the API does not take the old one.
    pub(super) fn forget(&mut self) {
        self.held = None;
    }

    /// What the field `Authorization` says.
    pub(super) async fn bearer(&mut self) -> Result<HeaderValue, Ended> {
        let now = self.env.now();
        if let Some((token, until)) = &self.held
            && now.after(EARLY) < *until
        {
            return Ok(token.clone());
        }
        let answer = match self.account.clone() {
            Account::Key(path) => self.by_key(&path, now).await?,
            Account::Machine(url) => self.of_machine(&url).await?,
        };
        let (token, span) =
            token_of(&answer).ok_or_else(|| Ended::lost("no token: the answer holds none"))?;
        self.held = Some((token.clone(), now.after(span)));
        Ok(token)
    }

    async fn by_key(&self, path: &Path, now: Timestamp) -> Result<Answer, Ended> {
        let unfit = |reason: String| {
            Ended::lost(format!(
                "the key file {} is of no use: {reason}",
                path.display()
            ))
        };
        let text = tokio::fs::read_to_string(path)
            .await
            .map_err(|error| unfit(error.to_string()))?;
        let file = KeyFile::read(&text).map_err(unfit)?;
        let assertion = file.assertion(now).map_err(unfit)?;
        let form = HeaderValue::from_static("application/x-www-form-urlencoded");
        let call = Call {
            method: Method::POST,
            path: String::new(),
            headers: HeaderMap::from_iter([(header::CONTENT_TYPE, form)]),
            body: Some(format!("grant_type={GRANT}&assertion={assertion}").into()),
        };
        self.ask(&file.token_url, call).await
    }

    async fn of_machine(&self, url: &Url) -> Result<Answer, Ended> {
        let flavor = (
            HeaderName::from_static("metadata-flavor"),
            HeaderValue::from_static("Google"),
        );
        let call = Call {
            headers: HeaderMap::from_iter([flavor]),
            ..Call::get(MACHINE)
        };
        self.ask(url, call).await
    }

    async fn ask(&self, url: &Url, call: Call) -> Result<Answer, Ended> {
        let settings = ServersSettings {
            urls: vec![url.clone()],
            tls: UpstreamTls {
                verify: Verify::Full,
                certificate: None,
                ..self.tls.clone()
            },
            fields: HeaderMap::new(),
        };
        let mut servers = Servers::new(settings, ANSWER_MAX, self.env.clone());
        let about = |ended| match ended {
            Ended::Lost { reason, after } => Ended::Lost {
                reason: format!("no token: {reason}"),
                after,
            },
            Ended::Closed => Ended::Closed,
        };
        let answer = servers.ask(call, TIMEOUT).await.map_err(about)?;
        if answer.status.is_success() {
            return Ok(answer);
        }
        let told: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let why = told
            .get("error_description")
            .or_else(|| told.get("error"))
            .and_then(Value::as_str)
            .unwrap_or_default();
        let why: String = why.chars().take(200).collect();
        Err(Ended::lost(format!(
            "no token: {url} answered {} {why}",
            answer.status
        )))
    }
}

/// The token of an answer, and how long it is good.
pub(super) fn token_of(answer: &Answer) -> Option<(HeaderValue, Duration)> {
    let told: Value = serde_json::from_slice(&answer.body).ok()?;
    let token = told
        .get("access_token")?
        .as_str()
        .filter(|token| !token.is_empty())?;
    let mut value = HeaderValue::from_str(&format!("Bearer {token}")).ok()?;
    value.set_sensitive(true);
    let seconds = told
        .get("expires_in")
        .and_then(Value::as_u64)
        .unwrap_or(LIFE.as_secs());
    Some((value, Duration::from_secs(seconds)))
}
