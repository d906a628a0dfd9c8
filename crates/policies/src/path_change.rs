//! A change of a request's path: another prefix, or another path with captures.

use portolan_model::{
    Cause, Problem,
    http::{PathBuffer, normalise_authority},
};
use portolan_policy::{Exchange, Fault};

use crate::reader::{Problems, Reader};

/// What to put in place of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PathChange {
    /// In place of what the route matched, without a slash at the end.
    Prefix(Box<str>),
    /// In place of the whole path.
    Path(Box<[Piece]>),
}

/// A piece of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    Text(Box<str>),
    /// What the route captured by this name.
    Capture(Box<str>),
}

impl PathChange {
    /// Reads the settings `prefix` and `path`, of which at most one may stand.
    pub(crate) fn read(settings: &Reader<'_>, problems: &mut Problems) -> Option<Self> {
        let prefix = settings.read("prefix", problems, |text| {
            let path = canonical(text)?;
            Ok(Self::Prefix(path.trim_end_matches('/').into()))
        });
        let path = settings.read("path", problems, |text| Ok(Self::Path(pieces(text)?)));
        if settings.has("prefix") && settings.has("path") {
            let message = "`prefix` and `path` can't both replace the path";
            problems.add(Problem::new(settings.at("path"), message));
        }
        prefix.or(path)
    }

    /// Changes the path of `target`, which the exchange's route has matched.
    ///
    /// # Errors
    /// A fault if the route does not capture what is asked for.
    pub(crate) fn apply(&self, target: &mut PathBuffer, exchange: &Exchange) -> Result<(), Fault> {
        let pieces = match self {
            Self::Prefix(prefix) => {
                target.replace_prefix(exchange.prefix_bytes, prefix);
                return Ok(());
            }
            Self::Path(pieces) => pieces,
        };
        let mut path = String::new();
        for piece in pieces {
            match piece {
                Piece::Text(text) => path.push_str(text),
                Piece::Capture(name) => {
                    let value = exchange.capture(name).ok_or_else(|| uncaptured(name))?;
                    path.push_str(value);
                }
            }
        }
        target.set_path(&path).map_err(|bad| {
            let detail = format!("`{path}` is no path: {bad}");
            Fault::new(
                Cause::Misconfigured,
                "the new path of the request is no path",
            )
            .with_detail(detail)
        })
    }
}

fn uncaptured(name: &str) -> Fault {
    let detail = format!("the route's path captures no `{name}`");
    Fault::new(Cause::Misconfigured, "the route can't make the new path").with_detail(detail)
}

/// A path in canonical form, or one sentence on what is wrong.
fn canonical(text: &str) -> Result<String, String> {
    if text.contains(['?', '#', '{', '}']) {
        return Err(format!("`{text}` is no plain path"));
    }
    let mut buffer = PathBuffer::default();
    match buffer.set_path(text) {
        Ok(()) => Ok(buffer.path().to_owned()),
        Err(bad) => Err(format!("`{text}` is no path: {bad}")),
    }
}

fn pieces(text: &str) -> Result<Box<[Piece]>, String> {
    let mut pieces = Vec::new();
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        let Some((name, after)) = after.split_once('}') else {
            return Err(format!("`{text}` opens a capture and does not close it"));
        };
        let name = name.strip_prefix('*').unwrap_or(name);
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            return Err(format!("`{name}` can't name a capture"));
        }
        plain.push_str(before);
        if !before.is_empty() {
            pieces.push(Piece::Text(before.into()));
        }
        // Stands for a value when the whole is checked.
        plain.push('x');
        pieces.push(Piece::Capture(name.into()));
        rest = after;
    }
    plain.push_str(rest);
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest.into()));
    }
    canonical(&plain).map_err(|reason| reason.replace(&plain, text))?;
    Ok(pieces.into())
}

/// Reads a setting `host`: a name or an address, with a port only where `port` allows it.
pub(crate) fn read_host(
    settings: &Reader<'_>,
    port: Port,
    problems: &mut Problems,
) -> Option<Box<str>> {
    settings.read("host", problems, |text| {
        let mut host = String::new();
        if !normalise_authority(&mut host, text.as_bytes()) {
            return Err(format!("`{text}` is no host"));
        }
        let has_port = !host.ends_with(']') && host.contains(':');
        if has_port && port == Port::Apart {
            return Err(format!("`{text}` has a port; it is a setting of its own"));
        }
        Ok(host.into())
    })
}

/// Whether a host may bring its port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Port {
    Within,
    Apart,
}
