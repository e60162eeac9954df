//! The program `lookup`: hands a packet that asks for a connection to the listening socket of the endpoint that is decided.
//!
//! It runs in the agent's network namespace for packets that no connection has, and sees no flags. Under SYN cookies it
//! runs twice for a connection, and both packets must come to one socket; so what was decided stays until the connection
//! is established (`__inet_lookup_listener` and `cookie_v4_check`, 6.18).

use aya_ebpf::bindings::sk_action::{SK_DROP, SK_PASS};
use aya_ebpf::macros::sk_lookup;
use aya_ebpf::programs::SkLookupContext;
use tcpshift_common::address::{Address, Flow};
use tcpshift_common::decide::outcome;
use tcpshift_common::layout::{
    Assignment, CountRow, EndpointPlace, FlowRow, ListeningKey, PORT_WORDS, SHARERS, TRIES, datapath, event, loss,
    scope,
};

use crate::flow::{self, read};
use crate::inputs::Inputs;
use crate::maps::{COUNTS, FLOWS, LISTENING, PORTS};
use crate::plan::{ANY, Missing, Plan};
use crate::{agent, events, sums};

/// `IPPROTO_TCP`.
const TCP: u32 = 6;
/// How long a decision holds for a connection that is not established, in nanoseconds: as long as a SYN cookie is surely
/// answered.
const HOLDS: u64 = 10_000_000_000;

/// Both forms of the unspecified address that a socket may be bound to.
const EVERYWHERE: [Address; 2] = [Address::v4([0; 4]), Address { high: 0, low: 0 }];

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
    if read!((*context.lookup).protocol) != TCP || !has_listener(port) {
        return SK_PASS;
    }
    let Some(plan) = Plan::in_force() else { return SK_PASS };
    let flow = flow::of_packet(&context);
    let Some(listener) = plan.listener(scope::LOOKUP, port, flow.destination) else { return SK_PASS };
    let Some(counts) = COUNTS.get_ptr_mut(0) else { return SK_PASS };
    // SAFETY: The row is this processor's own.
    let counts = unsafe { &mut *counts };
    // SAFETY: Nothing is inserted while the row is used.
    if let Some(known) = unsafe { FLOWS.get(flow) } {
        let (began, endpoint) = (known.began, known.endpoint);
        if agent::now().saturating_sub(began) < HOLDS && matches!(hand_over(&context, &endpoint), Handed::Over) {
            return SK_PASS;
        }
    }
    let loss = agent::loss();
    if loss == loss::REFUSE {
        counts.lost += 1;
        return SK_DROP;
    }
    match decide(&context, plan, listener, &flow, loss, counts) {
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

#[inline(always)]
fn has_listener(port: u32) -> bool {
    PORTS.get(PORT_WORDS + port / 64).is_some_and(|word| word >> (port % 64) & 1 == 1)
}

#[inline(always)]
fn decide(
    context: &SkLookupContext,
    plan: Plan,
    listener: u32,
    flow: &Flow,
    loss: u32,
    counts: &mut CountRow,
) -> Result<u32, Missing> {
    let found = plan.route(listener, flow)?;
    let only = match found.row.datapath {
        datapath::LOOKUP => false,
        datapath::LOOKUP_ONLY => true,
        datapath::REFUSED => return Ok(SK_DROP),
        _ => return Ok(SK_PASS),
    };
    let sole = if loss == loss::FIRST { found.row.first } else { ANY };
    let decided = plan.decide(&found, flow, sole, &mut Inputs { route: found.row.number })?;
    let mut assignment = decided.assignment;
    let Some(destination) = decided.destination.filter(|_| assignment.decision.outcome == outcome::CHOSEN) else {
        if assignment.decision.outcome == outcome::NO_ENDPOINT {
            counts.without_endpoint += 1;
            sums::refused(assignment.destination);
        } else {
            counts.unrouted += 1;
        }
        return Ok(SK_DROP);
    };
    let endpoints = destination.decides.endpoints;
    let mut at = assignment.decision.endpoint;
    for _ in 0..TRIES {
        let row = plan.endpoint(destination, at)?;
        let endpoint = EndpointPlace { address: row.address, port: row.port, reserved: 0 };
        match hand_over(context, &endpoint) {
            Handed::Over => {
                counts.assigned += 1;
                assignment.endpoint = row.decides.number;
                assignment.decision.endpoint = at;
                remember(flow, endpoint, assignment);
                return Ok(SK_PASS);
            }
            Handed::OtherFamily => {
                counts.carried += 1;
                return Ok(if only { SK_DROP } else { SK_PASS });
            }
            Handed::Nobody => {}
        }
        // One that is gone takes no connection: another of its destination does.
        at = if at + 1 < endpoints { at + 1 } else { 0 };
        if at == assignment.decision.endpoint {
            break;
        }
    }
    sums::refused(assignment.destination);
    Ok(SK_DROP)
}

#[inline(always)]
fn remember(flow: &Flow, endpoint: EndpointPlace, assignment: Assignment) {
    let row = FlowRow { began: agent::now(), endpoint, assignment };
    // Without it the connection is not counted, and no more.
    FLOWS.insert(flow, row, 0).ok();
}

/// Hands the packet to a socket that listens at an endpoint, be it at every address.
#[inline(always)]
fn hand_over(context: &SkLookupContext, endpoint: &EndpointPlace) -> Handed {
    let mut is_other = false;
    for sharer in 0..SHARERS {
        for address in [endpoint.address, EVERYWHERE[0], EVERYWHERE[1]] {
            let key = ListeningKey { address, port: endpoint.port, sharer };
            // SAFETY: The pointer is the context.
            match unsafe { LISTENING.hand_over(context.lookup, &key) } {
                Some(Ok(())) => return Handed::Over,
                Some(Err(_)) => is_other = true,
                None => {}
            }
        }
    }
    if is_other { Handed::OtherFamily } else { Handed::Nobody }
}
