//! Claims about the `eureka` source.
