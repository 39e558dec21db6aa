//! What people look at: reports of what evenkeel computed.
//!
//! [`topology`] shows who balances with whom.

pub mod topology;
