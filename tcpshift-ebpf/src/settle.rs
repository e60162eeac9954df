//! Settling a connection: the rule that it falls to, the decision, and the endpoint, as one function that every datapath calls.
//!
//! It is a global function: the verifier follows it once, with any flow and any tables, and not for each program and each way
//! to it (`check_func_call` and `do_check_subprogs`, 6.1,
//! <https://elixir.bootlin.com/linux/v6.1/source/kernel/bpf/verifier.c>). Such a function takes numbers and a pointer to memory
//! whose bytes are all written; so what is asked and what comes of it stand in one [`Settlement`].

use tcpshift_common::decide::outcome;
use tcpshift_common::layout::{AddressPort, datapath, loss};

use crate::agent;
use crate::flow::read;
use crate::inputs::{SettlementInputs, chance};
use crate::plan::{ANY, PlanInForce, Undecided, endpoint, words};
use crate::rows::Settlement;

/// Who asks for a connection to be settled.
pub(crate) mod asks {
    /// Whoever carries it, whatever the datapath of its route is.
    pub(crate) const CARRIER: u32 = 0;
    /// The connecting client's program: for routes that it serves.
    pub(crate) const CONNECT: u32 = 1;
    /// The program that hands packets over: for routes that it serves.
    pub(crate) const LOOKUP: u32 = 2;
}

/// What came of it.
pub(crate) mod settled {
    /// It is decided: `assignment` says what.
    pub(crate) const DECIDED: u32 = 0;
    /// The plan does not have the listener, or leaves the connection to the agent.
    pub(crate) const LEFT: u32 = 1;
    /// No route is for it: `assignment` says so.
    pub(crate) const UNROUTED: u32 = 2;
    /// A table has no row where the plan says that there is one.
    pub(crate) const TORN: u32 = 3;
    /// The datapath that its route asks for cannot be had.
    pub(crate) const UNSERVED: u32 = 4;
    /// The agent is lost, and connections are to be refused then.
    pub(crate) const LOST: u32 = 5;
}

/// Finds the route of a connection and decides for it: `asks` is one of [`asks`], and `chance` one of [`chance`]. Returns one of
/// [`settled`].
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn settle(settlement: *mut Settlement, asks: u32, chance: u32) -> u32 {
    if settlement.is_null() {
        return settled::LEFT;
    }
    // SAFETY: The verifier checks that callers give a pointer to such a row, or null.
    let settlement = unsafe { &mut *settlement };
    match decided(settlement, asks, chance) {
        Ok(settled) => settled,
        Err(Undecided::Left) => settled::LEFT,
        Err(Undecided::Torn) => settled::TORN,
    }
}

#[inline(always)]
fn decided(at: &mut Settlement, asks: u32, chance: u32) -> Result<u32, Undecided> {
    let side = PlanInForce::of_side(at.side).row().ok_or(Undecided::Torn)?;
    let flow = at.flow;
    at.assignment.generation = side.generation;
    let Some((row, place)) = PlanInForce::route(side, at.listener, &flow)? else {
        at.assignment.decision.outcome = outcome::NO_ROUTE;
        return Ok(settled::UNROUTED);
    };
    at.datapath = row.datapath;
    at.assignment.route = row.number;
    at.assignment.route_place = place;
    at.sole = ANY;
    if asks != asks::CARRIER {
        let is_served = match row.datapath {
            datapath::CONNECT => asks == asks::CONNECT && !row.leaves(flow.destination),
            datapath::LOOKUP => asks == asks::LOOKUP && !row.leaves(flow.destination),
            datapath::LOOKUP_ONLY => asks == asks::LOOKUP,
            datapath::REFUSED => return Ok(settled::UNSERVED),
            _ => false,
        };
        if !is_served {
            return Err(Undecided::Left);
        }
        match agent::loss() {
            loss::REFUSE => return Ok(settled::LOST),
            loss::FIRST => at.sole = row.first,
            _ => {}
        }
    }
    if chance == chance::KEPT {
        at.random = words(side.seed, &flow);
    }
    // Read back, so that the verifier does not know which way it came here, and follows what comes next once.
    let (sole, random) = (read!(at.sole), [read!(at.random[0]), read!(at.random[1])]);
    let mut inputs = SettlementInputs { route: row.number, chance, random };
    let (decision, destination) = PlanInForce::decide(side, row, &flow, sole, &mut inputs)?;
    at.assignment.decision = decision;
    let Some(destination) = destination else { return Ok(settled::DECIDED) };
    at.assignment.destination = destination.number;
    (at.chunk, at.first_endpoint) = (destination.chunk, destination.first);
    at.endpoints = destination.set.decides.endpoints;
    if decision.outcome == outcome::CHOSEN {
        let endpoint = endpoint(destination.chunk, destination.first, decision.endpoint).ok_or(Undecided::Torn)?;
        at.assignment.endpoint = endpoint.decides.number;
        at.endpoint = AddressPort { address: endpoint.address, port: endpoint.port, reserved: 0 };
    }
    Ok(settled::DECIDED)
}
