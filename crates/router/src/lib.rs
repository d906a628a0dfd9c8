//! Compiles routes into a matcher.
