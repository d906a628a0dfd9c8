//! How the store is, for everybody who shows it.

/// Whether what is written now will survive. Reads and everything in memory go on in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Commits succeed.
    Healthy,
    /// The disk is full. Later commits are tried again.
    Full,
    /// Something else is wrong with the disk or the file. Later commits are tried again.
    Failed,
}

impl Condition {
    /// One word, for answers and meters.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Full => "full",
            Self::Failed => "failed",
        }
    }
}
