//! A probe by HTTP/1.1.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::{
    HeaderName, HeaderValue, Method, Request, Uri,
    header::{ACCEPT, CONNECTION, HOST, LOCATION, USER_AGENT},
};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use portolan_model::route::{AnswerMatch, HostPort, HttpMeans, Place, Protocol, UpstreamTls};
use regex::RegexBuilder;

use super::{
    Failed, Outcome, Reach,
    connect::{Line, drive, words_within},
    text,
};

/// Largest head of an answer.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// How much of a body is looked at when it must hold something.
const BODY_BYTES_MAX: usize = 64 << 10;
/// How long a body that nobody asked for is waited for: a stream has no end.
const BODY_PATIENCE: Duration = Duration::from_millis(200);
/// What the compiled form of a regular expression may cost.
const REGEX_BYTES_MAX: usize = 1 << 20;

/// Where a request goes; another place after a redirect.
struct Aim {
    at: Place,
    tls: Option<UpstreamTls>,
    host: Option<String>,
    target: String,
    /// The method and the body go along.
    is_whole: bool,
}

struct Answer {
    status: u16,
    location: Option<String>,
    body: Vec<u8>,
}

pub(super) async fn probe(
    reach: &Reach,
    home: SocketAddr,
    http: &HttpMeans,
    output_max: usize,
) -> Result<Outcome, Failed> {
    let mut aim = Aim {
        at: http.at.clone(),
        tls: http.tls.clone(),
        host: http.host.as_deref().map(str::to_owned),
        target: http.path.to_string(),
        is_whole: true,
    };
    let mut redirects = 0;
    loop {
        let answer = ask(reach, home, http, &aim, output_max).await?;
        let is_redirect = matches!(answer.status, 301 | 302 | 303 | 307 | 308);
        match answer.location.as_deref() {
            Some(location) if is_redirect && redirects < http.redirects_max => {
                redirects += 1;
                aim = follow(aim, answer.status, location)?;
            }
            Some(_) | None => {
                let output = text(answer.body.get(..output_max).unwrap_or(&answer.body));
                return Ok(judge(http, &answer)?.with_output(output));
            }
        }
    }
}

/// What an answer says.
fn judge(http: &HttpMeans, answer: &Answer) -> Result<Outcome, Failed> {
    let status = answer.status;
    let is_good = if http.statuses.is_empty() {
        (200..=299).contains(&status)
    } else {
        http.statuses.iter().any(|good| good.contains(&status))
    };
    let reason = format!("status {status}");
    if !is_good {
        let complains = http.statuses.is_empty() && status == 429;
        return Ok(if complains {
            Outcome::warning(reason)
        } else {
            Outcome::bad(reason)
        });
    }
    let body = String::from_utf8_lossy(&answer.body);
    let (holds, what) = match &http.answer {
        None => return Ok(Outcome::good("")),
        Some(AnswerMatch::Contains(text)) => (body.contains(&**text), text),
        Some(AnswerMatch::Regex(pattern)) => {
            let mut builder = RegexBuilder::new(pattern);
            let regex = builder.size_limit(REGEX_BYTES_MAX).build();
            let regex = regex.map_err(|_| -> Failed {
                "what the body must match is no regular expression".into()
            })?;
            (regex.is_match(&body), pattern)
        }
    };
    Ok(if holds {
        Outcome::good("")
    } else {
        Outcome::bad(format!("the body does not hold `{what}`"))
    })
}

async fn ask(
    reach: &Reach,
    home: SocketAddr,
    http: &HttpMeans,
    aim: &Aim,
    output_max: usize,
) -> Result<Answer, Failed> {
    let name = aim
        .host
        .as_deref()
        .map(|host| host.split(':').next().unwrap_or(host));
    let tls = aim.tls.as_ref().map(|tls| (tls, Protocol::Http1));
    let Line { stream, address } = reach.open_as(&aim.at, home, tls, name).await?;
    let request = request(http, aim, address)?;
    let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
        .title_case_headers(true)
        .max_buf_size(HEAD_BYTES_MAX)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| words(&error))?;
    let wants_body = http.answer.is_some();
    drive(connection, async {
        let sent = sender.send_request(request).await;
        let response = sent.map_err(|error| words(&error))?;
        let location = response.headers().get(LOCATION);
        let location = location.and_then(|value| Some(value.to_str().ok()?.to_owned()));
        let status = response.status().as_u16();
        let body = if wants_body {
            read(response.into_body(), BODY_BYTES_MAX).await?
        } else {
            let reading = read(response.into_body(), output_max);
            let read = reach.env.timeout(BODY_PATIENCE, reading).await;
            read.ok().and_then(Result::ok).unwrap_or_default()
        };
        Ok(Answer {
            status,
            location,
            body,
        })
    })
    .await
}

fn request(
    http: &HttpMeans,
    aim: &Aim,
    address: SocketAddr,
) -> Result<Request<Full<Bytes>>, Failed> {
    let bad = "the request is no request of HTTP";
    let host = match (&aim.host, &aim.at) {
        (Some(host), _) => host.clone(),
        (None, Place::Host(host)) => format!("{}:{}", host.host, host.port),
        (None, Place::Home | Place::Port(_) | Place::Address(_)) => address.to_string(),
    };
    let (method, body) = if aim.is_whole {
        let method = Method::from_bytes(http.method.as_bytes()).map_err(|_| Failed::from(bad))?;
        (method, Bytes::copy_from_slice(http.body.as_bytes()))
    } else {
        (Method::GET, Bytes::new())
    };
    let value = |text: &str| HeaderValue::from_str(text).map_err(|_| Failed::from(bad));
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = method;
    *request.uri_mut() = aim.target.parse::<Uri>().map_err(|_| Failed::from(bad))?;
    let fields = request.headers_mut();
    fields.insert(HOST, value(&host)?);
    fields.insert(USER_AGENT, HeaderValue::from_static("portolan-check"));
    fields.insert(ACCEPT, HeaderValue::from_static("*/*"));
    fields.insert(CONNECTION, HeaderValue::from_static("close"));
    for (name, text) in &http.headers {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| Failed::from(bad))?;
        if [USER_AGENT, ACCEPT].contains(&name) {
            fields.insert(name, value(text)?);
        } else {
            fields.append(name, value(text)?);
        }
    }
    Ok(request)
}

/// Where a redirect leads.
fn follow(aim: Aim, status: u16, location: &str) -> Result<Aim, Failed> {
    let bad = || Failed::from(format!("status {status} leads to no place"));
    let uri: Uri = location.parse().map_err(|_| bad())?;
    let path = uri.path_and_query().map_or("/", |target| target.as_str());
    let aim = Aim {
        target: path.to_owned(),
        is_whole: aim.is_whole && matches!(status, 307 | 308),
        ..aim
    };
    let Some(host) = uri.host() else {
        return if path.starts_with('/') {
            Ok(aim)
        } else {
            Err(bad())
        };
    };
    let is_tls = match uri.scheme_str() {
        Some("https") => true,
        Some("http") => false,
        Some(_) | None => return Err(bad()),
    };
    let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
    let host = host.trim_matches(['[', ']']).to_ascii_lowercase();
    Ok(Aim {
        at: Place::Host(HostPort { host, port }),
        tls: is_tls.then(|| aim.tls.clone().unwrap_or_default()),
        host: None,
        ..aim
    })
}

/// The body as far as it is looked at.
async fn read(mut body: Incoming, most: usize) -> Result<Vec<u8>, Failed> {
    let mut all = Vec::new();
    while all.len() < most
        && let Some(frame) = body.frame().await
    {
        let frame = frame.map_err(|error| words(&error))?;
        if let Some(data) = frame.data_ref() {
            let rest = most - all.len();
            all.extend_from_slice(data.get(..rest).unwrap_or(data));
        }
    }
    Ok(all)
}

fn words(error: &hyper::Error) -> Failed {
    if let Some(words) = words_within(error) {
        return words;
    }
    if error.is_parse_too_large() {
        return "the answer's head is too large".into();
    }
    if error.is_parse() {
        return "the answer is not HTTP/1".into();
    }
    if error.is_incomplete_message() || error.is_closed() || error.is_canceled() {
        return "closed without an answer".into();
    }
    error.to_string().into()
}
