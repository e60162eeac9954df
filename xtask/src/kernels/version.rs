//! Which kernel is meant: a series, an exact version, or the newest; and which of those that the archive has is it.

use std::fmt;
use std::str::FromStr;

/// A version of Linux, as upstream numbers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Version {
    pub(crate) major: u32,
    pub(crate) minor: u32,
    pub(crate) patch: u32,
}

impl Version {
    pub(crate) const fn new(major: u32, minor: u32, patch: u32) -> Self {
        Self { major, minor, patch }
    }

    /// Whether it is of the series of another one, as 6.12.43 and 6.12.118 are.
    pub(crate) fn is_of_series(self, other: Self) -> bool {
        (self.major, self.minor) == (other.major, other.minor)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// Of what begins with three numbers, as `6.12.43-1~bpo12+1` does. A release candidate is none.
impl FromStr for Version {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let upstream = text.split(['-', '+']).next().unwrap_or_default();
        let numbers: Result<Vec<u32>, _> = upstream.split('.').map(str::parse).collect();
        match numbers.as_deref() {
            Ok([major, minor, patch]) => Ok(Self::new(*major, *minor, *patch)),
            _ => Err(()),
        }
    }
}

/// A kernel that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KernelChoice {
    /// The newest of a series, such as `6.12`.
    Series(u32, u32),
    /// That one, such as `6.12.43`; the newest of its series where the archive has it no more.
    Exact(Version),
    /// The newest of all.
    Newest,
}

impl KernelChoice {
    /// The one of those that are there; none if the archive has nothing of the series.
    pub(crate) fn choose(self, there: &[Version]) -> Option<Version> {
        let newest = |is_meant: &dyn Fn(&Version) -> bool| there.iter().copied().filter(|one| is_meant(one)).max();
        match self {
            Self::Newest => newest(&|_| true),
            Self::Series(major, minor) => newest(&|one| one.is_of_series(Version::new(major, minor, 0))),
            Self::Exact(version) => newest(&|one| *one == version).or_else(|| newest(&|one| one.is_of_series(version))),
        }
    }
}

impl fmt::Display for KernelChoice {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Newest => to.write_str("newest"),
            Self::Series(major, minor) => write!(to, "{major}.{minor}"),
            Self::Exact(version) => version.fmt(to),
        }
    }
}

impl FromStr for KernelChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "newest" {
            return Ok(Self::Newest);
        }
        let numbers: Result<Vec<u32>, _> = text.split('.').map(str::parse).collect();
        match numbers.as_deref() {
            Ok([major, minor]) => Ok(Self::Series(*major, *minor)),
            Ok([major, minor, patch]) => Ok(Self::Exact(Version::new(*major, *minor, *patch))),
            _ => Err("a series such as 6.12, a version such as 6.12.43, or newest".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Version {
        text.parse().unwrap()
    }

    #[test]
    fn versions_are_read_from_those_of_packages() {
        assert_eq!(version("6.12.43-1~bpo12+1"), Version::new(6, 12, 43));
        assert_eq!(version("5.10.262-1").to_string(), "5.10.262");
        assert_eq!(version("7.3.4+deb13-cloud-amd64"), Version::new(7, 3, 4));
        for text in ["6.12", "7.4~rc3-1~exp1", "", "6.x.1"] {
            assert_eq!(text.parse::<Version>(), Err(()), "{text}");
        }
    }

    #[test]
    fn what_is_there_no_more_is_the_newest_of_its_series() {
        let there = ["5.10.262", "6.12.43", "6.12.118", "6.12.9", "7.3.4"].map(version);
        let chosen = |asked: &str| asked.parse::<KernelChoice>().unwrap().choose(&there).map(|one| one.to_string());
        for (asked, expected) in [
            ("5.10", Some("5.10.262")),
            ("6.12", Some("6.12.118")),
            ("6.12.43", Some("6.12.43")),
            ("6.12.44", Some("6.12.118")),
            ("newest", Some("7.3.4")),
            ("6.1", None),
        ] {
            assert_eq!(chosen(asked).as_deref(), expected, "{asked}");
        }
        for wrong in ["", "6", "six", "6.1.2.3", "-1.2"] {
            assert!(wrong.parse::<KernelChoice>().is_err(), "{wrong}");
        }
    }
}
