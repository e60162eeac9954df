//! What one assembly leaves for the next, so that an edit costs what it changes and not what there is.
//!
//! A listener is reused, with all its routes, if it would be assembled of the same port, on the same host, with the same
//! sets. Reuse never changes the result, only the time. Numbers are the exception, which have to be remembered; they are
//! the register's.

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;

use crate::plan::host::Host;
use crate::plan::intent::{GatewayPort, MeshPort, ReachedService};
use crate::plan::register::Register;
use crate::plan::sets::States;
use crate::plan::{Listener, MeshListener};

/// What an assembly leaves for the next. It belongs to the owner of the plan.
#[derive(Clone, Debug, Default)]
pub struct AssemblyMemory {
    /// Numbers.
    pub register: Register,
    /// The state of endpoints, and the sets made of it.
    pub states: States,
    pub(super) listeners: HashMap<SocketAddr, AssembledListener>,
    pub(super) mesh: Option<AssembledMesh>,
    host: Option<Host>,
    /// Whether the host is as it was at the assembly before.
    is_same_host: bool,
}

/// A listener, or that there is none, and what it was assembled of.
#[derive(Clone, Debug)]
pub(super) struct AssembledListener {
    pub port: Arc<GatewayPort>,
    pub used: UsedNumbers,
    pub listener: Option<Arc<Listener>>,
}

/// What clients inside a mesh meet, and what it was assembled of.
#[derive(Clone, Debug)]
pub(super) struct AssembledMesh {
    pub ports: Vec<Arc<MeshPort>>,
    pub services: Vec<Arc<ReachedService>>,
    /// Routes of the kernel's room that Gateways left.
    pub room: usize,
    pub used: UsedNumbers,
    pub listeners: Vec<Arc<MeshListener>>,
    pub notes: Vec<String>,
}

/// Numbers that something of a plan has.
#[derive(Clone, Debug, Default)]
pub(super) struct UsedNumbers {
    /// When it was assembled or kept, by the clock of the states.
    pub at: u64,
    pub listeners: Vec<u32>,
    pub routes: Vec<u32>,
    pub destinations: Vec<u32>,
    pub targets: Vec<u32>,
    pub sets: Vec<u32>,
}

impl UsedNumbers {
    /// Each once.
    pub(super) fn tidy(&mut self) {
        let Self { at: _, listeners, routes, destinations, targets, sets } = self;
        for numbers in [listeners, routes, destinations, targets, sets] {
            numbers.sort_unstable();
            numbers.dedup();
            numbers.shrink_to_fit();
        }
    }
}

impl AssemblyMemory {
    /// Remembers nothing but numbers and the state of endpoints.
    pub fn of(register: Register, states: States) -> Self {
        Self { register, states, ..Self::default() }
    }

    /// The plan that came out was given up: its numbers are free, so nothing that has them is reused. The intent in force
    /// has to be assembled again, since its sets may have been replaced.
    pub fn give_up(&mut self) {
        let Self { register, states, .. } = std::mem::take(self);
        *self = Self::of(register, states);
        self.register.give_up();
        self.states.give_up();
    }

    /// Begins an assembly on a host that serves these addresses.
    pub(super) fn begin(&mut self, host: &Host, listeners: BTreeSet<SocketAddr>) {
        self.register.begin();
        self.states.begin(listeners, host);
        self.is_same_host = self.host.as_ref() == Some(host);
        if !self.is_same_host {
            self.host = Some(host.clone());
        }
    }

    /// Whether what was assembled with these numbers would come out again.
    pub(super) fn holds(&self, used: &UsedNumbers) -> bool {
        let is_same_set = |set: &u32| self.states.changed(*set) <= used.at;
        self.is_same_host && (self.states.changed_last() <= used.at || used.sets.iter().all(is_same_set))
    }

    /// Keeps numbers that are still used.
    pub(super) fn keep(&mut self, used: &mut UsedNumbers) {
        let Self { register, states, .. } = self;
        used.at = states.now();
        used.listeners.iter().for_each(|number| register.listeners.keep(*number));
        used.routes.iter().for_each(|number| register.routes.keep(*number));
        used.destinations.iter().for_each(|number| register.destinations.keep(*number));
        used.targets.iter().for_each(|number| register.targets.keep(*number));
        used.sets.iter().for_each(|number| states.keep(*number));
    }
}
