//! The route of a service itself: where no rule of a VirtualService fits, its address leads to its own endpoints. It has
//! one destination, and so no weights.
//!
//! There may be thousands of services that nobody has a rule for. They get what the routes of VirtualServices and TCPRoutes
//! leave of the kernel's room.

use std::borrow::Cow;
use std::sync::Arc;

use tcpshift_common::address::Prefix;

use super::Compiler;
use super::mesh::{FAMILIES, ServicePort, ServicePorts, listener_name};
use super::rule::Found;
use super::target::Target;
use super::ways::{self, Ways};
use crate::plan::catalog::Wanted;
use crate::route::annotations::Annotations;
use crate::route::object::Key;

/// Endpoints that services may have together, for each route that the kernel has room for: half of its room.
const ENDPOINTS: usize = 16;

impl<'a> Compiler<'a> {
    /// Adds the routes of services, the oldest first, while there is room. So many are taken already; returned is how many
    /// that makes, if all have room.
    pub(super) fn own_routes(&mut self, ports: &mut ServicePorts<'a>, taken: usize, room: usize) -> Option<usize> {
        let (mut routes, mut endpoints) = (taken, 0);
        let mut left_out: Vec<&Key> = Vec::new();
        for (key, reached) in self.lookup.catalog().reached() {
            let prefixes = || reached.addresses.iter().map(ways::prefix);
            let has = |family: &u32| prefixes().any(|prefix| prefix.family == *family);
            // Clients of each may have a route of their own.
            let families = FAMILIES.iter().filter(|(family, _)| has(family)).count();
            for number in reached.ports {
                let order = ports.len();
                let (addresses, ways) = (reached.addresses, Ways::default());
                let port = ports.entry((reached.host.clone(), number));
                let port = port.or_insert(ServicePort { addresses, ways, first: key, order });
                if port.ways.has_all() {
                    continue;
                }
                // A target that is not looked for takes no numbers from others.
                if routes + families > room || endpoints > room * ENDPOINTS {
                    left_out.push(key);
                    continue;
                }
                let target = self.own_target(key, &reached.host, number);
                if target.unusable.is_none() {
                    (routes, endpoints) = (routes + families, endpoints + target.endpoint_count());
                    let (at, limits) = (listener_name(&reached.host, number), target.limits);
                    let (steering, targets) = (Annotations::default(), vec![(target, 0)]);
                    let route = || self.finish(&at, Found { key, rule: 0, id: 0, steering, limits, targets });
                    port.ways.add(&[(Prefix::ANY, Prefix::ANY)], route);
                }
            }
        }
        let Some((first, others)) = left_out.split_first() else { return Some(routes) };
        self.notes.push(format!(
            "{first}{}: the kernel has no room for routes to their own endpoints; where no rule fits, connections to them go \
             on untouched; raise --max-routes",
            if others.is_empty() { String::new() } else { format!(" and {} ports more", others.len()) }
        ));
        None
    }

    /// What a port of a service leads to.
    fn own_target(&mut self, key: &'a Key, host: &str, port: u16) -> Arc<Target> {
        self.found(Wanted {
            namespace: Cow::Borrowed(&key.namespace),
            host: Cow::Owned(host.to_owned()),
            subset: None,
            port: Some(port),
            listener_port: port,
            in_mesh: true,
        })
    }
}
