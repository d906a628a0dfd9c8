//! Which object a path names.

use std::borrow::Cow;

use http::StatusCode;
use portolan_model::{BadName, InstanceId, Name, ServiceKey};
use portolan_wire::serve::decode;

use super::Refusal;

/// Segments of the longest path that names something.
const SEGMENTS_MAX: usize = 8;

/// What a path names.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place {
    Services(Option<Name>),
    Service(ServiceKey, ServicePlace),
    Heartbeats,
    Overrides,
    Guard,
    Resolve,
    Watch,
    Events,
    Sources,
}

/// Which part of a service.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ServicePlace {
    Whole,
    Instances,
    Instance(InstanceId),
    Heartbeat(InstanceId),
    Override(InstanceId),
    Checks(InstanceId),
    Check(InstanceId, String),
}

/// The segments of a path under `/v1/`, decoded.
pub(super) struct Segments<'a> {
    decoded: [Cow<'a, str>; SEGMENTS_MAX],
    count: usize,
}

impl<'a> Segments<'a> {
    pub(super) fn read(path: &'a str) -> Result<Self, Refusal> {
        let rest = path.strip_prefix("/v1/").ok_or_else(unknown)?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let mut decoded: [Cow<'_, str>; SEGMENTS_MAX] = Default::default();
        let mut count = 0;
        let mut rest = Some(rest);
        while let Some(text) = rest {
            // Segments are short: looking at each byte finds their ends soonest.
            let end = text.bytes().position(|byte| byte == b'/');
            let segment = end.map_or(text, |end| &text[..end]);
            rest = end.map(|end| &text[end + 1..]);
            *decoded.get_mut(count).ok_or_else(unknown)? = decode(segment)?;
            count += 1;
        }
        Ok(Self { decoded, count })
    }

    /// Calls `look` with them.
    pub(super) fn with<T>(&self, look: impl FnOnce(&[&str]) -> T) -> T {
        let segments = self.decoded.each_ref().map(AsRef::as_ref);
        look(segments.get(..self.count).unwrap_or_default())
    }
}

fn unknown() -> Refusal {
    let detail = "no such path; `docs/reference/openapi.json` lists all of them";
    Refusal::new(StatusCode::NOT_FOUND, "path_unknown", detail)
}

impl Place {
    pub(super) fn parse(path: &str) -> Result<Self, Refusal> {
        Segments::read(path)?.with(Self::of)
    }

    fn of(segments: &[&str]) -> Result<Self, Refusal> {
        match segments {
            ["heartbeats"] => Ok(Self::Heartbeats),
            ["overrides"] => Ok(Self::Overrides),
            ["guard"] => Ok(Self::Guard),
            ["guard", "resolve"] => Ok(Self::Resolve),
            ["watch"] => Ok(Self::Watch),
            ["events"] => Ok(Self::Events),
            ["sources"] => Ok(Self::Sources),
            ["services"] => Ok(Self::Services(None)),
            ["namespaces", namespace, "services"] => {
                Ok(Self::Services(Some(Name::parse(namespace)?)))
            }
            ["services", service, part @ ..] => {
                let at = ServicePlace::parse(part)?.ok_or_else(unknown)?;
                Ok(Self::Service(
                    key(ServiceKey::DEFAULT_NAMESPACE, service)?,
                    at,
                ))
            }
            ["namespaces", namespace, "services", service, part @ ..] => {
                let at = ServicePlace::parse(part)?.ok_or_else(unknown)?;
                Ok(Self::Service(key(namespace, service)?, at))
            }
            _ => Err(unknown()),
        }
    }

    /// The methods that it takes.
    pub(super) const fn methods(&self) -> &'static [&'static str] {
        match self {
            Self::Services(_)
            | Self::Overrides
            | Self::Guard
            | Self::Watch
            | Self::Events
            | Self::Sources
            | Self::Service(_, ServicePlace::Whole | ServicePlace::Checks(_)) => &["GET"],
            Self::Heartbeats | Self::Resolve => &["POST"],
            Self::Service(_, ServicePlace::Instances) => &["GET", "POST"],
            Self::Service(_, ServicePlace::Instance(_)) => &["GET", "PUT", "PATCH", "DELETE"],
            Self::Service(_, ServicePlace::Heartbeat(_)) => &["PUT"],
            Self::Service(_, ServicePlace::Check(..)) => &["GET", "PUT"],
            Self::Service(_, ServicePlace::Override(_)) => &["GET", "PUT", "DELETE"],
        }
    }
}

impl ServicePlace {
    fn parse(part: &[&str]) -> Result<Option<Self>, BadName> {
        Ok(match part {
            [] => Some(Self::Whole),
            ["instances"] => Some(Self::Instances),
            ["instances", id] => Some(Self::Instance(InstanceId::parse(id)?)),
            ["instances", id, "heartbeat"] => Some(Self::Heartbeat(InstanceId::parse(id)?)),
            ["instances", id, "checks"] => Some(Self::Checks(InstanceId::parse(id)?)),
            ["instances", id, "checks", check] => {
                let check = (*check).to_owned();
                Some(Self::Check(InstanceId::parse(id)?, check))
            }
            ["instances", id, "override"] => Some(Self::Override(InstanceId::parse(id)?)),
            _ => None,
        })
    }
}

fn key(namespace: &str, name: &str) -> Result<ServiceKey, BadName> {
    Ok(ServiceKey {
        namespace: Name::parse(namespace)?,
        name: Name::parse(name)?,
    })
}

impl From<BadName> for Refusal {
    fn from(error: BadName) -> Self {
        Self::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "name_invalid",
            error.to_string(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_their_place() {
        let instance = |key: &str, id: &str| {
            let id = InstanceId::parse(id).unwrap();
            Place::Service(ServiceKey::parse(key).unwrap(), ServicePlace::Instance(id))
        };
        let cases = [
            ("/v1/services", Place::Services(None)),
            ("/v1/services/", Place::Services(None)),
            ("/v1/watch", Place::Watch),
            ("/v1/services/a/instances/b", instance("a", "b")),
            ("/v1/services/A/instances/h%3A1", instance("a", "h:1")),
            (
                "/v1/namespaces/n/services/a/instances/b",
                instance("n/a", "b"),
            ),
        ];
        for (path, place) in cases {
            assert_eq!(Place::parse(path).unwrap(), place, "{path}");
        }
    }

    #[test]
    fn foreign_paths_and_bad_names_are_refused() {
        let cases = [
            ("/", 404),
            ("/v1", 404),
            ("/v1/other", 404),
            ("/v1/services/a/instances/b/heartbeat/c", 404),
            ("/v1/services/a%2Fb", 422),
            ("/v1/services/a/instances/%20", 422),
            ("/v1/services/%zz", 400),
            ("/v1/services/%ff", 400),
        ];
        for (path, status) in cases {
            let refusal = Place::parse(path).unwrap_err();
            assert_eq!(refusal.status.as_u16(), status, "{path}");
        }
    }
}
