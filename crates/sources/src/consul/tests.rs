//! Claims about the `consul` source.
