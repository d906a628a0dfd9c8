//! The admin API: reads the view, writes through ports.
