//! Routes of earlier plans: which of them a connection may still be using, and what destinations were called that no plan has
//! any more, for whoever lists connections.

use std::collections::HashSet;
use std::sync::{Arc, Weak};

use super::App;
use crate::connections::Connections;
use crate::plan::{Route, RouteChanges};

/// Routes of earlier plans.
#[derive(Debug, Default)]
pub(super) struct FormerRoutes {
    /// As long as a connection that is being opened may use them.
    pub(super) used: Vec<Weak<Route>>,
    /// Copies with those destinations alone that have connections and that the plan after had not.
    pub(super) named: Vec<Arc<Route>>,
}

impl App {
    /// Takes note of routes that are gone from the plan.
    pub(super) fn retire(&mut self, changes: &RouteChanges) {
        let FormerRoutes { used, named } = &mut self.former;
        used.extend(changes.gone.iter().map(Arc::downgrade));
        named.retain(|route| route.destinations.iter().any(|one| self.connections.active_of(one.number) > 0));
        named.extend(left(changes, &self.connections));
    }
}

fn left(changes: &RouteChanges, connections: &Connections) -> Vec<Arc<Route>> {
    let new = changes.new.iter().flat_map(|route| &route.destinations);
    let new: HashSet<u32> = new.map(|destination| destination.number).collect();
    let is_left = |number: u32| !new.contains(&number) && connections.active_of(number) > 0;
    let routes = changes.gone.iter().filter(|route| route.destinations.iter().any(|one| is_left(one.number)));
    let copies = routes.map(|route| {
        let destinations = route.destinations.iter().filter(|one| is_left(one.number)).cloned().collect();
        Arc::new(Route { destinations, ..Route::clone(route) })
    });
    copies.collect()
}
