//! stub
use portolan_catalog::SourceKind;
/// x
pub(crate) const KIND: SourceKind = crate::file::KIND;
