//! The limit of open descriptors: raised as far as it may be, and named when it is low.
//!
//! Each connection takes two descriptors. It must not know what else the process opens.

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
    use super::*;

    #[test]
    fn the_soft_limit_becomes_the_hard_one() {
        let hard = getrlimit(Resource::Nofile).maximum;
        assert_eq!(raise().limit, hard);
    }

    #[test]
    fn a_low_limit_names_its_cure() {
        assert!(warning(1024).is_some_and(|text| text.contains("1024") && text.contains("LimitNOFILE=")));
        assert_eq!(warning(AMPLE), None);
    }
}
