//! The plan in force as the decision reads it: [`decide::RouteTables`] over maps, and the rules of a listener.
//!
//! Looked up once for each connection: whoever holds a [`PlanInForce`] decides by it whatever is published meanwhile,
//! since the agent waits for programs that run before it takes a table away.

use core::cell::Cell;
use core::hint::black_box;
use core::ptr::read_volatile;

use aya_ebpf::btf_maps::lpm_trie::Key;
use tcpshift_common::address::{Address, Flow};
use tcpshift_common::decide::{self, Decision, outcome};
use tcpshift_common::destination::{DestinationFacts, EndpointFacts};
use tcpshift_common::hash;
use tcpshift_common::layout::{self, AddressEntry, DestinationRow, EndpointRow, ListenerRow, RouteRow};
use tcpshift_common::listener;

use crate::maps::{ADDRESSES, DESTINATIONS, ENDPOINTS, HASH_TABLES, LISTENERS, PLAN, ROUTES, RULES, SLOT_TABLES};

/// Says that slots are as the table has them. A number, since the verifier takes no part of an `Option` that is not set.
pub(crate) const ANY: u32 = u32::MAX - 1;

/// Sets the hash that stands for random words apart from those that lead to a slot. The bytes read `drawn`.
const DRAWN: u64 = 0x64_7261_776e;

/// The plan in force.
#[derive(Clone, Copy)]
pub(crate) struct PlanInForce {
    side: u32,
}

/// A route as the decision reads it.
struct Route<'a> {
    side: u32,
    row: &'a RouteRow,
    /// The destination that has every slot, or [`ANY`].
    sole: u32,
    /// The destination that was looked at last, and its index: a decision looks at one, again and again.
    last: Cell<(u32, Option<&'a DestinationRow>)>,
}

/// Why there is nothing to be decided.
#[derive(Clone, Copy)]
pub(crate) enum Undecided {
    /// The plan does not have the listener, or leaves it to the agent.
    Left,
    /// A table has no row where the plan says that there is one.
    Torn,
}

/// The generation of the plan in force.
#[inline(always)]
pub(crate) fn generation() -> u64 {
    // SAFETY: An aligned word of a map's row, which the agent writes whole.
    PLAN.get_ptr(0).map_or(0, |row| unsafe { read_volatile(&raw const (*row).generation) })
}

impl PlanInForce {
    /// The plan in force, if programs are to decide.
    #[inline(always)]
    pub(crate) fn in_force() -> Option<Self> {
        // SAFETY: An aligned word of a map's row, which the agent writes whole.
        let index = unsafe { read_volatile(&raw const (*PLAN.get_ptr(0)?).index) };
        (index != 0).then_some(Self { side: (index % u64::from(layout::SIDES)) as u32 })
    }

    /// Which of the tables of each kind are its own.
    #[inline(always)]
    pub(crate) fn side(self) -> u32 {
        self.side
    }

    /// The number of the listener that an address and port belong to, for clients of a scope.
    #[inline(always)]
    pub(crate) fn listener(self, scope: u32, port: u32, address: Address) -> Option<u32> {
        let key = Key::new(AddressEntry::HEAD + 128, AddressEntry::new(scope, port, address));
        ADDRESSES.get(self.side)?.get(&key).copied()
    }

    /// The plan of a side.
    #[inline(always)]
    pub(crate) fn of_side(side: u32) -> Self {
        Self { side }
    }

    /// A listener that programs decide for.
    #[inline(always)]
    pub(crate) fn row<'a>(self, listener: u32) -> Result<&'a ListenerRow, Undecided> {
        LISTENERS.get_value(self.side, &listener).filter(|row| row.rules != 0).ok_or(Undecided::Left)
    }

    /// The route of a connection at a listener, and its index there; none if no rule is for it.
    #[inline(always)]
    pub(crate) fn route<'a>(
        self,
        listener: &ListenerRow,
        flow: &Flow,
    ) -> Result<Option<(&'a RouteRow, u32)>, Undecided> {
        let first = listener.first_rule;
        let rules = RULES.get(self.side).ok_or(Undecided::Torn)?;
        // Counted up to the constant, with the listener's own number compared inside. LLVM turns a loop up to
        // min(rules, 256) into a countdown to zero, and verifiers before Linux 6.8 learn nothing from "not zero"
        // (d028f87517d6, reg_set_min_max in kernel/bpf/verifier.c): for them it has no end. `black_box` hides from LLVM
        // that the index and the count are one.
        let rules = (0..layout::RULES).map_while(|at| {
            let at = black_box(at);
            if at < listener.rules { rules.get(first + at) } else { None }
        });
        let Some(index) = listener::route(rules, flow) else { return Ok(None) };
        let row = ROUTES.get_value(self.side, &(listener.first_route + index)).ok_or(Undecided::Torn)?;
        Ok(Some((row, index)))
    }

    /// Decides for a connection of a route, under the seed of its listener. All slots are of the destination at `sole`, unless
    /// that is [`ANY`]. Returns the destination too, if there is one.
    #[inline(always)]
    pub(crate) fn decide<'a, I: decide::Inputs>(
        self,
        seed: u64,
        row: &'a RouteRow,
        flow: &Flow,
        sole: u32,
        inputs: &mut I,
    ) -> Result<(Decision, Option<&'a DestinationRow>), Undecided> {
        let route = Route { side: self.side, row, sole, last: Cell::new((0, None)) };
        let decision = decide::decide(seed, &row.steer, flow, &route, inputs);
        if decision.outcome == outcome::NO_DESTINATION {
            return Ok((decision, None));
        }
        let destination = route.row(decision.place).ok_or(Undecided::Torn)?;
        Ok((decision, Some(destination)))
    }

    /// An endpoint of a destination.
    #[inline(always)]
    pub(crate) fn endpoint<'a>(self, destination: &DestinationRow, at: u32) -> Result<&'a EndpointRow, Undecided> {
        ENDPOINTS.get_value(self.side, &(destination.first_endpoint + at)).ok_or(Undecided::Torn)
    }
}

/// Random words for a decision that comes out the same for every packet of a flow.
#[inline(always)]
pub(crate) fn words(seed: u64, flow: &Flow) -> [u32; 2] {
    let ([a, b], [c, d]) = (flow.source.words(), flow.destination.words());
    let ports = u64::from(flow.source_port) << 32 | u64::from(flow.destination_port);
    let hash = hash::words(seed, &[a, b, c, d, ports, DRAWN]);
    [(hash >> 32) as u32, hash as u32]
}

impl<'a> Route<'a> {
    /// The row of a destination, by its index in the route.
    #[inline(always)]
    fn row(&self, index: u32) -> Option<&'a DestinationRow> {
        if index >= self.row.destinations {
            return None;
        }
        if let (last, Some(row)) = self.last.get()
            && last == index
        {
            return Some(row);
        }
        let row = DESTINATIONS.get_value(self.side, &(self.row.first_destination + index));
        self.last.set((index, row));
        row
    }
}

impl decide::RouteTables for Route<'_> {
    #[inline(always)]
    fn slot(&self, slot: u32) -> Option<u32> {
        if self.sole != ANY {
            return Some(self.sole);
        }
        let table = SLOT_TABLES.get_value(self.row.table, &0)?;
        // The compiler knows that a slot is below 10,000 and would leave out the check that the verifier wants.
        table.slots.get(black_box(slot) as usize).map(|index| u32::from(*index))
    }

    #[inline(always)]
    fn destination(&self, index: u32) -> Option<DestinationFacts> {
        Some(self.row(index)?.decides)
    }

    #[inline(always)]
    fn endpoint(&self, destination: u32, index: u32) -> Option<EndpointFacts> {
        let destination = self.row(destination)?;
        Some(ENDPOINTS.get_value(self.side, &(destination.first_endpoint + index))?.decides)
    }

    #[inline(always)]
    fn hashed(&self, destination: u32, cell: u32) -> Option<u32> {
        let destination = self.row(destination)?;
        let row = HASH_TABLES.get_value(destination.hash_table, &(cell / 2))?;
        let [even, odd] = row.endpoints;
        Some(if cell.is_multiple_of(2) { even } else { odd })
    }
}
