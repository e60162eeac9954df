//! What is known of each name, and when it is asked for again. No socket and no task.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;

use super::Answers;
use super::lookup::{Family, Found};

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
    /// When names are asked for, the next one first. What a name itself says is another time for is over.
    due: BTreeSet<(Instant, String)>,
    /// Answers for names that nobody has wanted yet.
    known: Answers,
    changed: bool,
}

#[derive(Debug)]
struct Name {
    /// Those of the last good answer of each family; none before it.
    addresses: Vec<IpAddr>,
    /// Lookups since the last one that was answered for both families.
    failures: u32,
    /// What was said to be missing.
    missing: Option<Missing>,
    /// When to ask; none while it is being asked for.
    due: Option<Instant>,
}

/// What of a name is not answered for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Missing {
    One(Family),
    All,
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
        let now = Instant::now();
        for name in wanted {
            let Self { known, due, .. } = self;
            self.all.entry(name.clone()).or_insert_with(|| {
                due.insert((now, name.clone()));
                let addresses = known.remove(name).unwrap_or_default();
                Name { addresses, failures: 0, missing: None, due: Some(now) }
            });
        }
        // An old answer is for the first plan alone.
        self.known.clear();
    }

    /// A name to be asked for now.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<String> {
        self.next_due().filter(|due| *due <= now)?;
        let (_, name) = self.due.pop_first()?;
        self.all.get_mut(&name)?.due = None;
        Some(name)
    }

    /// When the next name is to be asked for.
    pub(super) fn next_due(&mut self) -> Option<Instant> {
        while let Some((due, name)) = self.due.first() {
            if self.all.get(name).is_some_and(|known| known.due == Some(*due)) {
                return Some(*due);
            }
            self.due.pop_first();
        }
        None
    }

    /// Takes note of what a lookup found. A family that was not answered for keeps its last addresses. What is missing is
    /// said once.
    pub(super) fn answered(&mut self, name: &str, found: Result<Found, String>, now: Instant) {
        let Some(known) = self.all.get_mut(name) else { return };
        match found {
            Ok(Found { mut addresses, unanswered, valid }) => {
                known.due = Some(now + valid.clamp(SHORTEST, LONGEST));
                let mut seen = BTreeSet::new();
                addresses.retain(|ip| seen.insert(*ip));
                match unanswered {
                    None => known.is_answered(name),
                    Some((family, reason)) => {
                        let last = known.addresses.iter().copied().filter(|ip| Family::of(*ip) == family);
                        addresses.extend(last);
                        addresses.sort_by_key(IpAddr::is_ipv6);
                        known.lacks(name, Missing::One(family), &reason, now);
                    }
                }
                // The order says nothing: many servers turn it with every answer.
                let is_other = known.addresses.len() != addresses.len()
                    || addresses.iter().any(|ip| !known.addresses.contains(ip));
                if is_other {
                    known.addresses = addresses;
                    self.changed = true;
                }
            }
            Err(reason) => {
                known.due = None;
                known.lacks(name, Missing::All, &reason, now);
            }
        }
        self.due.extend(known.due.map(|due| (due, name.to_owned())));
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

impl Name {
    /// Nothing is missing.
    fn is_answered(&mut self, name: &str) {
        if self.missing.take().is_some() {
            log::info!("DNS: {name} is resolved again");
        }
        self.failures = 0;
    }

    /// Says that something is missing, and lets it be asked for again soon, or earlier if it is due.
    fn lacks(&mut self, name: &str, missing: Missing, reason: &str, now: Instant) {
        if self.missing.replace(missing) != Some(missing) {
            let (what, is_known) = match missing {
                Missing::All => (String::new(), !self.addresses.is_empty()),
                Missing::One(family) => {
                    let is_known = self.addresses.iter().any(|ip| Family::of(*ip) == family);
                    (format!(" to {} addresses", family.name()), is_known)
                }
            };
            let kept = match (is_known, missing) {
                (true, _) => "its last addresses are kept",
                (false, Missing::All) => "it has no endpoint until it is resolved",
                (false, Missing::One(_)) => "it has none of them until it is resolved",
            };
            log::warn!("DNS: {name} cannot be resolved{what}: {reason}; {kept}, and it is tried again");
        }
        let retry = now + FIRST_RETRY.saturating_mul(1 << self.failures.min(8)).min(LAST_RETRY);
        self.failures = self.failures.saturating_add(1);
        self.due = Some(self.due.map_or(retry, |due| due.min(retry)));
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
        Found { addresses: vec![v4(last)], unanswered: None, valid: Duration::from_secs(seconds) }
    }

    fn v4(last: u8) -> IpAddr {
        [10, 0, 0, last].into()
    }

    fn v6(last: u16) -> IpAddr {
        [0x2001, 0xdb8, 0, 0, 0, 0, 0, last].into()
    }

    fn in_seconds(names: &mut Names, now: Instant) -> u64 {
        (names.next_due().unwrap() - now).as_secs()
    }

    #[test]
    fn a_name_is_asked_for_again_after_its_time_to_live_within_bounds() {
        let (mut names, now) = (names(), Instant::now());
        for (seconds, expected) in [(0, 1), (30, 30), (86_400, 300)] {
            names.answered(NAME, Ok(found(1, seconds)), now);
            assert_eq!(in_seconds(&mut names, now), expected);
        }
    }

    #[test]
    fn names_are_asked_for_in_the_order_in_which_they_are_due() {
        let (mut names, now) = (Names::default(), Instant::now());
        names.want(&["a", "b", "c"].map(str::to_owned).into());
        for (name, seconds) in [("a", 20), ("b", 10), ("c", 30)] {
            assert_eq!(names.take_due(now + Duration::from_secs(1)).as_deref(), Some(name));
            names.answered(name, Ok(found(1, seconds)), now);
        }
        let mut due = |seconds| names.take_due(now + Duration::from_secs(seconds));
        assert_eq!(due(9), None);
        assert_eq!([due(25), due(25), due(25)].map(Option::unwrap_or_default), ["b", "a", ""]);
        assert_eq!(due(30).as_deref(), Some("c"));
    }

    #[test]
    fn failures_keep_the_last_answer_and_are_retried_ever_later() {
        let (mut names, now) = (names(), Instant::now());
        names.answered(NAME, Ok(found(1, 30)), now);
        assert_eq!(names.answers()[NAME], ["10.0.0.1".parse::<IpAddr>().unwrap()]);
        for expected in [5, 10, 20, 40, 60, 60] {
            names.answered(NAME, Err("no answer".to_owned()), now);
            assert_eq!(in_seconds(&mut names, now), expected);
        }
        assert!(!names.changed() && names.answers().contains_key(NAME));
        names.answered(NAME, Ok(found(1, 30)), now);
        assert!(!names.changed(), "the same answer is no change");
        names.answered(NAME, Ok(found(2, 30)), now);
        assert!(names.changed() && in_seconds(&mut names, now) == 30);
    }

    #[test]
    fn a_family_that_is_not_answered_for_keeps_its_addresses() {
        let (mut names, now) = (names(), Instant::now());
        let found = |addresses: &[IpAddr], missing: Option<Family>| {
            let unanswered = missing.map(|family| (family, "SERVFAIL".to_owned()));
            Ok(Found { addresses: addresses.to_vec(), unanswered, valid: Duration::from_secs(100) })
        };
        names.answered(NAME, found(&[v4(1), v4(2), v6(1)], None), now);
        assert!(names.changed() && names.answers()[NAME].len() == 3);
        names.answered(NAME, found(&[v6(1)], Some(Family::V4)), now);
        assert!(!names.changed() && in_seconds(&mut names, now) == 5, "IPv4 is asked for again before IPv6 is due");
        names.answered(NAME, found(&[v6(2)], Some(Family::V4)), now);
        assert!(names.changed() && in_seconds(&mut names, now) == 10);
        assert_eq!(names.answers()[NAME], [v4(1), v4(2), v6(2)], "the other family has its new answer");
        names.answered(NAME, found(&[v4(1)], Some(Family::V6)), now);
        assert_eq!(names.answers()[NAME], [v4(1), v6(2)]);
        names.answered(NAME, found(&[v4(1)], None), now);
        assert_eq!(names.answers()[NAME], [v4(1)], "that there is no IPv6 address is an answer");
        assert_eq!(in_seconds(&mut names, now), 100);
    }

    #[test]
    fn the_order_of_an_answer_says_nothing() {
        let (mut names, now) = (names(), Instant::now());
        let found = |addresses: [u8; 3]| {
            Ok(Found { addresses: addresses.map(v4).to_vec(), unanswered: None, valid: Duration::from_secs(1) })
        };
        names.answered(NAME, found([1, 2, 3]), now);
        names.answers();
        for order in [[2, 3, 1], [3, 1, 2], [3, 2, 1]] {
            names.answered(NAME, found(order), now);
            assert!(!names.changed(), "{order:?}");
        }
        names.answered(NAME, found([1, 2, 4]), now);
        assert!(names.changed());
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
        // Wanted again, it is asked for again, once.
        names.want(&BTreeSet::from([NAME.to_owned()]));
        names.want(&BTreeSet::new());
        names.want(&BTreeSet::from([NAME.to_owned()]));
        assert_eq!(names.take_due(Instant::now()).as_deref(), Some(NAME));
        assert_eq!((names.take_due(Instant::now()), names.next_due()), (None, None));
    }
}
