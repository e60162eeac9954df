//! What the agent has on the host is looked at again: others may take away a cgroup, names in the bpf filesystem, the admin
//! socket, or the state directory. What can be made again is; what cannot is said once, in the log and in `status`.

use std::collections::BTreeSet;

use super::App;
use crate::rights;

/// What is missing now, in words.
#[derive(Debug, Default)]
pub(super) struct Missing(BTreeSet<String>);

impl Missing {
    fn set(&mut self, now: BTreeSet<String>) {
        now.difference(&self.0).for_each(|new| log::warn!("{new}"));
        self.0.difference(&now).for_each(|over| log::info!("this is over: {over}"));
        self.0 = now;
    }

    /// For people.
    pub(super) fn notes(&self) -> impl Iterator<Item = String> {
        self.0.iter().cloned()
    }
}

impl App {
    /// Looks whether all is there.
    pub(super) async fn look_after(&mut self) {
        let mut missing: BTreeSet<String> = self.assignment.look_after().into_iter().collect();
        if let Some(Err(error)) = self.desk.as_mut().map(super::succession::Desk::look) {
            missing.insert(format!("no command reaches this agent: {error:#}"));
        }
        if let Some(end) = rights::lost() {
            missing.insert(format!(
                "the process tcpshift-rights has ended ({end}): until the next start, or `run --takeover`, this agent can make \
                 no map for another plan, copy no listening socket, and open no port below 1024"
            ));
        }
        let store = self.store.clone();
        match self.state.with(&self.beside, move |state| state.renew(store.applied())).await {
            Ok(false) => {}
            Ok(true) => log::warn!("somebody removed the state directory; it is there again, with all that is applied"),
            Err(error) => {
                missing.insert(format!("{error:#}"));
            }
        }
        self.missing.set(missing);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_noted_until_it_is_there() {
        let mut missing = Missing::default();
        missing.set(BTreeSet::from(["the cgroup is gone".to_owned()]));
        assert_eq!(missing.notes().collect::<Vec<_>>(), ["the cgroup is gone"]);
        missing.set(BTreeSet::new());
        assert_eq!(missing.notes().count(), 0);
    }
}
