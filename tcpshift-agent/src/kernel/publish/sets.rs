//! Endpoint sets in the kernel: which rows each has, and by which number destinations name it.
//!
//! A set that an event replaces keeps its number, so that one write of a word puts the next one in force. Where a plan comes with
//! another set, that has another number: the plan's one write puts both in force.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Result, bail};
use tcpshift_common::address::Address;
use tcpshift_common::destination::DestinationFacts;
use tcpshift_common::layout::{EndpointRow, HashRow, NONE, ORIGINAL, SetRow};

use super::numbers::{Fresh, Holdings};
use super::ranges::Range;
use crate::kernel::sys;
use crate::plan::sets::EndpointSet;
use crate::plan::{Endpoint, EndpointAddress, HashTable, Plan, Sets};

/// A set that is laid out.
#[derive(Clone, Debug)]
pub(super) struct KernelSet {
    set: Arc<EndpointSet>,
    /// As destinations name it.
    pub(super) number: u32,
    endpoints: Range,
    hashes: Option<Range>,
}

impl KernelSet {
    /// Where it begins.
    pub(super) fn begins(&self) -> u64 {
        self.endpoints.word()
    }
}

/// Those of the plan in force, by the plan's numbers of sets.
#[derive(Debug, Default)]
pub(super) struct KernelSets {
    by_number: Vec<Option<KernelSet>>,
    last: Sets,
}

/// Sets that are laid out, and not in force.
#[derive(Debug, Default)]
pub(super) struct NextSets {
    /// By the plan's number.
    pub(super) new: HashMap<u32, KernelSet>,
    /// Numbers of sets that the next plan does not have.
    gone: Vec<u32>,
    all: Sets,
}

impl KernelSets {
    /// Lays out those sets of a plan that are not in force, each under a number of its own.
    pub(super) fn for_plan(&self, plan: &Plan, sets: &Sets, room: u32, fresh: &mut Fresh) -> Result<NextSets> {
        let mut next = NextSets { all: sets.clone(), ..NextSets::default() };
        let mut used = vec![false; self.by_number.len()];
        for number in plan.routes().flat_map(|route| &route.destinations).map(|destination| destination.set) {
            let index = number as usize;
            if used.len() <= index {
                used.resize(index + 1, false);
            }
            if std::mem::replace(&mut used[index], true) {
                continue;
            }
            let set = shared(sets, number);
            let last = self.get(number);
            if last.is_none_or(|last| !Arc::ptr_eq(&last.set, &set) && last.set != set) {
                let own = fresh.set()?;
                next.new.insert(number, lay_out(set, own, last, room, fresh)?);
            }
        }
        let had = (0..).zip(&self.by_number).filter(|(_, set)| set.is_some()).map(|(number, _)| number);
        next.gone = had.filter(|number: &u32| !used[*number as usize]).collect();
        Ok(next)
    }

    /// Lays out those sets of the plan in force that are others by now, under the numbers that they have.
    pub(super) fn for_event(&self, sets: &Sets, room: u32, fresh: &mut Fresh) -> Result<NextSets> {
        let mut next = NextSets { all: sets.clone(), ..NextSets::default() };
        for number in sets.replaced(&self.last) {
            if let Some(last) = self.get(number) {
                next.new.insert(number, lay_out(shared(sets, number), last.number, Some(last), room, fresh)?);
            }
        }
        Ok(next)
    }

    /// The number by which a destination names its set, once these are in force.
    pub(super) fn number(&self, next: &NextSets, number: u32) -> u32 {
        let new = if next.new.is_empty() { None } else { next.new.get(&number) };
        new.or_else(|| self.get(number)).map_or(NONE, |set| set.number)
    }

    fn get(&self, number: u32) -> Option<&KernelSet> {
        self.by_number.get(number as usize)?.as_ref()
    }

    /// Takes note that others are in force. Returns what nobody needs any more.
    pub(super) fn follow(&mut self, next: NextSets) -> Holdings {
        let mut old = Holdings::default();
        let mut leave = |set: KernelSet, next: Option<&KernelSet>| {
            if next.is_none_or(|next| next.number != set.number) {
                old.sets.push(set.number);
            }
            old.endpoints.push(set.endpoints);
            old.hashes.extend(set.hashes.filter(|hashes| next.and_then(|next| next.hashes) != Some(*hashes)));
        };
        for number in next.gone {
            if let Some(set) = self.by_number.get_mut(number as usize).and_then(Option::take) {
                leave(set, None);
            }
        }
        for (number, set) in next.new {
            let index = number as usize;
            if self.by_number.len() <= index {
                self.by_number.resize(index + 1, None);
            }
            if let Some(last) = self.by_number[index].replace(set.clone()) {
                leave(last, Some(&set));
            }
        }
        self.last = next.all;
        old
    }
}

fn shared(sets: &Sets, number: u32) -> Arc<EndpointSet> {
    sets.shared(number).cloned().unwrap_or_default()
}

fn lay_out(
    set: Arc<EndpointSet>,
    number: u32,
    last: Option<&KernelSet>,
    room: u32,
    fresh: &mut Fresh,
) -> Result<KernelSet> {
    if set.endpoints.iter().any(|endpoint| endpoint.decides.number >= room) {
        bail!(
            "the plan has, or had before, more endpoints than the maps have rows; raise --max-routes, with which the agent \
             starts"
        );
    }
    let kept = last.filter(|last| last.set.hashing == set.hashing).and_then(|last| last.hashes);
    let hashes = match (&set.hashing, kept) {
        (None, _) => None,
        (Some(_), Some(kept)) => Some(kept),
        (Some(table), None) => Some(fresh.hashes(hash_rows(table))?),
    };
    let header =
        SetRow { hash: hashes.map_or(u64::MAX, Range::word), decides: DestinationFacts { number: 0, ..set.decides } };
    let header = sys::header(&header).unwrap_or_default();
    let rows: Vec<EndpointRow> = std::iter::once(header).chain(set.endpoints.iter().map(endpoint_row)).collect();
    let endpoints = fresh.endpoints(rows.into_iter())?;
    Ok(KernelSet { set, number, endpoints, hashes })
}

fn endpoint_row(endpoint: &Endpoint) -> EndpointRow {
    let (address, port) = match &endpoint.address {
        EndpointAddress::Tcp(address) => of(*address),
        EndpointAddress::Unix(_) => (Address::default(), 0),
        EndpointAddress::Original(port) => (Address::default(), ORIGINAL | u32::from(port.unwrap_or(0))),
    };
    EndpointRow { address, port, decides: endpoint.decides }
}

fn of(address: SocketAddr) -> (Address, u32) {
    (address.ip().into(), address.port().into())
}

/// The rows of a hash table.
fn hash_rows(table: &HashTable) -> impl ExactSizeIterator<Item = HashRow> {
    let pairs = table.table().chunks(2);
    pairs.map(|pair| HashRow { endpoints: [pair[0], pair.get(1).copied().unwrap_or(NONE)] })
}
