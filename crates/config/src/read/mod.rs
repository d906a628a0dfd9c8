//! Checked trees to typed objects.
//!
//! A reader gives `None` where the tree is unsound; why is in the report already.
//! Everything else that an object alone can say of itself is checked here.

mod check;
mod control;
mod dns;
mod dns_beyond;
mod listener;
mod plug;
mod route;
mod sections;
mod upstream;

use std::{path::PathBuf, sync::Arc};

use portolan_model::{Metadata, Problem};

pub(crate) use control::access;
pub(crate) use route::RouteDraft;
pub(crate) use sections::{guard, overlap, status};

use crate::{
    Outside, leaf,
    report::Report,
    tree::{Node, Span, Value},
};

/// Reads the objects of one plan.
pub(crate) struct Reader<'a> {
    pub(crate) outside: &'a Outside<'a>,
    pub(crate) report: &'a mut Report,
}

impl Reader<'_> {
    fn error(&mut self, node: &Node, pointer: &str, at: Span, problem: Problem) {
        self.report
            .error(node.at_pointer(pointer).unwrap_or(at), problem);
    }

    fn warn(&mut self, node: &Node, pointer: &str, at: Span, problem: Problem) {
        self.report
            .warning(node.at_pointer(pointer).unwrap_or(at), problem);
    }

    /// A file as it is opened: relative to the folder of the configuration.
    fn file(&self, text: &str) -> PathBuf {
        self.outside.folder.join(text)
    }
}

/// How readers look into a checked tree.
impl Node {
    /// A member, if it is sound.
    fn get(&self, name: &str) -> Option<&Self> {
        let Value::Map(members) = &self.value else {
            return None;
        };
        let member = members.iter().find(|member| member.key == name)?;
        Some(&member.node).filter(|node| node.is_sound)
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        matches!(&self.value, Value::Map(members) if members.iter().any(|member| member.key == name))
    }

    fn scalar(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar(scalar) if self.is_sound => Some(&scalar.text),
            Value::Scalar(_) | Value::List(_) | Value::Map(_) => None,
        }
    }

    fn items(&self) -> &[Self] {
        match &self.value {
            Value::List(items) => items,
            Value::Scalar(_) | Value::Map(_) => &[],
        }
    }

    /// A member that must be there.
    fn read<T>(&self, name: &str, parse: impl Fn(&str) -> Result<T, Problem>) -> Option<T> {
        parse(self.get(name)?.scalar()?).ok()
    }

    /// A member that may be absent.
    #[expect(
        clippy::option_option,
        reason = "the outer one is unsound, the inner one absent"
    )]
    fn maybe<T>(&self, name: &str, read: impl FnOnce(&Self) -> Option<T>) -> Option<Option<T>> {
        if self.has(name) {
            read(self.get(name)?).map(Some)
        } else {
            Some(None)
        }
    }

    /// A scalar that may be absent.
    #[expect(
        clippy::option_option,
        reason = "the outer one is unsound, the inner one absent"
    )]
    fn may_read<T>(
        &self,
        name: &str,
        parse: impl Fn(&str) -> Result<T, Problem>,
    ) -> Option<Option<T>> {
        self.maybe(name, |node| parse(node.scalar()?).ok())
    }

    /// A list of scalars; an absent one is empty.
    fn read_all<T>(
        &self,
        name: &str,
        parse: impl Fn(&str) -> Result<T, Problem>,
    ) -> Option<Vec<T>> {
        if !self.has(name) {
            return Some(Vec::new());
        }
        self.get(name)?
            .items()
            .iter()
            .map(|item| parse(item.scalar()?).ok())
            .collect()
    }

    /// A whole number within the bounds that its table checked.
    fn count<T: TryFrom<u64>>(&self, name: &str) -> Option<T> {
        T::try_from(self.read(name, any_count)?).ok()
    }

    /// A word of a member's list, turned into what it stands for.
    fn word<T>(&self, name: &str, meaning: impl FnOnce(&str) -> Option<T>) -> Option<T> {
        meaning(self.get(name)?.scalar()?)
    }

    /// Labels of instances.
    fn labels(&self, name: &str) -> Option<Metadata> {
        let Value::Map(members) = &self.get(name)?.value else {
            return None;
        };
        let label = |member: &crate::tree::Member| {
            Some((
                Arc::from(member.key.as_str()),
                Arc::from(member.node.scalar()?),
            ))
        };
        members.iter().map(label).collect()
    }
}

fn any_count(text: &str) -> Result<u64, Problem> {
    leaf::count(text, 0, u64::MAX)
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "it stands where a reader of scalars does"
)]
fn any_text(text: &str) -> Result<Arc<str>, Problem> {
    Ok(text.into())
}
