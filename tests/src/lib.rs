//! The test world of tcpshift: what the promises in `tests/` are tried with.
//!
//! Each test thread makes a [`world::World`], with namespaces, a control group and a folder of its own, so ports
//! and pins never clash. In it run an [`agent::Agent`] under test, which is alone in the control group, servers
//! ([`echo`], [`server`]) and [`client`]s. What the kernel has of the agent is looked up by [`maps`]. Every
//! process started here ends with the thread that started it. The harness reads the agent's replies by the
//! serde types of its API, and otherwise knows only what a user knows: the command line, the socket, the ports. Route files are
//! built by [`objects`]; [`example`] has those of the project's example, and [`steer`] those of a mesh.
//!
//! [`scenarios`] are tried on other kernels too, by a program of their own.
#![allow(clippy::return_self_not_must_use, reason = "an output that was as expected may be dropped")]

pub mod admin;
pub mod agent;
pub mod client;
pub mod crowd;
pub mod dns;
pub mod echo;
pub mod elf;
pub mod example;
pub mod failing;
pub mod handover;
pub mod load;
pub mod maps;
pub mod neighbour;
pub mod noise;
pub mod objects;
pub mod process;
pub mod rush;
pub mod scenarios;
pub mod server;
pub mod share;
pub mod steer;
pub mod streams;
pub mod until;
pub mod world;
