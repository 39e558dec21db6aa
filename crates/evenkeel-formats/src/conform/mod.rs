//! Comparison of what this project computes with what real kernels did.
pub mod counters;
pub mod decisions;
pub mod domains;
pub mod traces;
pub mod workload;
