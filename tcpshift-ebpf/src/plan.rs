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
use tcpshift_common::layout::{self, AddressEntry, EndpointRow, ListenerRow, RouteRow, SetRow, SideRow};
use tcpshift_common::listener;

use crate::maps::{
    ADDRESSES, DESTINATIONS, HASH_CHUNKS, LISTENERS, PLAN, PLAN_SIDES, ROUTES, RULES, SET_CHUNKS, SETS, SLOT_TABLES,
    WIDE_SLOT_TABLES,
};

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
    /// Which table its destinations are in.
    table: u32,
    row: &'a RouteRow,
    /// The destination that has every slot, or [`ANY`].
    sole: u32,
    /// The destination that was looked at last, and its index: a decision looks at one, again and again.
    last: Cell<(u32, Option<DestinationSet<'a>>)>,
}

/// A destination with its endpoint set. Whoever holds it decides by that set, whatever takes its place meanwhile.
#[derive(Clone, Copy)]
pub(crate) struct DestinationSet<'a> {
    /// Stable number.
    pub(crate) number: u32,
    pub(crate) set: &'a SetRow,
    /// The chunk that the set is in.
    pub(crate) chunk: u32,
    /// The row of its first endpoint.
    pub(crate) first: u32,
}

impl DestinationSet<'_> {
    /// Finds a destination's set. None if there is none.
    #[inline(always)]
    fn of(number: u32, set: u32) -> Option<Self> {
        // SAFETY: An aligned word of a map's row, which the agent writes whole.
        let begins = unsafe { read_volatile(SETS.get_ptr(set)?) };
        let (chunk, header) = ((begins >> 32) as u32, begins as u32);
        // SAFETY: A set begins with its header; the bytes of either are numbers.
        let set = unsafe { &SET_CHUNKS.get_value(chunk, &header)?.set };
        Some(Self { number, set, chunk, first: header + 1 })
    }

    #[inline(always)]
    fn decides(&self) -> DestinationFacts {
        DestinationFacts { number: self.number, ..self.set.decides }
    }
}

/// An endpoint, by where its set's first one is and its index in the set.
#[inline(always)]
pub(crate) fn endpoint<'a>(chunk: u32, first: u32, index: u32) -> Option<&'a EndpointRow> {
    // SAFETY: After the header of a set are its endpoints; the bytes of either are numbers.
    Some(unsafe { &SET_CHUNKS.get_value(chunk, &(first + index))?.endpoint })
}

/// Why there is nothing to be decided.
#[derive(Clone, Copy)]
pub(crate) enum Undecided {
    /// The plan does not have the listener, or leaves it to the agent.
    Left,
    /// A table has no row where the plan says that there is one.
    Torn,
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
        ADDRESSES.get(self.row()?.addresses)?.get(&key).copied()
    }

    /// What the plan has.
    #[inline(always)]
    pub(crate) fn row<'a>(self) -> Option<&'a SideRow> {
        PLAN_SIDES.get(self.side)
    }

    /// The plan of a side.
    #[inline(always)]
    pub(crate) fn of_side(side: u32) -> Self {
        Self { side }
    }

    /// A route of a listener that programs decide for, and its index there; none if no rule is for the connection.
    #[inline(always)]
    pub(crate) fn route<'a>(
        side: &SideRow,
        listener: u32,
        flow: &Flow,
    ) -> Result<Option<(&'a RouteRow, u32)>, Undecided> {
        let listener: Option<&ListenerRow> = LISTENERS.get_value(side.listeners, &listener);
        let listener = listener.filter(|row| row.rules != 0).ok_or(Undecided::Left)?;
        let first = listener.first_rule;
        let rules = RULES.get(side.rules).ok_or(Undecided::Torn)?;
        // Counted up to the constant, with the listener's own number compared inside. LLVM turns a loop up to
        // min(rules, 256) into a countdown to zero, and verifiers before Linux 6.8 learn nothing from "not zero"
        // (d028f87517d6, reg_set_min_max in kernel/bpf/verifier.c): for them it has no end. `black_box` hides from LLVM
        // that the index and the count are one.
        let rules = (0..layout::RULES).map_while(|at| {
            let at = black_box(at);
            if at < listener.rules { rules.get(first + at) } else { None }
        });
        let Some(index) = listener::route(rules, flow) else { return Ok(None) };
        let row = ROUTES.get_value(side.routes, &(listener.first_route + index)).ok_or(Undecided::Torn)?;
        Ok(Some((row, index)))
    }

    /// Decides for a connection of a route. All slots are of the destination at `sole`, unless that is [`ANY`]. Returns the
    /// destination too, if there is one.
    #[inline(always)]
    pub(crate) fn decide<'a, I: decide::Inputs>(
        side: &SideRow,
        row: &'a RouteRow,
        flow: &Flow,
        sole: u32,
        inputs: &mut I,
    ) -> Result<(Decision, Option<DestinationSet<'a>>), Undecided> {
        let route = Route { table: side.destinations, row, sole, last: Cell::new((0, None)) };
        let decision = decide::decide(side.seed, &row.steer, flow, &route, inputs);
        if decision.outcome == outcome::NO_DESTINATION {
            return Ok((decision, None));
        }
        let destination = route.row(decision.place).ok_or(Undecided::Torn)?;
        Ok((decision, Some(destination)))
    }
}

/// [`decide::find`] among the endpoints of a set, by where its first one is; [`layout::NONE`] if a row is missing. A global
/// function, which the verifier follows once.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn find(chunk: u32, first: u32, endpoints: u32, at: u32) -> u32 {
    let upto = |index: u32| Some(endpoint(chunk, first, index)?.decides.upto);
    decide::find(endpoints, at, upto).unwrap_or(layout::NONE)
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
    /// A destination, by its index in the route.
    #[inline(always)]
    fn row(&self, index: u32) -> Option<DestinationSet<'a>> {
        if index >= self.row.destinations {
            return None;
        }
        if let (last, Some(destination)) = self.last.get()
            && last == index
        {
            return Some(destination);
        }
        let row = DESTINATIONS.get_value(self.table, &(self.row.first_destination + index));
        let destination = row.and_then(|row| DestinationSet::of(row.number, row.set));
        self.last.set((index, destination));
        destination
    }
}

impl decide::RouteTables for Route<'_> {
    #[inline(always)]
    fn slot(&self, slot: u32) -> Option<u32> {
        if self.sole != ANY {
            return Some(self.sole);
        }
        // The compiler knows that a slot is below 10,000 and would leave out the check that the verifier wants.
        let slot = black_box(slot) as usize;
        Some(if self.row.is_wide == 0 {
            u32::from(*SLOT_TABLES.get_value(self.row.table, &0)?.slots.get(slot)?)
        } else {
            u32::from(*WIDE_SLOT_TABLES.get_value(self.row.table, &0)?.slots.get(slot)?)
        })
    }

    #[inline(always)]
    fn destination(&self, index: u32) -> Option<DestinationFacts> {
        Some(self.row(index)?.decides())
    }

    #[inline(always)]
    fn endpoint(&self, destination: u32, index: u32) -> Option<EndpointFacts> {
        let DestinationSet { chunk, first, .. } = self.row(destination)?;
        Some(endpoint(chunk, first, index)?.decides)
    }

    #[inline(always)]
    fn found(&self, destination: u32, endpoints: u32, at: u32) -> Option<u32> {
        let DestinationSet { chunk, first, .. } = self.row(destination)?;
        let found = find(chunk, first, endpoints, at);
        (found != layout::NONE).then_some(found)
    }

    #[inline(always)]
    fn hashed(&self, destination: u32, cell: u32) -> Option<u32> {
        let begins = self.row(destination)?.set.hash;
        let row = HASH_CHUNKS.get_value((begins >> 32) as u32, &(begins as u32 + cell / 2))?;
        let [even, odd] = row.endpoints;
        Some(if cell.is_multiple_of(2) { even } else { odd })
    }
}
