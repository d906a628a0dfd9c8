//! One record per request; metrics and log sinks.
