//! The limit of open descriptors: raised as far as it may be, and named when it is low.
//!
//! Each connection takes two descriptors. It must not know what else the process opens.

use std::os::fd::{AsRawFd, BorrowedFd};

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
    // With very few in all a quarter of them has to do.
    limit.is_some_and(|limit| number(descriptor) >= limit - RESERVED.min(limit / 4))
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
    fn a_low_limit_names_its_cure() {
        assert!(warning(1024).is_some_and(|text| text.contains("1024") && text.contains("LimitNOFILE=")));
        assert_eq!(warning(AMPLE), None);
    }
}
