//! Which listener an address and port belong to: that of the longest prefix, as in the kernel's own search for a
//! listening socket.
//!
//! A port is in the table with all its listeners or not at all. A listener whose routes are not steered has a row like
//! the others: programs find that its routes are left to the agent, and no wider listener takes its connections.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use tcpshift_common::address::{Address, Prefix, family};
use tcpshift_common::layout::{AddressEntry, AddressKey, NONE, scope};

use crate::plan::{Listener, MeshListener, Plan};

/// The number of a listener by scope, port and prefix.
pub(super) type AddressTable = BTreeMap<AddressKey, u32>;

/// Bits in front of an IPv4 address in its mapped form.
const MAPPED_BITS: u32 = 96;

/// The table of a plan. `lookup` are the ports whose connections may be handed over.
pub(super) fn of(plan: &Plan, lookup: &BTreeSet<u16>) -> AddressTable {
    let mut table = AddressTable::new();
    for listener in plan.listeners.iter().filter(|listener| lookup.contains(&listener.address.port())) {
        let prefix = match listener.address.ip() {
            IpAddr::V6(ip) if ip.is_unspecified() => Prefix::ANY,
            IpAddr::V4(ip) if ip.is_unspecified() => Prefix::v4([0; 4], 0),
            ip => ip.into(),
        };
        table.entry(key(scope::LOOKUP, listener.address.port(), &prefix)).or_insert(listener.number);
    }
    clients(plan, &mut table);
    table
}

/// For programs of this host that connect. Of two listeners with one prefix the first here has it: a service with rules
/// of VirtualServices, a listener bound to the address, a service without rules.
fn clients(plan: &Plan, table: &mut AddressTable) {
    let ports = plan.connect_ports();
    let services: Vec<_> = plan.mesh.iter().filter(|listener| ports.contains(&listener.port)).collect();
    let listeners = plan.listeners.iter().filter(|listener| ports.contains(&listener.address.port()));
    let (mut everywhere, bound): (Vec<&Listener>, Vec<&Listener>) =
        listeners.map(|listener| &**listener).partition(|listener| listener.address.ip().is_unspecified());
    for listener in services.iter().filter(|listener| listener.has_rules()) {
        add_service(listener, table);
    }
    for Listener { address, number, .. } in bound {
        table.entry(key(scope::CONNECT, address.port(), &address.ip().into())).or_insert(*number);
    }
    let mut own = HashSet::new();
    for listener in services.iter().filter(|listener| !listener.has_rules()) {
        add_service(listener, table);
        own.insert(listener.number);
    }
    keep_families_apart(&services, table);
    own.insert(NONE);
    // Of two listeners at every address, that at 0.0.0.0 has IPv4 connections.
    everywhere.sort_by_key(|listener| listener.address.is_ipv6());
    for Listener { address, number, .. } in everywhere {
        let fits = |prefix: &&Prefix| address.is_ipv6() || prefix.family == family::V4;
        for prefix in plan.local.iter().filter(fits) {
            // A service's prefix is more specific than every address. But a service without rules takes nothing from a
            // listener of this agent: its route may divide what comes to this host's own addresses.
            let key = key(scope::CONNECT, address.port(), prefix);
            if longest(table, key).is_none_or(|other| own.contains(&other)) {
                table.insert(key, *number);
            }
        }
    }
}

fn add_service(MeshListener { port, addresses, number, .. }: &MeshListener, table: &mut AddressTable) {
    for prefix in addresses {
        table.entry(key(scope::CONNECT, *port, prefix)).or_insert(*number);
    }
}

/// In the table IPv4 addresses are mapped ones: those are in no IPv6 prefix of a service.
fn keep_families_apart(services: &[&Arc<MeshListener>], table: &mut AddressTable) {
    let holds = |prefix: &Prefix| {
        prefix.family == family::V6 && prefix.bits <= MAPPED_BITS && {
            let Address { high, low } = Address::v4([0; 4]);
            (high & prefix.mask.high, low & prefix.mask.low) == (prefix.address.high, prefix.address.low)
        }
    };
    for listener in services.iter().filter(|listener| listener.addresses.iter().any(holds)) {
        table.entry(key(scope::CONNECT, listener.port, &Prefix::v4([0; 4], 0))).or_insert(NONE);
    }
}

fn key(scope: u32, port: u16, prefix: &Prefix) -> AddressKey {
    let bits = match prefix.family {
        family::V4 => MAPPED_BITS + prefix.bits,
        _ => prefix.bits,
    };
    AddressKey { bits: AddressEntry::HEAD + bits, at: AddressEntry::new(scope, port.into(), prefix.address) }
}

/// Whose the longest prefix is that holds all of another one.
fn longest(table: &AddressTable, AddressKey { bits, at }: AddressKey) -> Option<u32> {
    let mut number = u128::from_be_bytes(at.address);
    (AddressEntry::HEAD..=bits).rev().find_map(|bits| {
        let counted = bits - AddressEntry::HEAD;
        number &= u128::MAX.checked_shl(128 - counted).unwrap_or_default();
        table.get(&AddressKey { bits, at: AddressEntry { address: number.to_be_bytes(), ..at } }).copied()
    })
}
