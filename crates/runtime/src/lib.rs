//! The port to the outside of pure code: clock, dice, tasks, sockets, drain.
