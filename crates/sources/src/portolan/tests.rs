//! Claims about the `portolan` source.
