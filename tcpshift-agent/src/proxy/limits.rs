//! The limit of open descriptors: raised as far as it may be, and named when it is low.
//!
//! Each connection takes two descriptors.

use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Below this the limit is worth a warning: 32,000 connections or so.
const AMPLE: u64 = 65_536;

/// The limit of open descriptors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Descriptors {
    /// How many this process may have open; none if there is no limit.
    pub limit: Option<u64>,
    /// What to tell the operator if that is little.
    pub warning: Option<String>,
}

/// Raises the soft limit of open descriptors to the hard one, and says what it is now.
pub fn raise() -> Descriptors {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
    {
        log::warn!("cannot raise the limit of open descriptors (RLIMIT_NOFILE): {error}");
    }
    let limit = current_limit();
    Descriptors { limit, warning: limit.and_then(warning) }
}

/// Descriptors that must be left when a start is done, beside those that are reserved: for each worker a listening
/// socket, a client, and the sockets to dial with; and some for the tables of the next plan.
const FIRST_PER_WORKER: u64 = 4;
const NEXT_PLAN: u64 = 8;
/// Descriptors of a worker's runtime.
const RUNTIME_PER_WORKER: u64 = 2;
/// Descriptors of all kernel programs, their maps and links, and of the agent itself.
const PROGRAMS: u64 = 100;

/// Fails if too few descriptors are left to serve a connection. The error says how many there are, and how many are needed.
pub fn enough(workers: usize) -> Result<(), String> {
    check("a start", used() + RESERVED + NEXT_PLAN + FIRST_PER_WORKER * workers as u64)
}

/// Fails if kernel programs would leave too few descriptors to serve a connection. To be called before they are loaded.
pub fn enough_for_programs(workers: usize) -> Result<(), String> {
    let of_workers = (RUNTIME_PER_WORKER + FIRST_PER_WORKER) * workers as u64;
    check("a start with kernel programs", used() + PROGRAMS + RESERVED + NEXT_PLAN + of_workers)
}

/// What to say of an error that a start ended with, if it is that no descriptor was left.
pub fn explain(error: &str) -> Option<String> {
    let is_that = error.contains(&format!("os error {}", Errno::MFILE.raw_os_error()));
    // It had all that may be open, and wants some of each worker beside.
    let needed = current_limit()? + RESERVED + NEXT_PLAN;
    if is_that { check("a start", needed).err() } else { None }
}

fn used() -> u64 {
    // The folder itself is open while it is read.
    std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count).saturating_sub(1) as u64
}

fn check(what: &str, needed: u64) -> Result<(), String> {
    let Some(limit) = current_limit().filter(|limit| *limit < needed) else { return Ok(()) };
    Err(format!(
        "only {limit} descriptors may be open at once (RLIMIT_NOFILE), and {what} takes {needed} here: raise the hard \
         limit (LimitNOFILE=1048576 in the systemd unit, or `ulimit -n`)"
    ))
}

/// The soft limit of open descriptors; none if there is no limit.
pub(super) fn current_limit() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}

/// Descriptors that are left to the rest of the process, so that it can still be asked and told something when
/// clients have taken all others: a socket of the admin API, a file of the state directory.
const RESERVED: u64 = 32;

/// Whether a descriptor is one of those left to the rest of the process. The kernel gives the lowest that is
/// free, so all below it are in use.
pub(super) fn is_reserved(descriptor: BorrowedFd<'_>, limit: Option<u64>) -> bool {
    limit.is_some_and(|limit| number(descriptor) >= unreserved(limit))
}

/// How many descriptors are left to connections, by the one that was had last.
pub(super) fn free(descriptor: BorrowedFd<'_>, limit: Option<u64>) -> u64 {
    limit.map_or(u64::MAX, |limit| unreserved(limit).saturating_sub(number(descriptor)))
}

fn unreserved(limit: u64) -> u64 {
    // With very few in all a quarter of them has to do.
    limit - RESERVED.min(limit / 4)
}

/// Whether more than three quarters of all descriptors are in use: what can do without one should.
pub(super) fn is_scarce(descriptor: BorrowedFd<'_>, limit: Option<u64>) -> bool {
    limit.is_some_and(|limit| number(descriptor) >= limit / 4 * 3)
}

fn number(descriptor: BorrowedFd<'_>) -> u64 {
    u64::try_from(descriptor.as_raw_fd()).unwrap_or(0)
}

fn warning(limit: u64) -> Option<String> {
    (limit < AMPLE).then(|| {
        format!(
            "only {limit} descriptors may be open at once (RLIMIT_NOFILE), enough for about {} connections: \
             raise the hard limit (LimitNOFILE=1048576 in the systemd unit, or `ulimit -n`)",
            limit.saturating_sub(64) / 2
        )
    })
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn the_soft_limit_becomes_the_hard_one() {
        let hard = getrlimit(Resource::Nofile).maximum;
        assert_eq!(raise().limit, hard);
    }

    #[test]
    fn the_highest_descriptors_are_reserved() {
        let file = std::fs::File::open("/dev/null").unwrap();
        let number = u64::try_from(file.as_raw_fd()).unwrap();
        for (limit, reserved) in [(None, false), (Some(number + 33), false), (Some(number + 32), number + 32 >= 128)] {
            assert_eq!(is_reserved(file.as_fd(), limit), reserved, "{number} of {limit:?}");
        }
        assert!(is_reserved(file.as_fd(), Some(number + 1)));
    }

    #[test]
    fn too_few_descriptors_are_named_with_how_many_it_takes() {
        let error = enough(1 << 40).unwrap_err();
        assert!(error.contains("RLIMIT_NOFILE") && error.contains("a start takes"), "{error}");
        assert_eq!(enough(0), Ok(()));
        let error = std::io::Error::from_raw_os_error(Errno::MFILE.raw_os_error()).to_string();
        assert!(explain(&format!("cannot start the proxy: {error}")).is_some_and(|text| text.contains("ulimit -n")));
        assert_eq!(explain("cannot start the proxy: Permission denied (os error 13)"), None);
    }

    #[test]
    fn a_low_limit_names_its_cure() {
        assert!(warning(1024).is_some_and(|text| text.contains("1024") && text.contains("LimitNOFILE=")));
        assert_eq!(warning(AMPLE), None);
    }
}
