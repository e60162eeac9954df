//! When one agent may follow another, and when one that starts has nothing to do. Pure.

/// What a start has come to before it takes anything over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Standing {
    /// Listeners of the plan.
    pub(super) listeners: usize,
    /// Those of them that cannot be served.
    pub(super) down: usize,
    /// Whether one of those is down only until a connection has ended.
    pub(super) is_passing: bool,
    /// Whether clients of services are steered by rules, for which no listener is needed.
    pub(super) has_clients: bool,
}

impl Standing {
    /// Whether there are listeners, none of them can be served before another program lets go, and no client is steered
    /// without one.
    pub(super) fn serves_nothing(self) -> bool {
        self.down > 0 && self.down == self.listeners && !self.has_clients && !self.is_passing
    }
}

/// Why an agent does not take over from one that runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hindrance {
    /// A listener that the other one serves cannot be served here.
    Listener,
    /// So many objects are wrong here, and the other one may still have their last valid versions.
    Problems(usize),
}

/// Whether to take over. `is_alive` is whether the other agent still runs: what one that is gone had is not lost by trying.
pub(super) fn hindrance(is_alive: bool, served_there_and_down_here: bool, problems: usize) -> Option<Hindrance> {
    match (served_there_and_down_here, problems) {
        _ if !is_alive => None,
        (true, _) => Some(Hindrance::Listener),
        (false, 0) => None,
        (false, problems) => Some(Hindrance::Problems(problems)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_starts_if_anything_can_be_served() {
        let all = Standing { listeners: 2, down: 2, ..Standing::default() };
        assert!(all.serves_nothing());
        assert!(!Standing { down: 1, ..all }.serves_nothing(), "one listener is served");
        assert!(!Standing { has_clients: true, ..all }.serves_nothing());
        assert!(!Standing { is_passing: true, ..all }.serves_nothing());
        assert!(!Standing::default().serves_nothing(), "nothing is asked for yet");
    }

    #[test]
    fn what_works_is_not_taken_from_an_agent_that_runs() {
        assert_eq!(hindrance(true, true, 0), Some(Hindrance::Listener));
        assert_eq!(hindrance(true, false, 3), Some(Hindrance::Problems(3)));
        assert_eq!(hindrance(true, false, 0), None);
        assert_eq!(hindrance(false, true, 3), None, "one that is gone serves nobody");
    }
}
