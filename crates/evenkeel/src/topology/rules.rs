//! How one kernel builds its domain trees: every choice by which the builds differ, as a named value.

/// The topology part of a [`Kernel`](crate::kernel::Kernel).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopologyRules {}
