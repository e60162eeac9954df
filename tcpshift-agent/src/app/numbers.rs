//! Numbers of what a plan and its sets name: their counters begin when they are given out, and they are free when nothing holds them.

use std::collections::HashSet;
use std::sync::Weak;
use std::sync::atomic::Ordering::Relaxed;

use super::App;
use crate::kernel;
use crate::plan::assemble::AssemblyMemory;
use crate::plan::sets::FreshEndpoints;

impl App {
    /// Has the counters of numbers that were given out for a plan or for sets start from zero.
    pub(super) fn reset_fresh(&mut self, generation: u64) {
        let Self { planner, connections, .. } = self;
        let AssemblyMemory { register, states, .. } = &mut planner.memory;
        register.listeners.take_fresh().into_iter().for_each(|number| connections.listeners.get(number).reset());
        register.routes.take_fresh().into_iter().for_each(|number| connections.sequences.get(number).store(0, Relaxed));
        register.destinations.take_fresh().into_iter().for_each(|number| {
            connections.reset_destination(number, generation);
            connections.turns.get(number).store(0, Relaxed);
        });
        // Nobody is carried there yet.
        drop(register.targets.take_fresh());
        let FreshEndpoints { new, back } = states.take_fresh();
        let now = kernel::monotonic();
        for number in new {
            connections.endpoints.get(number).renew(now);
        }
        for number in back {
            connections.endpoints.get(number).reset();
        }
    }

    /// Frees the numbers that nothing holds any more; those of endpoints rest before. A connection that is being opened holds its route, since
    /// it may try any endpoint of it.
    pub(super) fn sweep(&mut self) {
        let Self { planner, connections, former, .. } = self;
        let AssemblyMemory { register, states, .. } = &mut planner.memory;
        former.used.retain(|route| route.strong_count() > 0);
        let mut led_to = HashSet::new();
        for route in former.used.iter().filter_map(Weak::upgrade) {
            led_to.extend(route.destinations.iter().map(|destination| destination.target));
        }
        register.listeners.sweep(|_| false);
        register.routes.sweep(|_| false);
        register.destinations.sweep(|number| connections.active_of(number) > 0);
        let is_carried = |number: u32| connections.targets.get(number).load(Relaxed) > 0;
        register.targets.sweep(|number| led_to.contains(&number) || is_carried(number));
        states.sweep(kernel::monotonic(), |number| connections.endpoints.load(number) > 0);
    }
}
