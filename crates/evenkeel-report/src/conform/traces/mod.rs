//! Whole runs: small workloads recorded on real kernels against the same workloads simulated.
pub mod measure;
pub mod record;
pub mod simulate;
