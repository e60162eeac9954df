//! Which routes are different from one plan to another.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::sync::Arc;

use super::{Listener, MeshListener, Plan, Route};

/// The routes that one of two plans has, and the other one has not as they are. Listeners of plans that follow on each
/// other are mostly the same values, and their routes are not looked at.
#[derive(Clone, Debug, Default)]
pub struct RouteChanges {
    /// Those of the plan before.
    pub gone: Vec<Arc<Route>>,
    /// Those of the plan after.
    pub new: Vec<Arc<Route>>,
}

impl RouteChanges {
    /// What is different from `last` to `next`.
    pub fn between(last: &Plan, next: &Plan) -> Self {
        let mut changes = Self::default();
        let order = |one: &Arc<Listener>, other: &Arc<Listener>| one.address.cmp(&other.address);
        changes.add(&last.listeners, &next.listeners, order, |listener| &listener.routes);
        let order = |one: &Arc<MeshListener>, other: &Arc<MeshListener>| {
            (&one.host, one.port, one.family()).cmp(&(&other.host, other.port, other.family()))
        };
        changes.add(&last.mesh, &next.mesh, order, |listener| &listener.routes);
        changes
    }

    /// Adds what is different in sorted lists of listeners.
    fn add<T>(
        &mut self,
        mut last: &[Arc<T>],
        mut next: &[Arc<T>],
        order: impl Fn(&Arc<T>, &Arc<T>) -> Ordering,
        routes: impl Fn(&T) -> &[Arc<Route>],
    ) {
        loop {
            let (one, other) = (last.first(), next.first());
            let order = match (one, other) {
                (None, None) => return,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(one), Some(other)) if Arc::ptr_eq(one, other) => Ordering::Equal,
                (Some(one), Some(other)) => order(one, other),
            };
            let before = one.filter(|_| order != Ordering::Greater);
            let after = other.filter(|_| order != Ordering::Less);
            last = &last[usize::from(before.is_some())..];
            next = &next[usize::from(after.is_some())..];
            if before.zip(after).is_some_and(|(one, other)| Arc::ptr_eq(one, other)) {
                continue;
            }
            let [before, after] = [before, after].map(|listener| listener.map(|one| routes(one)).unwrap_or_default());
            self.gone.extend(beside(before, after));
            self.new.extend(beside(after, before));
        }
    }
}

/// Routes that are not among others.
fn beside<'a>(routes: &'a [Arc<Route>], others: &[Arc<Route>]) -> impl Iterator<Item = Arc<Route>> + 'a {
    let stay: HashSet<_> = others.iter().map(Arc::as_ptr).collect();
    routes.iter().filter(move |route| !stay.contains(&Arc::as_ptr(route))).cloned()
}
