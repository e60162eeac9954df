//! Why the agent itself ended a connection that was served, in numbers for counting and in words for people.

use std::fmt;

/// Why the agent ended a connection that was served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Ended {
    /// It passed no byte for as long as it may be idle.
    IdleTimeout,
    /// It lasted as long as it may last at all.
    MaxDuration,
    /// One side had ended its stream, and the other passed no byte for as long as it may be silent then.
    HalfClosedTimeout,
    /// Somebody asked for its end.
    Closed,
}

impl Ended {
    /// How many reasons there are.
    pub const COUNT: usize = 4;

    /// Every reason, each at the index that is its number.
    pub const ALL: [Self; Self::COUNT] = [Self::IdleTimeout, Self::MaxDuration, Self::HalfClosedTimeout, Self::Closed];
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::IdleTimeout => "idle timeout",
            Self::MaxDuration => "maximum duration",
            Self::HalfClosedTimeout => "half-closed timeout",
            Self::Closed => "request",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_stands_at_its_number() {
        for (index, reason) in Ended::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, index);
        }
    }
}
