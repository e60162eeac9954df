//! tcpshift's agent: reads route files, compiles them into plans, and carries connections as the plan says.
//!
//! Each module is a room; arrows between rooms run one way (see ARCHITECTURE.md). [`app`] is the only one
//! that knows every room, and it decides nothing.

pub mod admin;
pub mod analyze;
pub mod app;
pub mod cli;
pub mod connections;
pub mod handover;
pub mod health;
pub mod host;
pub mod kernel;
pub mod logging;
pub mod observe;
pub mod plan;
pub mod proxy;
pub mod resolve;
pub mod rights;
pub mod route;
pub mod trust;
