//! Picks an endpoint: slots, per-worker gauges, ejection and the algorithms.
