//! Which Gateway has each port, as the plan decides it: of several servers for plain TCP at one address, and listeners of
//! the Gateway API, the oldest object's is listened on. Servers of other protocols are left out.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use super::world::World;
use crate::route::model::gateway::Protocol;
use crate::route::model::{Labels, selects};
use crate::route::object::{Key, Object};

/// A server, or a listener of the Gateway API.
#[derive(Clone, Copy)]
pub(super) struct ServedPort<'a> {
    pub(super) object: &'a Object,
    /// Among the servers or listeners of its object.
    pub(super) index: usize,
    pub(super) port: u16,
    /// The address, if it is one alone.
    pub(super) bind: Option<IpAddr>,
    /// Labels of the agents that serve it.
    pub(super) selector: Option<&'a Labels>,
}

impl ServedPort<'_> {
    /// Whether every agent that serves the other serves this one too.
    fn is_for_all_of(&self, other: &Self) -> bool {
        match (self.selector, other.selector) {
            (None, _) => true,
            (Some(own), None) => own.is_empty(),
            (Some(own), Some(other)) => selects(own, other),
        }
    }
}

/// Why a server or listener does not get its address.
#[derive(Clone, Copy)]
pub(super) struct Lost<'a> {
    pub(super) by: ServedPort<'a>,
    /// Whether at every agent, or only where one serves both.
    pub(super) everywhere: bool,
}

/// All servers and listeners for plain TCP.
#[derive(Default)]
pub(super) struct Openings<'a> {
    /// The oldest first.
    pub(super) all: Vec<ServedPort<'a>>,
    lost: HashMap<(&'a Key, usize), Lost<'a>>,
    /// Those that a rule leads from.
    led: HashSet<(&'a Key, usize)>,
}

impl<'a> Openings<'a> {
    pub(super) fn new(world: &World<'a>) -> Self {
        let mut openings = Self::default();
        for (object, gateway) in &world.gateways {
            let served = gateway.servers.iter().enumerate();
            for (index, server) in served.filter(|(_, one)| one.protocol == Protocol::Tcp && one.port > 0) {
                let bind = server.bind.filter(|ip| !ip.is_unspecified());
                let selector = Some(&gateway.selector);
                openings.all.push(ServedPort { object, index, port: server.port, bind, selector });
            }
        }
        for (object, gateway) in &world.api_gateways {
            let served = gateway.listeners.iter().enumerate().filter(|(_, one)| one.protocol == "TCP");
            openings.all.extend(served.map(|(index, listener)| ServedPort {
                object,
                index,
                port: listener.port,
                bind: None,
                selector: None,
            }));
        }
        openings.all.sort_by(|a, b| a.object.age().cmp(&b.object.age()).then_with(|| a.object.key.cmp(&b.object.key)));
        let mut taken: HashMap<(Option<IpAddr>, u16), Vec<ServedPort<'a>>> = HashMap::new();
        for opening in &openings.all {
            let older = taken.entry((opening.bind, opening.port)).or_default();
            let everywhere = older.iter().find(|older| older.is_for_all_of(opening));
            let somewhere = || older.iter().find(|older| opening.is_for_all_of(older));
            let lost = everywhere.map(|by| Lost { by: *by, everywhere: true });
            let lost = lost.or_else(|| somewhere().map(|by| Lost { by: *by, everywhere: false }));
            if let Some(lost) = lost {
                openings.lost.insert((&opening.object.key, opening.index), lost);
            }
            // A server that no agent serves does not take the port from others.
            if lost.is_none_or(|lost| !lost.everywhere) {
                older.push(*opening);
            }
        }
        openings
    }

    /// The older server or listener that has the address instead.
    pub(super) fn lost(&self, object: &Object, index: usize) -> Option<Lost<'a>> {
        self.lost.get(&(&object.key, index)).copied()
    }

    /// Whether no agent listens there for this object.
    pub(super) fn is_lost(&self, object: &Object, index: usize) -> bool {
        self.lost(object, index).is_some_and(|lost| lost.everywhere)
    }

    /// Remembers that a rule leads from a server or listener.
    pub(super) fn lead(&mut self, object: &'a Object, index: usize) {
        self.led.insert((&object.key, index));
    }

    /// Whether a rule leads from it.
    pub(super) fn is_led(&self, opening: &ServedPort<'_>) -> bool {
        self.led.contains(&(&opening.object.key, opening.index))
    }
}
