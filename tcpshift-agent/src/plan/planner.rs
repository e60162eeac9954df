//! Planner: from objects to plans, one after the other, with all that one leaves for the next.

use std::sync::Arc;

use super::host::{Host, Scope};
use super::intent::Intent;
use super::sets::Sets;
use super::{Plan, assemble, resolve};
use crate::route::object::Object;

/// What plans are made with. Its owner owns the plan in force.
#[derive(Debug)]
pub struct Planner {
    /// What the agent counts as being.
    pub scope: Scope,
    /// The host, as it is known now.
    pub host: Host,
    /// Numbers, and the state of endpoints.
    pub memory: assemble::AssemblyMemory,
    resolved: resolve::ResolutionMemory,
}

impl Planner {
    /// One that remembers nothing.
    pub fn new(scope: Scope, host: Host) -> Self {
        Self {
            scope,
            host,
            memory: assemble::AssemblyMemory::default(),
            resolved: resolve::ResolutionMemory::default(),
        }
    }

    /// One that makes the same plans, for one that is only looked at.
    #[must_use]
    pub fn fork(&self) -> Self {
        let assemble::AssemblyMemory { register, states, .. } = &self.memory;
        let memory = assemble::AssemblyMemory::of(register.clone(), states.clone());
        Self { memory, ..Self::new(self.scope.clone(), self.host.clone()) }
    }

    /// What objects ask for.
    pub fn resolve<'a>(&mut self, objects: impl Iterator<Item = &'a Arc<Object>>) -> Intent {
        resolve::resolve(objects, &self.scope, &mut self.resolved)
    }

    /// What objects ask for that were those of an intent, but for some that were replaced. None if all have to be resolved.
    pub fn edit(&mut self, intent: &Intent, edits: &[(Arc<Object>, Arc<Object>)]) -> Option<Intent> {
        let edited = resolve::edit(intent, edits, &self.scope, &mut self.resolved);
        if edited.is_none() {
            self.forget();
        }
        edited
    }

    /// Forgets what objects were resolved to: it is not what is in force.
    pub fn forget(&mut self) {
        self.resolved = resolve::ResolutionMemory::default();
    }

    /// The plan that follows on another one, of an intent.
    pub fn assemble(&mut self, intent: &Intent, last: &Plan) -> Plan {
        assemble::assemble(intent, &self.host, &mut self.memory, last)
    }

    /// The plan that follows on another one, of objects.
    pub fn plan<'a>(&mut self, objects: impl Iterator<Item = &'a Arc<Object>>, last: &Plan) -> Plan {
        let intent = self.resolve(objects);
        self.assemble(&intent, last)
    }

    /// The endpoint sets of the plan that was made last.
    pub fn sets(&self) -> &Sets {
        self.memory.states.sets()
    }
}
