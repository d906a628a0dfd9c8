//! Reads text and stored objects into one checked plan, with findings.
