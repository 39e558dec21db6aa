//! Who runs next on one CPU. One family today, EEVDF; classic CFS has its place beside it.

pub mod eevdf;
