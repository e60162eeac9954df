//! Scenarios that cannot be right on a kernel, by name, each with what they say there and why. A machine whose verdict is
//! another one than this list says fails the matrix, whether it is better or worse.

use super::version::Version;

/// Scenarios that are expected to fail.
#[derive(Debug)]
pub(crate) struct Exception {
    /// The last kernel on which they do.
    pub(crate) until: Version,
    /// By their names, or by what these begin with and `*`.
    pub(crate) scenarios: &'static [&'static str],
    /// What is part of what they say.
    pub(crate) said: &'static str,
    /// Why, for docs/kernels.md.
    pub(crate) why: &'static str,
}

impl Exception {
    pub(crate) fn covers(&self, kernel: Version, scenario: &str) -> bool {
        let is_meant = |name: &&str| match name.strip_suffix('*') {
            Some(begin) => scenario.starts_with(begin),
            None => scenario == *name,
        };
        kernel <= self.until && self.scenarios.iter().any(is_meant)
    }
}

/// All of them.
pub(crate) const EXCEPTIONS: [Exception; 1] = [Exception {
    until: Version::new(5, 11, u32::MAX),
    scenarios: &["doctor", "assign", "map", "walk lookup *", "walk connect *"],
    said: "uses reserved fields",
    why: "The programs add to counters atomically and use what was there before: Linux 5.12 and later take such programs.",
}];
