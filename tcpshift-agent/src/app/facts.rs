//! What a plan depends on beside the objects: what this host can do, its addresses, and who listens at them. It changes
//! without any object changing, and then the intent in force is assembled again.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::App;
use super::assignment::Assigner;
use crate::host;
use crate::kernel;
use crate::plan::intent::Intent;
use crate::plan::{Abilities, Datapath, Plan, Presence, Route};
use crate::trust::text;

/// How long what is known of endpoints may be incomplete before the plan of an agent that is gone ends.
const PATIENCE: Duration = Duration::from_secs(5);

impl App {
    /// Brings the host up to date for the assembly of an intent.
    pub(super) fn see(&mut self, intent: &Intent) {
        self.planner.host.abilities = self.abilities();
        self.planner.memory.states.limit(self.assignment.endpoints());
        if self.assignment.listening().is_none() {
            self.planner.host.presence.clear();
            return;
        }
        let answers = Arc::clone(self.planner.memory.states.answers());
        let endpoints = self.own.of(intent, &self.planner.host, &answers);
        if let Err(error) = self.assignment.want(endpoints.clone()) {
            log::warn!("listening sockets cannot be looked at: {error:#}");
        }
        let Some(listening) = self.assignment.listening() else { return };
        let presence: BTreeMap<_, _> =
            endpoints.into_iter().map(|address| (address, presence(listening, address))).collect();
        let last = std::mem::take(&mut self.planner.host.presence);
        self.planner.host.presence =
            presence.into_iter().map(|(address, now)| (address, latched(last.get(&address), now))).collect();
    }

    /// Endpoints of this host at which nobody listens now, as far as that is known.
    fn silent(&self) -> BTreeSet<SocketAddr> {
        let Some(listening) = self.assignment.listening().filter(|all| all.is_complete()) else {
            return BTreeSet::new();
        };
        let endpoints = self.planner.host.presence.keys().copied();
        endpoints.filter(|address| presence(listening, *address) == Presence::Silent).collect()
    }

    /// Whether a plan may depend on who listens now: one who was seen to listen, and is silent, counts as before.
    fn presence_changed(&self) -> bool {
        let Some(listening) = self.assignment.listening() else { return false };
        let mut all = self.planner.host.presence.iter();
        all.any(|(address, last)| latched(Some(last), presence(listening, *address)) != *last)
    }

    /// Has the kernel keep no other sockets than those of a plan that is in force.
    pub(super) fn narrow(&mut self, plan: &Plan) {
        if self.assignment.listening().is_none() {
            return;
        }
        let is_lookup = |route: &Arc<Route>| route.chosen.datapath == Some(Datapath::Lookup);
        let listeners = plan.listeners.iter().filter(|listener| listener.routes.iter().any(is_lookup));
        let listeners = listeners.map(|listener| listener.address.port()).collect();
        let endpoints = self.planner.host.presence.keys().copied().collect();
        if let Some(listening) = self.assignment.listening_mut() {
            listening.narrow(endpoints, listeners);
        }
    }

    /// Lets go of what an agent before has left in the kernel, once what the plan in force stands on is complete: until names
    /// of endpoints are known, and who listens at them, the other's plan serves them; and so it does while the plan in force
    /// was made for a kernel that could not be had, and can be now.
    pub(super) fn settle(&mut self) {
        let answers = self.planner.memory.states.answers();
        let knows_names = self.intent.names.iter().all(|name| answers.contains_key(name));
        let is_complete = self.store.is_complete()
            && knows_names
            && !self.abilities_changed()
            && self.assignment.listening().is_none_or(kernel::EndpointListeners::is_complete);
        if is_complete || self.started.elapsed() > PATIENCE {
            self.assignment.settle();
        }
    }

    /// Whether connections can be steered now that could not when the last plan was assembled, or the other way round.
    pub(super) fn abilities_changed(&self) -> bool {
        let (now, last) = (self.abilities(), &self.planner.host.abilities);
        now.connect.is_ok() != last.connect.is_ok() || now.lookup.is_ok() != last.lookup.is_ok()
    }

    fn abilities(&self) -> Abilities {
        Abilities {
            connect: self.assignment.connects().map_err(str::to_owned),
            lookup: self.assignment.hands_over().map_err(str::to_owned),
            room: self.assignment.routes(),
        }
    }

    /// Looks what has changed on the host, and follows it.
    pub(super) async fn tend(&mut self) {
        let have_moved = self.addresses.look();
        if have_moved {
            self.planner.host.networks = self.addresses.last().networks().collect();
        }
        let (plan, sets) = (Arc::clone(&self.plan.borrow()), Arc::clone(&self.sets));
        // It may wait for a walk through /proc.
        let look = move |assigner: &mut Assigner| {
            let have_changed = assigner.listening_mut().is_some_and(kernel::EndpointListeners::look);
            assigner.retry(&plan, &sets);
            have_changed
        };
        let have_changed = self.assignment.with(&self.beside, look).await;
        if have_moved || have_changed && self.presence_changed() || self.abilities_changed() {
            self.reassemble().await;
        }
        let silent = self.silent();
        if *self.silent != silent {
            let last = std::mem::replace(&mut self.silent, Arc::new(silent));
            self.heard(&last, &Arc::clone(&self.silent));
        }
        self.settle();
    }
}

/// Unix endpoints that lead to the admin socket, by whatever name: the proxy refuses them.
pub(super) fn own_sockets(intent: &Intent, admin: &Path) -> BTreeSet<String> {
    let own = intent.sockets.iter().filter(|path| host::is_same_file(Path::new(&***path), admin));
    own.map(|path| text::clean_line(path)).collect()
}

fn presence(listening: &kernel::EndpointListeners, address: SocketAddr) -> Presence {
    match listening.presence(address) {
        kernel::EndpointPresence::Fit => Presence::Listening,
        kernel::EndpointPresence::Unfit(why) => Presence::Unfit(why.to_owned()),
        kernel::EndpointPresence::Nobody => Presence::Silent,
    }
}

/// An address at which somebody was seen to listen stays so: a version that is restarted is silent for a moment, and where
/// its connections go does not change by that.
fn latched(last: Option<&Presence>, now: Presence) -> Presence {
    match (last, now) {
        (Some(Presence::Listening), Presence::Silent) => Presence::Listening,
        (_, now) => now,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_seen_to_listen_is_not_forgotten_for_being_silent() {
        let unfit = || Presence::Unfit("it listens with MPTCP".to_owned());
        assert_eq!(latched(None, Presence::Silent), Presence::Silent);
        assert_eq!(latched(Some(&Presence::Listening), Presence::Silent), Presence::Listening);
        assert_eq!(latched(Some(&Presence::Listening), unfit()), unfit());
        assert_eq!(latched(Some(&unfit()), Presence::Silent), Presence::Silent);
    }
}
