//! Comparison of simulated runs with runs of real kernels.
pub mod traces;
