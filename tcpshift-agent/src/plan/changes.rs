//! Which routes are different from one plan to another.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::sync::Arc;

use super::{MeshListener, Plan, Route, Sets};

/// The routes that one of two plans has, and the other one has not as they are, each once. Listeners of plans that follow
/// on each other are mostly the same values, and their routes are not looked at.
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
        let (before, after) = (last.listeners.chunks(1), next.listeners.chunks(1));
        changes.add(before, after, |one, other| one.address.cmp(&other.address), |listener| &listener.routes);
        // Clients of both families may have the same route.
        let is_one_port = |one: &Arc<MeshListener>, other: &Arc<MeshListener>| by_port(one, other).is_eq();
        let (before, after) = (last.mesh.chunk_by(is_one_port), next.mesh.chunk_by(is_one_port));
        changes.add(before, after, by_port, |listener| &listener.routes);
        changes
    }

    /// The routes of which other shares may be refused than before, as they were and as they are: where no set was replaced, a route
    /// that is the same has the same shares refused.
    pub fn concerned<'a>(
        &'a self,
        (last, last_sets): (&'a Plan, &Sets),
        (next, next_sets): (&'a Plan, &Sets),
    ) -> (Vec<&'a Arc<Route>>, Vec<&'a Arc<Route>>) {
        if last_sets.version == next_sets.version {
            (self.gone.iter().collect(), self.new.iter().collect())
        } else {
            (last.routes().collect(), next.routes().collect())
        }
    }

    /// Adds what is different in sorted groups of listeners; none is empty.
    fn add<'a, T: 'a>(
        &mut self,
        last: impl Iterator<Item = &'a [Arc<T>]>,
        next: impl Iterator<Item = &'a [Arc<T>]>,
        order: impl Fn(&T, &T) -> Ordering,
        routes: impl Fn(&T) -> &[Arc<Route>],
    ) {
        let (mut last, mut next) = (last.peekable(), next.peekable());
        loop {
            let order = match (last.peek(), next.peek()) {
                (None, None) => return,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(one), Some(other)) if Arc::ptr_eq(&one[0], &other[0]) => Ordering::Equal,
                (Some(one), Some(other)) => order(&one[0], &other[0]),
            };
            let before = if order.is_le() { last.next().unwrap_or_default() } else { &[] };
            let after = if order.is_ge() { next.next().unwrap_or_default() } else { &[] };
            let is_same = |(one, other): (&Arc<T>, &Arc<T>)| Arc::ptr_eq(one, other);
            if before.len() == after.len() && before.iter().zip(after).all(is_same) {
                continue;
            }
            let [before, after] = [before, after].map(|group| group.iter().flat_map(|one| routes(one)));
            beside(before.clone(), after.clone(), &mut self.gone);
            beside(after, before, &mut self.new);
        }
    }
}

fn by_port(one: &MeshListener, other: &MeshListener) -> Ordering {
    (&one.host, one.port).cmp(&(&other.host, other.port))
}

/// Adds those routes that are not among others, each once.
fn beside<'a>(
    routes: impl Iterator<Item = &'a Arc<Route>>,
    others: impl Iterator<Item = &'a Arc<Route>>,
    found: &mut Vec<Arc<Route>>,
) {
    let mut seen: HashSet<_> = others.map(Arc::as_ptr).collect();
    found.extend(routes.filter(|route| seen.insert(Arc::as_ptr(route))).cloned());
}
