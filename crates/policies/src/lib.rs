//! The shelf of policies.
