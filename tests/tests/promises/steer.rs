//! Steering: connections that the kernel points at an endpoint, or hands to one, and that no agent carries.

mod clients;
mod empty;
mod endpoints;
mod exact;
mod failing;
mod lookup;
mod loss;
pub(crate) mod many;
mod mixed;
mod overlap;
mod real;
mod reasons;
mod scope;
mod service;
mod starts;
mod stray;
mod survival;
pub(crate) mod upgrade;
mod walk;

use tcpshift_tests::steer::{
    ENTRANCE, ENTRANCE6, GATEWAY_ROUTE, MAPPED, MESH_ROUTE, ONE, SERVICE, SERVICE6, TWO, assert_split, await_counted,
    await_datapath, base, datapath, direct, inside, ip, options, own_addresses, route, start, version, versions,
};
