//! The route of a service itself: where no rule of a VirtualService fits, its address leads to its own endpoints. It has
//! one destination, and so no weights.
//!
//! There may be thousands of services that nobody has a rule for. They get what the routes of VirtualServices and TCPRoutes
//! leave of the kernel's room.

use std::sync::Arc;

use tcpshift_common::address::{Prefix, family};
use tcpshift_common::decide::{Steer, steer};
use tcpshift_common::layout;
use tcpshift_common::listener::RuleRow;

use super::Assembler;
use super::mesh::{FAMILIES, PortRoutes, RoutesByPort, listener_name};
use super::route::{Conduct, Owner};
use crate::plan::datapath::ServedAt;
use crate::plan::intent::{Backend, ReachedPort, ReachedService};
use crate::plan::resolve::prefix;
use crate::plan::{OnEmpty, Route, Wish};
use crate::route::object::Key;

/// Endpoints that services may have together, for each route that the kernel has room for: half of its room.
const ENDPOINTS: usize = 16;

impl Assembler<'_> {
    /// Adds the routes of services, the oldest first, while there is room; so many are taken already.
    pub(super) fn own_routes<'i>(
        &mut self,
        services: &'i [Arc<ReachedService>],
        ports: &mut RoutesByPort<'i>,
        (taken, room): (usize, usize),
        notes: &mut Vec<String>,
    ) {
        let (mut routes, mut endpoints) = (taken, 0);
        let mut left_out: Vec<&Key> = Vec::new();
        for service in services {
            let ReachedService { key, host, addresses, ports: own } = &**service;
            let prefixes = || addresses.iter().map(prefix);
            let has = |family: &u32| prefixes().any(|prefix| prefix.family == *family);
            // Clients of each may have a route of their own.
            let families = FAMILIES.iter().filter(|(family, _)| has(family)).count();
            for ReachedPort { port: number, to } in own {
                let order = ports.len();
                let port = ports.entry((host, *number)).or_insert_with(|| {
                    let site = ServedAt::in_mesh(None);
                    let (rules, routes) = (Vec::new(), Vec::new());
                    PortRoutes { service: key, addresses, rules, routes, first: key, order, site }
                });
                let has_all =
                    port.rules.iter().any(|rule| (rule.source, rule.destination) == (Prefix::ANY, Prefix::ANY));
                if has_all || port.rules.len() >= layout::RULES as usize {
                    continue;
                }
                // A backend that is not looked at takes no numbers from others.
                if routes + families > room || endpoints > room * ENDPOINTS {
                    left_out.push(key);
                    continue;
                }
                let set = self.set(&to[0].0, family::ANY);
                let set = self.memory.states.sets().get(set);
                if set.unusable.is_some() {
                    continue;
                }
                (routes, endpoints) = (routes + families, endpoints + set.endpoints.len());
                let own = self.own_route(key, &listener_name(host, *number), to, &port.site);
                port.rules.push(RuleRow::new(Prefix::ANY, Prefix::ANY, port.routes.len() as u32));
                port.routes.push((own, to));
            }
        }
        let Some((first, others)) = left_out.split_first() else { return };
        notes.push(format!(
            "{first}{}: the kernel has no room for routes to their own endpoints; where no rule fits, connections to them go \
             on untouched; raise --max-routes",
            if others.is_empty() { String::new() } else { format!(" and {} ports more", others.len()) }
        ));
    }

    fn own_route(&mut self, key: &Key, at: &str, to: &[(Arc<Backend>, u64)], site: &ServedAt) -> Arc<Route> {
        let owner = Owner { kind: key.kind, namespace: &key.namespace, object: &key.name, rule: 0, id: 0 };
        let conduct = Conduct {
            steer: Steer { by: steer::CONNECTION, v4_bits: 0, v6_bits: 0 },
            on_empty: OnEmpty::Refuse,
            limits: to.first().map(|(backend, _)| backend.limits).unwrap_or_default(),
            asked: Wish::Auto,
        };
        self.finish(at, &owner, &conduct, to, family::ANY, site)
    }
}
