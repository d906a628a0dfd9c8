//! Fronts: one folder for each protocol that instances register by.

pub mod native;
