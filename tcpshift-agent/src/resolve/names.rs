//! What is known of each name, and when it is asked for again. No socket and no task.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;

use super::Answers;
use super::lookup::Found;

/// An answer is used at least and at most this long before it is asked for again, whatever its time to live.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_mins(5);

/// After a failure a name is asked for again in this time, twice as long each time, up to the other.
const FIRST_RETRY: Duration = Duration::from_secs(5);
const LAST_RETRY: Duration = Duration::from_mins(1);

/// The names that are wanted.
#[derive(Debug, Default)]
pub(super) struct Names {
    all: BTreeMap<String, Name>,
    /// Answers for names that nobody has wanted yet.
    known: Answers,
    changed: bool,
}

#[derive(Debug)]
struct Name {
    /// Those of the last good answer; none before it.
    addresses: Vec<IpAddr>,
    /// Failures since then.
    failures: u32,
    /// When to ask; none while it is being asked for.
    due: Option<Instant>,
}

impl Names {
    /// No names yet, but answers that an agent before this one had.
    pub(super) fn knowing(known: Answers) -> Self {
        Self { known, ..Self::default() }
    }

    /// Keeps what is known of names that are wanted still, forgets the others, and lets new ones be asked for.
    pub(super) fn want(&mut self, wanted: &BTreeSet<String>) {
        let before = self.all.len();
        self.all.retain(|name, _| wanted.contains(name));
        self.changed |= self.all.len() < before;
        for name in wanted {
            let known = &mut self.known;
            let mut new = || {
                let addresses = known.remove(name).unwrap_or_default();
                Name { addresses, failures: 0, due: Some(Instant::now()) }
            };
            self.all.entry(name.clone()).or_insert_with(&mut new);
        }
        // An old answer is for the first plan alone.
        self.known.clear();
    }

    /// A name to be asked for now.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<String> {
        let (name, known) = self.all.iter_mut().find(|(_, known)| known.due.is_some_and(|due| due <= now))?;
        known.due = None;
        Some(name.clone())
    }

    /// When the next name is to be asked for.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.all.values().filter_map(|known| known.due).min()
    }

    /// Takes note of what a lookup found. Of failures only the first is said.
    pub(super) fn answered(&mut self, name: &str, found: Result<Found, String>, now: Instant) {
        let Some(known) = self.all.get_mut(name) else { return };
        match found {
            Ok(Found { addresses, valid }) => {
                if known.failures > 0 {
                    log::info!("DNS: {name} is resolved again");
                }
                known.failures = 0;
                known.due = Some(now + valid.clamp(SHORTEST, LONGEST));
                if known.addresses != addresses {
                    known.addresses = addresses;
                    self.changed = true;
                }
            }
            Err(reason) => {
                if known.failures == 0 {
                    let kept = match known.addresses.len() {
                        0 => "it has no endpoint until it is resolved",
                        _ => "its last addresses are kept",
                    };
                    log::warn!("DNS: {name} cannot be resolved: {reason}; {kept}, and it is tried again");
                }
                let retry = FIRST_RETRY.saturating_mul(1 << known.failures.min(8)).min(LAST_RETRY);
                known.failures = known.failures.saturating_add(1);
                known.due = Some(now + retry);
            }
        }
    }

    /// Whether the answers are others than those that were taken last.
    pub(super) fn changed(&self) -> bool {
        self.changed
    }

    /// Takes the answers.
    pub(super) fn answers(&mut self) -> Answers {
        self.changed = false;
        let known = self.all.iter().filter(|(_, known)| !known.addresses.is_empty());
        known.map(|(name, known)| (name.clone(), known.addresses.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "echo.example.com";

    fn names() -> Names {
        let mut names = Names::default();
        names.want(&BTreeSet::from([NAME.to_owned()]));
        names
    }

    fn found(last: u8, seconds: u64) -> Found {
        Found { addresses: vec![[10, 0, 0, last].into()], valid: Duration::from_secs(seconds) }
    }

    fn in_seconds(names: &Names, now: Instant) -> u64 {
        (names.next_due().unwrap() - now).as_secs()
    }

    #[test]
    fn a_name_is_asked_for_again_after_its_time_to_live_within_bounds() {
        let (mut names, now) = (names(), Instant::now());
        for (seconds, expected) in [(0, 1), (30, 30), (86_400, 300)] {
            names.answered(NAME, Ok(found(1, seconds)), now);
            assert_eq!(in_seconds(&names, now), expected);
        }
    }

    #[test]
    fn failures_keep_the_last_answer_and_are_retried_ever_later() {
        let (mut names, now) = (names(), Instant::now());
        names.answered(NAME, Ok(found(1, 30)), now);
        assert_eq!(names.answers()[NAME], ["10.0.0.1".parse::<IpAddr>().unwrap()]);
        for expected in [5, 10, 20, 40, 60, 60] {
            names.answered(NAME, Err("no answer".to_owned()), now);
            assert_eq!(in_seconds(&names, now), expected);
        }
        assert!(!names.changed() && names.answers().contains_key(NAME));
        names.answered(NAME, Ok(found(1, 30)), now);
        assert!(!names.changed(), "the same answer is no change");
        names.answered(NAME, Ok(found(2, 30)), now);
        assert!(names.changed() && in_seconds(&names, now) == 30);
    }

    #[test]
    fn an_answer_known_before_stays_until_there_is_another() {
        let address: IpAddr = "10.0.0.7".parse().unwrap();
        let mut names = Names::knowing(Answers::from([(NAME.to_owned(), vec![address])]));
        names.want(&BTreeSet::from([NAME.to_owned(), "other.example.com".to_owned()]));
        names.answered(NAME, Err("no answer".to_owned()), Instant::now());
        names.answered("other.example.com", Ok(found(1, 30)), Instant::now());
        assert_eq!(names.answers()[NAME], [address]);
        names.answered(NAME, Ok(found(2, 30)), Instant::now());
        assert_ne!(names.answers()[NAME], [address]);
    }

    #[test]
    fn what_is_no_longer_wanted_is_forgotten_even_while_it_is_asked_for() {
        let mut names = names();
        assert_eq!(names.take_due(Instant::now()).as_deref(), Some(NAME));
        assert_eq!((names.take_due(Instant::now()), names.next_due()), (None, None));
        names.want(&BTreeSet::new());
        names.answered(NAME, Ok(found(1, 30)), Instant::now());
        assert!(names.answers().is_empty());
    }
}
