//! The promises of tcpshift, each tried from outside: the built agent, real sockets, the command line.
//!
//! One binary, since each links everything; one module for each kind of promise. Every test has a world
//! of its own and runs beside the others. `TCPSHIFT_ASSIGN` says who assigns connections: `kernel`, or `agent`; and
//! `TCPSHIFT_DATAPATH` how they reach their endpoints: `proxy`, or `auto`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod activation;
mod addresses;
mod backend;
mod backup;
mod bad_input;
mod before;
mod bytes;
mod connections;
mod counts;
mod crash;
mod digest;
mod doctor;
mod documents;
mod dying;
mod empty;
mod files;
mod foretold;
mod frozen;
mod guard;
mod health;
mod kernel;
mod limits;
mod live;
mod log;
mod matching;
mod memory;
mod names;
mod removed;
mod resets;
mod shares;
mod shutdown;
mod sources;
mod steer;
mod takeover;
mod task;
mod trouble;
mod trust;
mod unix;
mod wire;
mod words;
