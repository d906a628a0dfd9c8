//! Collects findings while an object is read.

use std::sync::Arc;

use portolan_model::Problem;

use crate::{
    Finding, ObjectRef, Origin, Severity,
    tree::{Node, Span},
};

/// Where an object comes from as a whole.
#[derive(Clone, Debug)]
pub(crate) enum Document {
    File(Arc<str>),
    Stored(Arc<str>),
    Default,
}

impl Document {
    pub(crate) fn origin(&self, span: Span) -> Origin {
        match self {
            Self::File(file) => Origin::File {
                file: Arc::clone(file),
                line: span.line.max(1),
                column: span.column.max(1),
                span: span.start..span.end,
            },
            Self::Stored(id) => Origin::Stored(Arc::clone(id)),
            Self::Default => Origin::Default,
        }
    }
}

/// The findings so far, and the object that is being read.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) findings: Vec<Finding>,
    pub(crate) document: Document,
    pub(crate) object: Option<ObjectRef>,
    errors: usize,
}

impl Report {
    pub(crate) const fn new(document: Document) -> Self {
        Self {
            findings: Vec::new(),
            document,
            object: None,
            errors: 0,
        }
    }

    /// Begins another object.
    pub(crate) fn begin(&mut self, object: Option<ObjectRef>, document: Document) {
        self.object = object;
        self.document = document;
        self.errors = 0;
    }

    /// Whether the object has an error.
    pub(crate) const fn has_errors(&self) -> bool {
        self.errors > 0
    }

    pub(crate) fn error(&mut self, span: Span, problem: Problem) {
        self.errors = self.errors.saturating_add(1);
        self.push(Severity::Error, span, problem);
    }

    pub(crate) fn warning(&mut self, span: Span, problem: Problem) {
        self.push(Severity::Warning, span, problem);
    }

    /// The problems of a plug's settings.
    pub(crate) fn problems(&mut self, settings: &Node, at: Span, problems: Vec<Problem>) {
        for problem in problems {
            let span = settings.at_pointer(&problem.path).unwrap_or(at);
            self.error(span, problem);
        }
    }

    fn push(&mut self, severity: Severity, span: Span, problem: Problem) {
        self.findings.push(Finding {
            severity,
            object: self.object.clone(),
            origin: self.document.origin(span),
            message: problem.message,
            help: problem.help,
        });
    }
}
