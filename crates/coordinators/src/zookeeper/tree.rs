//! Which nodes are services, and which instances.

use super::settings::Layout;

/// A layout's nodes below its base.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tree {
    /// The base, without a slash at its end; empty for the root.
    base: String,
    layout: Layout,
}

/// What a node is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Role<'a> {
    /// It holds the services.
    Base,
    /// It holds the instances of this service.
    Service(&'a str),
    /// It is an instance of this service.
    Instance(&'a str, &'a str),
    /// It is nothing of ours.
    Other,
}

impl Tree {
    pub(super) fn new(chroot: &str, base: &str, layout: Layout) -> Self {
        let base = format!("{chroot}/{}", base.trim_matches('/'));
        Self {
            base: base.trim_end_matches('/').to_owned(),
            layout,
        }
    }

    /// The node that holds the services.
    pub(super) fn base(&self) -> &str {
        if self.base.is_empty() {
            "/"
        } else {
            &self.base
        }
    }

    /// The node that holds a service's instances.
    pub(super) fn service(&self, name: &str) -> String {
        match self.layout {
            Layout::Dubbo => format!("{}/{name}/providers", self.base),
            Layout::Curator | Layout::Spring | Layout::DubboApp => format!("{}/{name}", self.base),
        }
    }

    pub(super) fn role<'a>(&self, path: &'a str) -> Role<'a> {
        if path == self.base() {
            return Role::Base;
        }
        let below = path.strip_prefix(&self.base);
        let Some(below) = below.and_then(|below| below.strip_prefix('/')) else {
            return Role::Other;
        };
        let mut words = below.split('/');
        let service = words.next().unwrap_or_default();
        if self.layout == Layout::Dubbo && words.next() != Some("providers") {
            return Role::Other;
        }
        match (words.next(), words.next()) {
            (None, _) => Role::Service(service),
            (Some(id), None) => Role::Instance(service, id),
            (Some(_), Some(_)) => Role::Other,
        }
    }

    /// Whether an instance is described by its node's data, not by its name alone.
    pub(super) const fn has_data(&self) -> bool {
        !matches!(self.layout, Layout::Dubbo)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_told_apart_by_where_they_stand() {
        let spring = Tree::new("/apps", "services", Layout::Spring);
        assert_eq!(spring.base(), "/apps/services");
        assert_eq!(spring.role("/apps/services"), Role::Base);
        assert_eq!(spring.role("/apps/services/a"), Role::Service("a"));
        assert_eq!(spring.role("/apps/services/a/1"), Role::Instance("a", "1"));
        assert_eq!(spring.role("/apps/services/a/1/x"), Role::Other);
        assert_eq!(spring.role("/apps/servicesother/a"), Role::Other);
        let dubbo = Tree::new("", "/dubbo", Layout::Dubbo);
        assert_eq!(dubbo.service("i.Face"), "/dubbo/i.Face/providers");
        assert_eq!(dubbo.role("/dubbo/i.Face"), Role::Other);
        assert_eq!(dubbo.role("/dubbo/i.Face/consumers/x"), Role::Other);
        assert_eq!(
            dubbo.role("/dubbo/i.Face/providers"),
            Role::Service("i.Face")
        );
        let provider = Role::Instance("i.Face", "u");
        assert_eq!(dubbo.role("/dubbo/i.Face/providers/u"), provider);
        let root = Tree::new("", "/", Layout::Curator);
        assert_eq!(
            (root.base(), root.role("/a/1")),
            ("/", Role::Instance("a", "1"))
        );
    }
}
