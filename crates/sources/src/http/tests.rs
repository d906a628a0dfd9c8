//! Claims about the `http` source.
