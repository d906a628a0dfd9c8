//! Which object a path names.

use std::sync::Arc;

use portolan_model::percent;

/// What a path names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// All applications.
    Apps,
    /// What changed lately.
    Delta,
    /// An application.
    App(Arc<str>),
    /// An instance of an application.
    Instance(Arc<str>, Arc<str>),
    /// Its status override.
    Override(Arc<str>, Arc<str>),
    /// Its metadata.
    Metadata(Arc<str>, Arc<str>),
    /// An instance by its id alone.
    AnyInstance(Arc<str>),
    /// The instances behind a name without TLS.
    Vip(Arc<str>),
    /// The instances behind a name with TLS.
    SecureVip(Arc<str>),
    /// A scaling group at Amazon.
    Asg(Arc<str>),
    /// How the server is.
    Status,
    /// All overrides.
    Overrides,
    /// What a peer was told.
    Batch,
}

/// The first words of what follows the base of a path.
const RESOURCES: [&str; 8] = [
    "apps",
    "instances",
    "vips",
    "svips",
    "asg",
    "status",
    "serverinfo",
    "peerreplication",
];

impl Place {
    /// Reads a path: after one of the bases `/eureka`, `/eureka/v2`, `/eureka/v1` and `/v2`,
    /// which all mean the same. Slashes at the end or doubled, as clients put URLs together,
    /// mean nothing. `None` if there is no such place.
    #[must_use]
    pub fn parse(path: &str) -> Option<Self> {
        let segments = path.split('/').filter(|segment| !segment.is_empty());
        let decoded: Vec<_> = segments.map(percent::decode).collect::<Option<_>>()?;
        let segments: Vec<&str> = decoded.iter().map(AsRef::as_ref).collect();
        let name = |text: &str| Arc::<str>::from(text);
        Some(match without_base(&segments)? {
            ["apps"] => Self::Apps,
            ["apps", "delta"] => Self::Delta,
            ["apps", app] => Self::App(name(app)),
            ["apps", app, id] => Self::Instance(name(app), name(id)),
            ["apps", app, id, "status"] => Self::Override(name(app), name(id)),
            ["apps", app, id, "metadata"] => Self::Metadata(name(app), name(id)),
            ["instances", id] => Self::AnyInstance(name(id)),
            ["vips", vip] => Self::Vip(name(vip)),
            ["svips", vip] => Self::SecureVip(name(vip)),
            ["asg", group, "status"] => Self::Asg(name(group)),
            ["status"] => Self::Status,
            ["serverinfo", "statusoverrides"] => Self::Overrides,
            ["peerreplication", "batch"] => Self::Batch,
            _ => return None,
        })
    }

    /// The methods that it takes.
    #[must_use]
    pub const fn methods(&self) -> &'static [&'static str] {
        match self {
            Self::Apps
            | Self::Delta
            | Self::AnyInstance(_)
            | Self::Vip(_)
            | Self::SecureVip(_)
            | Self::Status
            | Self::Overrides => &["GET"],
            Self::App(_) => &["GET", "POST"],
            Self::Instance(..) => &["GET", "PUT", "DELETE"],
            Self::Override(..) => &["PUT", "DELETE"],
            Self::Metadata(..) | Self::Asg(_) => &["PUT"],
            Self::Batch => &["POST"],
        }
    }
}

fn without_base<'s, 't>(segments: &'s [&'t str]) -> Option<&'s [&'t str]> {
    match segments {
        ["eureka", first, rest @ ..] if !RESOURCES.contains(first) => {
            is_version(first).then_some(rest)
        }
        ["eureka", rest @ ..] => Some(rest),
        [first, rest @ ..] => is_version(first).then_some(rest),
        [] => None,
    }
}

/// `v1`, `v2` and whatever comes.
fn is_version(segment: &str) -> bool {
    let number = segment.strip_prefix('v').unwrap_or_default();
    !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_base_means_the_same() {
        for base in ["/eureka", "/eureka/v2", "/v2", "/eureka/v1", "/eureka/v7"] {
            for tail in ["/apps", "/apps/", "//apps", "/apps//"] {
                let path = format!("{base}{tail}");
                assert_eq!(Place::parse(&path), Some(Place::Apps), "{path}");
            }
        }
        for path in [
            "/",
            "/apps",
            "/eureka",
            "/eureka/v2",
            "/eureka/elsewhere/apps",
            "/v/apps",
            "/eureka/eureka/apps",
        ] {
            assert_eq!(Place::parse(path), None, "{path}");
        }
    }

    #[test]
    fn paths_name_their_place() {
        let name = |text: &str| Arc::<str>::from(text);
        for (path, place) in [
            ("apps/delta", Place::Delta),
            ("apps/Orders", Place::App(name("Orders"))),
            (
                "apps/A/host%3Aa%3a80",
                Place::Instance(name("A"), name("host:a:80")),
            ),
            ("apps/A/b/status", Place::Override(name("A"), name("b"))),
            ("apps/A/b/metadata", Place::Metadata(name("A"), name("b"))),
            ("instances/b", Place::AnyInstance(name("b"))),
            ("vips/a.example", Place::Vip(name("a.example"))),
            ("svips/a", Place::SecureVip(name("a"))),
            ("asg/g/status", Place::Asg(name("g"))),
            ("status", Place::Status),
            ("serverinfo/statusoverrides", Place::Overrides),
            ("peerreplication/batch/", Place::Batch),
        ] {
            assert_eq!(Place::parse(&format!("/eureka/{path}")), Some(place));
        }
        for bad in ["apps/%", "apps/%zz", "apps/%ff", "apps/a/b/c", "lastn"] {
            assert_eq!(Place::parse(&format!("/eureka/{bad}")), None, "{bad}");
        }
    }
}
