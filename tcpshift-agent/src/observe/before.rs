//! What the agent before this one still carries, as it told last.

use std::collections::HashMap;

/// The agent before this one, which lets its connections end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Before {
    /// Who it is.
    pub peer: String,
    /// Connections that it carries.
    pub active: u64,
    /// Those of them that go where this agent's plan leads too, by number of the destination.
    pub destinations: HashMap<u32, u64>,
}

impl Before {
    /// Takes what it told.
    pub fn told(&mut self, active: u64, destinations: impl IntoIterator<Item = (u32, u64)>) {
        self.active = active;
        self.destinations.extend(destinations);
        self.destinations.retain(|_, carried| *carried > 0);
    }
}
