//! The program `lookup`: hands a packet that no connection has to the listening socket of the endpoint that is decided.
//!
//! It runs in the agent's network namespace and sees no flags, so it counts nothing: [`crate::pending`] says who does. Under SYN
//! cookies it runs twice for a connection, for the SYN and for what completes the handshake, and both packets must come to one
//! socket (`__inet_lookup_listener` and `cookie_v4_check`, 6.18,
//! <https://elixir.bootlin.com/linux/v6.18/source/net/ipv4/syncookies.c>). So what is drawn is a hash of the flow, and while
//! cookies are in use what was decided is kept for what may change in between: loads, turns, and the plan.

use aya_ebpf::bindings::sk_action::{SK_DROP, SK_PASS};
use aya_ebpf::macros::sk_lookup;
use aya_ebpf::programs::SkLookupContext;
use tcpshift_common::address::Flow;
use tcpshift_common::decide::outcome;
use tcpshift_common::layout::{datapath, event, fate, scope};

use crate::counts::Counts;
use crate::endpoints::{self, hand_over, hand_over_to_any, hand_to_refuser};
use crate::flow::{self, read};
use crate::inputs::chance;
use crate::maps::UNHELD;
use crate::pending;
use crate::plan::PlanInForce;
use crate::rows::{Pending, Settlement, copy};
use crate::settle::{asks, settle, settled};
use crate::{agent, events, ports};

/// `IPPROTO_TCP`.
const TCP: u32 = 6;
/// How long a decision holds for a flow of which the kernel holds no handshake, in nanoseconds: as long as a SYN cookie is
/// surely answered.
const HOLDS: u64 = 10_000_000_000;

/// `SK_PASS` leaves the packet to whom it was handed, or to whom it would have come; `SK_DROP` refuses the connection.
#[sk_lookup]
pub(crate) fn lookup(context: SkLookupContext) -> u32 {
    let port = read!((*context.lookup).local_port);
    if read!((*context.lookup).protocol) != TCP || !ports::has_listener(port) {
        return SK_PASS;
    }
    let Some(plan) = PlanInForce::in_force() else { return SK_PASS };
    let flow = flow::of_packet(&context);
    let Some(listener) = plan.listener(scope::LOOKUP, port, flow.destination) else { return SK_PASS };
    let Some(pending) = Pending::here() else { return SK_PASS };
    pending.is_by_cookies = pending::is_by_cookies().into();
    if read!(pending.is_by_cookies) != 0 {
        keep_last(pending);
        if is_known(&context, &flow, pending) {
            return SK_PASS;
        }
    }
    pending.is_open = 0;
    pending.settlement.ask(plan.side(), listener, &flow);
    match settle(&raw mut pending.settlement, asks::LOOKUP, chance::KEPT) {
        settled::DECIDED => {}
        settled::UNSERVED => return SK_DROP,
        settled::LOST => return end(&context, fate::LOST, pending),
        settled::TORN => return torn(listener),
        _ => return SK_PASS,
    }
    copy(&mut pending.row.assignment, &pending.settlement.assignment);
    match read!(pending.row.assignment.decision.outcome) {
        outcome::CHOSEN => {}
        outcome::NO_ENDPOINT => return end(&context, fate::WITHOUT_ENDPOINT, pending),
        _ => return end(&context, fate::UNROUTED, pending),
    }
    match hand_over_to_one(&context, pending) {
        Some(fate) => end(&context, fate, pending),
        None => torn(listener),
    }
}

/// What was decided is known, and what the packet is will be.
#[inline(always)]
fn end(context: &SkLookupContext, fate: u32, pending: &mut Pending) -> u32 {
    let now = agent::now();
    pending.row.fate = fate;
    (pending.row.began, pending.row.decided) = (now, now);
    pending.is_open = 1;
    // Without an agent nobody counts.
    if matches!(fate, fate::HANDED | fate::CARRIED) || hand_to_refuser(context) { SK_PASS } else { SK_DROP }
}

/// A table has no row where the plan says that there is one.
#[inline(always)]
fn torn(listener: u32) -> u32 {
    if let Some(counts) = Counts::here() {
        counts.left();
    }
    events::tell(event::TORN, listener);
    SK_PASS
}

/// Keeps what was decided for the last packet on this processor, if the kernel holds no handshake of it: its SYN may have been
/// answered by a cookie.
#[inline(always)]
fn keep_last(pending: &mut Pending) {
    if pending.is_open != 0 && pending.row.fate == fate::HANDED {
        let (flow, row): (&Flow, _) = (&pending.settlement.flow, &pending.row);
        // Without it what is drawn comes out the same, and no more.
        UNHELD.insert(flow, row, 0).ok();
        pending.is_open = 0;
    }
}

/// Whether the packet is of a flow for which was decided, and was handed to whom it was then.
#[inline(always)]
fn is_known(context: &SkLookupContext, flow: &Flow, pending: &mut Pending) -> bool {
    // SAFETY: The row is copied before anything else happens to the map.
    let Some(row) = (unsafe { UNHELD.get(flow) }) else { return false };
    let now = agent::now();
    if now.saturating_sub(row.began) >= HOLDS {
        return false;
    }
    copy(&mut pending.row, row);
    // Whoever had its handshake may be gone. It is decided anew then.
    if hand_over(context.lookup, &raw mut pending.row.endpoint) != endpoints::OVER {
        return false;
    }
    copy(&mut pending.settlement.flow, flow);
    pending.row.began = now;
    pending.is_open = 1;
    true
}

/// Hands the packet to the endpoint that was chosen, or to another of its destination if nobody listens there. Returns one
/// of [`fate`], or nothing if a table is torn.
#[inline(always)]
fn hand_over_to_one(context: &SkLookupContext, pending: &mut Pending) -> Option<u32> {
    let Settlement { chunk, first_endpoint, endpoints, .. } = pending.settlement;
    let tries = &mut pending.tries;
    (tries.chunk, tries.first, tries.endpoints) = (chunk, first_endpoint, endpoints);
    tries.at = pending.row.assignment.decision.endpoint;
    match hand_over_to_any(context.lookup, &raw mut *tries) {
        endpoints::OVER => {
            copy(&mut pending.row.endpoint, &pending.tries.endpoint);
            pending.row.assignment.endpoint = pending.tries.number;
            pending.row.assignment.decision.endpoint = pending.tries.at;
            Some(fate::HANDED)
        }
        endpoints::OTHER_FAMILY => {
            let is_only = pending.settlement.datapath == datapath::LOOKUP_ONLY;
            Some(if is_only { fate::OTHER_FAMILY } else { fate::CARRIED })
        }
        endpoints::TORN => None,
        _ => Some(fate::WITHOUT_ENDPOINT),
    }
}
