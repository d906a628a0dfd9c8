//! The shelf of discovery sources.
