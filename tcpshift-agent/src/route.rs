//! x
pub mod problem;
