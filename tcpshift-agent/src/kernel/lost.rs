//! Steered connections whose close the programs missed: they are counted out when their sockets are gone.
//!
//! A foreign program that sets the callbacks of a socket (`bpf_sock_ops_cb_flags_set`) and drops those that
//! others have set hides its close from `record`. Then its cell and its count among the active ones would
//! stay for ever. Storage of sockets, where those are that have no cell, dies with the socket, and what it counted
//! stays: such connections are not found here.

use std::collections::HashSet;
use std::io;
use std::mem::offset_of;
use std::os::fd::AsFd;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use tcpshift_common::layout::{Assignment, ConnectionRow, CookieRow, EndpointSumRow, SumRow, stage};

use super::capabilities;
use super::load::Maps;
use super::sys::MappedWords;
use crate::host::cookies;
use crate::trust::rights;

/// The pause between two looks, if few connections are steered; as much more for each so many of them.
const PAUSE: Duration = Duration::from_secs(3);
const FEW: usize = 1000;

/// Bytes of a word.
const WORD: usize = size_of::<u64>();
const ROW: usize = size_of::<CookieRow>() / WORD;
const SUMS: usize = size_of::<SumRow>() / WORD;
const ENDPOINT_SUMS: usize = size_of::<EndpointSumRow>() / WORD;

/// A connection that is counted as open.
#[derive(Clone, Copy, Debug)]
struct Open<'a> {
    /// Holds the cookie of its socket.
    cell: &'a AtomicU64,
    cookie: u64,
    destination: u32,
    endpoint: u32,
}

/// Looks for as long as there are the maps, in a thread of its own.
pub(super) fn watch(maps: &Arc<Maps>, agent: u64) {
    let maps = Arc::downgrade(maps);
    if let Err(error) = thread::Builder::new().name("lost".to_owned()).spawn(move || look_again(&maps, agent)) {
        log::warn!("connections whose end another program hides stay counted as active: no thread: {error}");
    }
}

fn look_again(maps: &Weak<Maps>, agent: u64) {
    // It begins before the agent drops what it does not need, and capabilities belong to a thread.
    let Some(kept) = maps.upgrade().map(|maps| capabilities::for_life(maps.plan())) else { return };
    if let Err(error) = kept.and_then(rights::keep) {
        log::warn!(
            "connections whose end another program hides stay counted as active: the thread that looks for them cannot \
             drop capabilities: {error}"
        );
        return;
    }
    let (mut suspects, mut pause, mut was_said) = (HashSet::new(), PAUSE, false);
    loop {
        thread::sleep(pause);
        let Some(maps) = maps.upgrade() else { return };
        match look(&maps, agent, &mut suspects) {
            Ok((open, lost)) => {
                pause = PAUSE * u32::try_from(1 + open / FEW).unwrap_or(u32::MAX);
                if lost > 0 && !was_said {
                    was_said = true;
                    log::warn!(
                        "{lost} steered connections have ended unseen and are counted out now: another sock_ops \
                         program clears the callbacks of their sockets; this is said once"
                    );
                }
            }
            Err(error) => log::debug!("open sockets cannot be looked at: {error}"),
        }
    }
}

/// Counts out connections that are counted as open and whose sockets were not there at two looks. Returns how many are counted
/// as open, and how many of those were counted out.
fn look(maps: &Maps, agent: u64, suspects: &mut HashSet<u64>) -> io::Result<(usize, usize)> {
    let words = MappedWords::new(maps.cookies.as_fd())?;
    // Rows are read before sockets: a row without a socket belongs to a connection that is closed.
    let open: Vec<Open<'_>> = words.as_ref().chunks_exact(ROW).filter_map(|row| read(row, agent)).collect();
    if open.is_empty() {
        suspects.clear();
        return Ok((0, 0));
    }
    let there = cookies::of_tcp_sockets()?;
    let gone: Vec<&Open<'_>> = open.iter().filter(|open| !there.contains(&open.cookie)).collect();
    let (lost, new): (Vec<&Open<'_>>, Vec<_>) = gone.into_iter().partition(|open| suspects.contains(&open.cookie));
    *suspects = new.into_iter().map(|open| open.cookie).collect();
    let counted = if lost.is_empty() { None } else { Some(maps.words()?) };
    let mut out = 0;
    for open in lost {
        if let Some([_, _, endpoints, sums]) = &counted
            && open.cell.compare_exchange(open.cookie, 0, SeqCst, Relaxed).is_ok()
        {
            count_out(open, endpoints.as_ref(), sums.as_ref());
            out += 1;
        }
    }
    Ok((open.len(), out))
}

/// The row of a cell, if it is of a connection that this agent's programs count as open.
fn read(row: &[AtomicU64], agent: u64) -> Option<Open<'_>> {
    const CONNECTION: usize = offset_of!(CookieRow, row);
    const ASSIGNMENT: usize = CONNECTION + offset_of!(ConnectionRow, assignment);
    let cell = row.first()?;
    let cookie = cell.load(SeqCst);
    let word = |at: usize| Some(row.get(at / WORD)?.load(Relaxed));
    let half = |at: usize| {
        let bytes = word(at)?.to_ne_bytes();
        let from = at % WORD;
        Some(u32::from_ne_bytes(bytes.get(from..from + 4)?.try_into().ok()?))
    };
    let is_open = cookie != 0
        && word(CONNECTION + offset_of!(ConnectionRow, agent))? == agent
        && half(CONNECTION + offset_of!(ConnectionRow, stage))? == stage::OPENED;
    let destination = half(ASSIGNMENT + offset_of!(Assignment, destination))?;
    let endpoint = half(ASSIGNMENT + offset_of!(Assignment, endpoint))?;
    is_open.then_some(Open { cell, cookie, destination, endpoint })
}

fn count_out(open: &Open<'_>, endpoints: &[AtomicU64], sums: &[AtomicU64]) {
    let sum = |field: usize| sums.get(open.destination as usize * SUMS + field / WORD);
    let less = |counter: Option<&AtomicU64>| {
        counter.map(|counter| counter.fetch_update(SeqCst, Relaxed, |count| count.checked_sub(1)))
    };
    less(sum(offset_of!(SumRow, active)));
    less(endpoints.get(open.endpoint as usize * ENDPOINT_SUMS + offset_of!(EndpointSumRow, active) / WORD));
    sum(offset_of!(SumRow, closed)).map(|closed| closed.fetch_add(1, Relaxed));
}
