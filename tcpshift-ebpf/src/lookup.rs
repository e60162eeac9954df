//! The program `lookup`: hands a packet that asks for a connection to the listening socket of the endpoint that is decided.
//!
//! It runs in the agent's network namespace for packets that no connection has, and sees no flags. Under SYN cookies it
//! runs twice for a connection, and both packets must come to one socket; so what was decided stays until the connection
//! is established (`__inet_lookup_listener` and `cookie_v4_check`, 6.18).

use core::ptr::read_volatile;

use aya_ebpf::bindings::sk_action::{SK_DROP, SK_PASS};
use aya_ebpf::macros::sk_lookup;
use aya_ebpf::programs::SkLookupContext;
use tcpshift_common::address::{Address, Flow};
use tcpshift_common::decide::outcome;
use tcpshift_common::layout::{
    CountRow, DestinationRow, EndpointPlace, FlowRow, ListeningKey, SHARERS, TRIES, datapath, event, loss, scope,
};

use crate::flow::{self, read};
use crate::inputs::Inputs;
use crate::maps::{COUNTS, FLOWS, LISTENING, SCRATCH};
use crate::plan::{ANY, Missing, Plan};
use crate::{agent, events, ports, sums};

/// `IPPROTO_TCP`.
const TCP: u32 = 6;
/// How long a decision holds for a connection that is not established, in nanoseconds: as long as a SYN cookie is surely
/// answered.
pub(crate) const HOLDS: u64 = 10_000_000_000;

/// Both forms of the unspecified address that a socket may be bound to.
pub(crate) const EVERYWHERE: [Address; 2] = [Address::v4([0; 4]), Address { high: 0, low: 0 }];

/// Beside `SK_PASS` and `SK_DROP`: the packet was handed to nobody, and is left to the agent.
const CARRIED: u32 = 2;

/// What is to become of a packet.
enum Decision<'a> {
    /// There is nobody to hand it to.
    Verdict(u32),
    /// A destination has it, and whether nobody else may.
    To(&'a DestinationRow, bool),
}

/// What became of handing a packet over.
enum Handed {
    /// A socket has it.
    Over,
    /// Nobody listens there.
    Nobody,
    /// Whoever listens there is of another address family.
    OtherFamily,
}

/// `SK_PASS` leaves the packet to whom it was handed, or to whom it would have come; `SK_DROP` refuses the connection.
#[sk_lookup]
pub(crate) fn lookup(context: SkLookupContext) -> u32 {
    let port = read!((*context.lookup).local_port);
    if read!((*context.lookup).protocol) != TCP || !ports::has_listener(port) {
        return SK_PASS;
    }
    let Some(plan) = Plan::in_force() else { return SK_PASS };
    let flow = flow::of_packet(&context);
    let Some(listener) = plan.listener(scope::LOOKUP, port, flow.destination) else { return SK_PASS };
    let Some(counts) = COUNTS.get_ptr_mut(0) else { return SK_PASS };
    // SAFETY: The row is this processor's own.
    let counts = unsafe { &mut *counts };
    // SAFETY: Nothing is inserted while the row is used.
    let known = unsafe { FLOWS.get(flow) }.map(|known| (known.began, known.endpoint));
    if let Some((began, endpoint)) = known
        && agent::now().saturating_sub(began) < HOLDS
    {
        if matches!(hand_over(&context, &endpoint), Handed::Over) {
            return SK_PASS;
        }
        // Whoever had its handshake is gone, and so is the connection. The client's next one is decided anew.
        FLOWS.remove(flow).ok();
        return SK_DROP;
    }
    let Some(scratch) = SCRATCH.get_ptr_mut(0) else { return SK_PASS };
    // SAFETY: The row is this processor's own.
    let scratch = unsafe { &mut *scratch };
    let found = match decide(plan, listener, &flow, counts, scratch) {
        Ok(Decision::Verdict(verdict)) => return verdict,
        Ok(Decision::To(destination, is_only)) => {
            hand_over_to_any(&context, plan, destination, is_only, counts, scratch)
        }
        Err(missing) => Err(missing),
    };
    match found {
        Ok(SK_PASS) => {
            // Without it the connection is not counted, and no more.
            let row: &FlowRow = scratch;
            FLOWS.insert(flow, row, 0).ok();
            SK_PASS
        }
        Ok(CARRIED) => {
            // What the agent carries is not counted as handed over.
            FLOWS.remove(flow).ok();
            SK_PASS
        }
        Ok(verdict) => verdict,
        Err(missing) => {
            if matches!(missing, Missing::Torn) {
                counts.left += 1;
                events::tell(event::TORN, listener);
            }
            SK_PASS
        }
    }
}

/// Decides, and leaves what was decided in `scratch`.
#[inline(always)]
fn decide<'a>(
    plan: Plan,
    listener: u32,
    flow: &Flow,
    counts: &mut CountRow,
    scratch: &mut FlowRow,
) -> Result<Decision<'a>, Missing> {
    let found = plan.route(listener, flow)?;
    let is_only = match found.row.datapath {
        // What the agent carries is decided for where it is carried, and not here too.
        datapath::LOOKUP if !found.row.leaves(flow.destination) => false,
        datapath::LOOKUP_ONLY => true,
        datapath::REFUSED => return Ok(Decision::Verdict(SK_DROP)),
        _ => return Ok(Decision::Verdict(SK_PASS)),
    };
    let loss = agent::loss();
    if loss == loss::REFUSE {
        counts.lost += 1;
        return Ok(Decision::Verdict(SK_DROP));
    }
    let sole = if loss == loss::FIRST { found.row.first } else { ANY };
    let decided = plan.decide(&found, flow, sole, &mut Inputs { route: found.row.number })?;
    scratch.assignment = decided.assignment;
    match decided.destination {
        Some(destination) if decided.assignment.decision.outcome == outcome::CHOSEN => {
            Ok(Decision::To(destination, is_only))
        }
        Some(_) => {
            counts.without_endpoint += 1;
            sums::refused(decided.assignment.destination);
            Ok(Decision::Verdict(SK_DROP))
        }
        None => {
            counts.unrouted += 1;
            Ok(Decision::Verdict(SK_DROP))
        }
    }
}

/// Hands the packet to the endpoint that was chosen, or to another of its destination if nobody listens there. What became
/// of it is `SK_PASS`, `SK_DROP`, or [`CARRIED`].
#[inline(always)]
fn hand_over_to_any(
    context: &SkLookupContext,
    plan: Plan,
    destination: &DestinationRow,
    is_only: bool,
    counts: &mut CountRow,
    scratch: &mut FlowRow,
) -> Result<u32, Missing> {
    let endpoints = destination.decides.endpoints;
    // SAFETY: A word of the row, read anew.
    let chosen = unsafe { read_volatile(&raw const scratch.assignment.decision.endpoint) };
    let mut at = chosen;
    for _ in 0..TRIES {
        let row = plan.endpoint(destination, at)?;
        scratch.endpoint = EndpointPlace { address: row.address, port: row.port, reserved: 0 };
        match hand_over(context, &scratch.endpoint) {
            Handed::Over => {
                counts.assigned += 1;
                scratch.assignment.endpoint = row.decides.number;
                scratch.assignment.decision.endpoint = at;
                scratch.began = agent::now();
                return Ok(SK_PASS);
            }
            Handed::OtherFamily => {
                counts.carried += 1;
                return Ok(if is_only { SK_DROP } else { CARRIED });
            }
            Handed::Nobody => {}
        }
        // One that is gone takes no connection: another of its destination does.
        at = if at + 1 < endpoints { at + 1 } else { 0 };
        if at == chosen {
            break;
        }
    }
    sums::refused(scratch.assignment.destination);
    Ok(SK_DROP)
}

/// Hands the packet to a socket that listens at an endpoint: at its own address, else at every one, as the kernel would find
/// it. The first that is there is whom clients of the endpoint mean.
///
/// An IPv6 packet is not for an IPv4 endpoint. A socket at `[::]` may take both, or belong to somebody else who takes IPv6
/// alone; which of them is not known here.
#[inline(always)]
fn hand_over(context: &SkLookupContext, endpoint: &EndpointPlace) -> Handed {
    let is_v4 = endpoint.address.is_v4();
    if is_v4 && read!((*context.lookup).family) != flow::INET {
        return Handed::OtherFamily;
    }
    for (place, address) in [endpoint.address, EVERYWHERE[0], EVERYWHERE[1]].into_iter().enumerate() {
        // The IPv4 form takes IPv4 connections alone.
        if place == 1 && !is_v4 {
            continue;
        }
        for sharer in 0..SHARERS {
            let key = ListeningKey { address, port: endpoint.port, sharer };
            // SAFETY: The pointer is the context.
            match unsafe { LISTENING.hand_over(context.lookup, &key) } {
                Some(Ok(())) => return Handed::Over,
                Some(Err(_)) => return Handed::OtherFamily,
                None => {}
            }
        }
    }
    Handed::Nobody
}
