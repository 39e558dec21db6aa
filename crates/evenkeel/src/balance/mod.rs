//! wip
pub mod classify;
pub mod choose;
pub mod env;
pub mod imbalance;
pub mod source;
pub mod stats;
pub mod view;
