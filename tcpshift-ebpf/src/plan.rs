//! The plan in force as the decision reads it: [`decide::Table`] over maps, and from a listener to an assignment.
//!
//! Looked up once for each connection: whoever holds a [`Plan`] decides by it whatever is published meanwhile, since
//! the agent waits for programs that run before it takes a table away. It must not know of sockets or packets.

use core::cell::Cell;
use core::hint::black_box;
use core::ptr::read_volatile;

use tcpshift_common::address::Flow;
use tcpshift_common::decide::{self, outcome};
use tcpshift_common::destination::{Destination, Endpoint};
use tcpshift_common::layout::{self, Assignment, DestinationRow, RouteRow};
use tcpshift_common::listener;

use crate::inputs::Inputs;
use crate::maps::{DESTINATIONS, ENDPOINTS, HASH_TABLES, LISTENERS, PLAN, ROUTES, RULES, SLOT_TABLES};

/// The plan in force.
pub(crate) struct Plan {
    side: u32,
}

/// A route of the plan.
struct Route<'a> {
    side: u32,
    row: &'a RouteRow,
    /// The destination that was looked at last, and its place: a decision looks at one, again and again.
    last: Cell<(u32, Option<&'a DestinationRow>)>,
}

/// Why there is no assignment.
pub(crate) enum Missing {
    /// The plan does not have the listener, or leaves it to the agent.
    Left,
    /// A table has no row where the plan says that there is one.
    Torn,
}

impl Plan {
    /// The plan in force, if programs are to decide.
    #[inline(always)]
    pub(crate) fn in_force() -> Option<Self> {
        // SAFETY: A word of a map's row, which the kernel writes whole.
        let index = unsafe { read_volatile(&raw const (*PLAN.get_ptr(0)?).index) };
        (index != 0).then_some(Self { side: (index % u64::from(layout::SIDES)) as u32 })
    }

    /// Decides for a connection at a listener. `inputs` are made for the number of its route.
    #[inline(always)]
    pub(crate) fn assign<I: decide::Inputs>(
        &self,
        listener: u32,
        flow: &Flow,
        inputs: impl FnOnce(Inputs) -> I,
    ) -> Result<Assignment, Missing> {
        let side = self.side;
        let listener = LISTENERS.get_value(side, &listener).ok_or(Missing::Left)?;
        let mut assignment = Assignment { generation: listener.generation, ..Assignment::default() };
        if listener.rules == 0 {
            return Err(Missing::Left);
        }
        let first = listener.first_rule;
        let rules = RULES.get(side).ok_or(Missing::Torn)?;
        let rules = (0..listener.rules.min(layout::RULES)).map_while(|at| rules.get(first + at));
        let Some(place) = listener::route(rules, flow) else {
            assignment.decision.outcome = outcome::NO_ROUTE;
            return Ok(assignment);
        };
        let row = ROUTES.get_value(side, &(listener.first_route + place)).ok_or(Missing::Torn)?;
        let route = Route { side, row, last: Cell::new((0, None)) };
        assignment.route = row.number;
        assignment.route_place = place;
        let mut inputs = inputs(Inputs { route: row.number });
        let decision = decide::decide(listener.seed, &row.steer, flow, &route, &mut inputs);
        assignment.decision = decision;
        if decision.outcome != outcome::NO_DESTINATION {
            let destination = route.row(decision.place).ok_or(Missing::Torn)?;
            assignment.destination = destination.decides.number;
            if decision.outcome == outcome::CHOSEN {
                let at = destination.first_endpoint + decision.endpoint;
                let endpoint = ENDPOINTS.get_value(side, &at).ok_or(Missing::Torn)?;
                assignment.endpoint = endpoint.decides.number;
            }
        }
        Ok(assignment)
    }
}

impl<'a> Route<'a> {
    /// The destination at a place.
    #[inline(always)]
    fn row(&self, place: u32) -> Option<&'a DestinationRow> {
        if place >= self.row.destinations {
            return None;
        }
        if let (last, Some(row)) = self.last.get()
            && last == place
        {
            return Some(row);
        }
        let row = DESTINATIONS.get_value(self.side, &(self.row.first_destination + place));
        self.last.set((place, row));
        row
    }
}

impl decide::Table for Route<'_> {
    #[inline(always)]
    fn slot(&self, slot: u32) -> Option<u32> {
        let table = SLOT_TABLES.get_value(self.row.table, &0)?;
        // The compiler knows that a slot is below 10,000 and would leave out the check that the verifier wants.
        table.slots.get(black_box(slot) as usize).map(|place| u32::from(*place))
    }

    #[inline(always)]
    fn destination(&self, place: u32) -> Option<Destination> {
        Some(self.row(place)?.decides)
    }

    #[inline(always)]
    fn endpoint(&self, place: u32, index: u32) -> Option<Endpoint> {
        let destination = self.row(place)?;
        Some(ENDPOINTS.get_value(self.side, &(destination.first_endpoint + index))?.decides)
    }

    #[inline(always)]
    fn hashed(&self, place: u32, at: u32) -> Option<u32> {
        let destination = self.row(place)?;
        let row = HASH_TABLES.get_value(destination.hash_table, &(at / 2))?;
        let [even, odd] = row.endpoints;
        Some(if at.is_multiple_of(2) { even } else { odd })
    }
}
