//! Plan and catalogue become one immutable snapshot, swapped once.
