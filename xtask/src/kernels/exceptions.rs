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
        kernel <= self.until && self.scenarios.iter().any(|name| is_meant(name, scenario))
    }
}

fn is_meant(name: &str, scenario: &str) -> bool {
    name.strip_suffix('*').map_or(scenario == name, |begin| scenario.starts_with(begin))
}

/// All of them.
pub(crate) const EXCEPTIONS: [Exception; 1] = [Exception {
    until: Version::new(5, 17, u32::MAX),
    scenarios: &["refused connect"],
    said: "PermissionDenied",
    why: "A program at connect(2) cannot choose the error before Linux 5.18 (`bpf_set_retval`): the client of a refused share has \
          EPERM (`__cgroup_bpf_run_filter_sock_addr`, 5.10), and not ECONNREFUSED. Which connections are refused is right.",
}];

/// Whether a kernel has scenarios that are expected to fail, which end early.
pub(crate) fn any(kernel: Version) -> bool {
    EXCEPTIONS.iter().any(|exception| kernel <= exception.until)
}

/// Names that mean no scenario of those that are there.
pub(crate) fn unknown(scenarios: &[&str]) -> Vec<&'static str> {
    let names = EXCEPTIONS.iter().flat_map(|exception| exception.scenarios);
    names.copied().filter(|name| !scenarios.iter().any(|scenario| is_meant(name, scenario))).collect()
}
