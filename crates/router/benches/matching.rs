//! Nanoseconds per match from 10 to 10,000 routes.
fn main() {}
