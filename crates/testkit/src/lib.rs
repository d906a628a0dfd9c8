//! Builders, virtual clock and fake upstreams for tests.
