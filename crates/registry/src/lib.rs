//! Instances that register with us: leases, health checks and the native API.
