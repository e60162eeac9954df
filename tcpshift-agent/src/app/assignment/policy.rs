//! What is done when programs cannot have a plan, or what is pinned cannot be had. Pure.

use std::time::Duration;

use super::Assign;

/// How long is waited before what is pinned is tried again, at first and at most.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(8);

/// What is done about a plan for which programs cannot have tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Remedy {
    /// The change is refused; the plan before stays in force.
    Refuse,
    /// The plan comes into force, and programs go on by the one before.
    FallBehind,
    /// The plan comes into force, and the agent decides by it.
    StandAside,
}

/// Who wants the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::app) enum Prompt {
    /// Somebody who waits for an answer.
    Request,
    /// The files, or an event: nobody can be refused.
    Event,
}

/// What is done about a plan that programs cannot have. `decides` is whether they decide now; `has_clients` is whether they
/// steer clients who connect to services, whom nobody else can serve.
pub(super) fn remedy(prompt: Prompt, asked: Assign, decides: bool, has_clients: bool) -> Remedy {
    match prompt {
        Prompt::Request if decides && (asked == Assign::Kernel || has_clients) => Remedy::Refuse,
        Prompt::Event if has_clients => Remedy::FallBehind,
        Prompt::Request | Prompt::Event => Remedy::StandAside,
    }
}

/// Whether an agent that cannot have what is pinned starts all the same, and tries again.
pub(super) fn starts_without(asked: Assign) -> bool {
    asked == Assign::Auto
}

/// How long is waited before the next attempt, after one that came `last` after the one before it.
pub(super) fn pause(last: Option<Duration>) -> Duration {
    last.map_or(FIRST_PAUSE, |last| (last * 2).min(LONGEST_PAUSE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_refused_only_where_programs_decide_and_nobody_else_may() {
        let by_request = |asked, decides, clients| remedy(Prompt::Request, asked, decides, clients);
        assert_eq!(by_request(Assign::Kernel, true, false), Remedy::Refuse);
        assert_eq!(by_request(Assign::Auto, true, true), Remedy::Refuse);
        assert_eq!(by_request(Assign::Auto, true, false), Remedy::StandAside);
        assert_eq!(by_request(Assign::Kernel, false, true), Remedy::StandAside, "they do not decide anyway");
    }

    #[test]
    fn clients_of_services_are_never_left_without_programs_by_a_file() {
        for asked in [Assign::Auto, Assign::Kernel] {
            assert_eq!(remedy(Prompt::Event, asked, true, true), Remedy::FallBehind);
            assert_eq!(remedy(Prompt::Event, asked, true, false), Remedy::StandAside);
        }
    }

    #[test]
    fn attempts_come_ever_more_seldom_up_to_a_bound() {
        let mut last = None;
        let pauses: Vec<u64> = std::iter::repeat_with(|| {
            let next = pause(last);
            last = Some(next);
            next.as_secs()
        })
        .take(5)
        .collect();
        assert_eq!(pauses, [1, 2, 4, 8, 8]);
        assert!(starts_without(Assign::Auto) && !starts_without(Assign::Kernel));
    }
}
