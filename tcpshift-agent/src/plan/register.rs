//! Stable numbers for listeners, routes, destinations and endpoints.
//!
//! A name keeps its number from plan to plan. A number that no plan names any more is given to another name
//! only when its holder says that no connection holds it; until then its own name gets it back. It is owned by the planner.

use std::collections::{BTreeSet, HashMap, HashSet};

/// The numbers in use, a space for each noun.
#[derive(Clone, Debug, Default)]
pub struct Register {
    /// Numbers of listeners.
    pub listeners: Space,
    /// Numbers of routes.
    pub routes: Space,
    /// Numbers of destinations, each within one route.
    pub destinations: Space,
    /// Numbers of hosts' subsets and ports, shared by all destinations that lead there.
    pub targets: Space,
    /// Rules that were seen so far.
    rules: u32,
}

impl Register {
    /// What tells a rule apart from all others of its object, those that are gone too.
    pub fn new_rule(&mut self) -> u32 {
        let id = self.rules;
        self.rules = self.rules.wrapping_add(1);
        id
    }

    /// Begins a compilation: what an abandoned one asked for is forgotten.
    pub fn begin(&mut self) {
        let Self { listeners, routes, destinations, targets, rules: _ } = self;
        for space in [listeners, routes, destinations, targets] {
            space.begin();
        }
    }

    /// The plan was given up: frees the numbers that were given out for it.
    pub fn give_up(&mut self) {
        let Self { listeners, routes, destinations, targets, rules: _ } = self;
        for space in [listeners, routes, destinations, targets] {
            space.give_up();
        }
    }
}

/// Numbers of one kind of thing.
#[derive(Clone, Debug, Default)]
pub struct Space {
    numbers: HashMap<String, u32>,
    /// Named by no plan any more, but perhaps still held.
    unused: HashMap<String, u32>,
    free: BTreeSet<u32>,
    next: u32,
    /// By number: whether its name was asked for since the compilation began.
    asked: Vec<bool>,
    /// How many were.
    asked_for: usize,
    fresh: Vec<u32>,
}

impl Space {
    /// Begins a compilation: what an abandoned one asked for is forgotten.
    pub fn begin(&mut self) {
        self.asked.fill(false);
        self.asked_for = 0;
    }

    /// The number of a name, a new one if it has none.
    pub fn number(&mut self, name: &str) -> u32 {
        if let Some(&number) = self.numbers.get(name) {
            self.keep(number);
            return number;
        }
        if let Some((name, number)) = self.unused.remove_entry(name) {
            self.numbers.insert(name, number);
            self.keep(number);
            return number;
        }
        let number = self.free.pop_first().unwrap_or_else(|| {
            let number = self.next;
            self.next += 1;
            number
        });
        self.numbers.insert(name.to_owned(), number);
        self.keep(number);
        self.fresh.push(number);
        number
    }

    /// Asks for the name that has this number, as [`number`](Self::number) does.
    pub fn keep(&mut self, number: u32) {
        let place = number as usize;
        if self.asked.len() <= place {
            self.asked.resize(place + 1, false);
        }
        self.asked_for += usize::from(!std::mem::replace(&mut self.asked[place], true));
    }

    /// Numbers given out since this was asked last: their counters have to start from zero before the plan
    /// that uses them is in force.
    pub fn take_fresh(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.fresh)
    }

    /// Frees the numbers that nobody asked for yet by [`take_fresh`](Self::take_fresh), and forgets their names.
    pub(super) fn give_up(&mut self) {
        let fresh: HashSet<u32> = self.take_fresh().into_iter().collect();
        self.numbers.retain(|_, number| !fresh.contains(number));
        self.free.extend(fresh);
    }

    /// Ends a compilation whose plan is in force: forgets the names that were not asked for, and frees their
    /// numbers as soon as nobody holds them.
    pub fn sweep(&mut self, is_held: impl Fn(u32) -> bool) {
        let Self { numbers, unused, free, next: _, asked, asked_for, fresh: _ } = self;
        if *asked_for == numbers.len() && unused.is_empty() {
            return;
        }
        unused.extend(numbers.extract_if(|_, number| !asked.get(*number as usize).copied().unwrap_or_default()));
        unused.retain(|_, number| {
            let held = is_held(*number);
            if !held {
                free.insert(*number);
            }
            held
        });
    }

    /// Numbers that no plan names any more and that somebody still holds.
    pub fn retired(&self) -> impl Iterator<Item = u32> + '_ {
        self.unused.values().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_comes_back_gets_the_number_that_is_held() {
        let mut space = Space::default();
        let plan = |space: &mut Space, names: &[&str], held: &[u32]| {
            space.begin();
            let numbers: Vec<u32> = names.iter().map(|name| space.number(name)).collect();
            let fresh = space.take_fresh();
            space.sweep(|number| held.contains(&number));
            (numbers, fresh)
        };
        assert_eq!(plan(&mut space, &["a", "b"], &[]), (vec![0, 1], vec![0, 1]));
        assert_eq!(plan(&mut space, &["b"], &[0]), (vec![1], vec![]));
        assert_eq!(plan(&mut space, &["b", "c"], &[0]), (vec![1, 2], vec![2]), "what is held is no other name's");
        assert_eq!(plan(&mut space, &["a", "b"], &[0]), (vec![0, 1], vec![]), "its counters go on");
        assert_eq!(plan(&mut space, &["b"], &[]), (vec![1], vec![]));
        assert_eq!(plan(&mut space, &["b", "a"], &[]).0, [1, 0]);
        assert_eq!(space.retired().count(), 0);
    }
}
