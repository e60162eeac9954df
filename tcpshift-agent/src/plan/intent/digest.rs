//! A digest of what objects ask for: two agents that were given the same have the same one.

use std::fmt;
use std::hash::{Hash, Hasher};

use sha2::{Digest as _, Sha256};

/// The first half of a SHA-256.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 16]);

/// In hexadecimal, 32 digits.
impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Digest {
    /// That of a value.
    pub fn of(value: &impl Hash) -> Self {
        let mut feed = Feed(Sha256::new());
        value.hash(&mut feed);
        feed.end()
    }

    /// That of several values that have one each, in any order.
    pub fn of_all(parts: impl Iterator<Item = Self>) -> Self {
        let mut parts: Vec<Self> = parts.collect();
        parts.sort_unstable();
        let mut feed = Feed(Sha256::new());
        for part in parts {
            feed.write(&part.0);
        }
        feed.end()
    }
}

/// Takes what [`Hash`] gives. Numbers are little-endian on every machine.
struct Feed(Sha256);

impl Feed {
    fn end(self) -> Digest {
        let whole = self.0.finalize();
        let mut half = [0; 16];
        half.copy_from_slice(&whole[..16]);
        Digest(half)
    }
}

impl Hasher for Feed {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn write_u16(&mut self, number: u16) {
        self.write(&number.to_le_bytes());
    }

    fn write_u32(&mut self, number: u32) {
        self.write(&number.to_le_bytes());
    }

    fn write_u64(&mut self, number: u64) {
        self.write(&number.to_le_bytes());
    }

    fn write_u128(&mut self, number: u128) {
        self.write(&number.to_le_bytes());
    }

    fn write_usize(&mut self, number: usize) {
        self.write_u64(number as u64);
    }

    fn write_isize(&mut self, number: isize) {
        self.write_u64(number as u64);
    }

    /// It is the bytes that count; [`Feed::end`] gives them.
    fn finish(&self) -> u64 {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_count_in_any_order_and_each_byte_counts() {
        let parts = ["a", "b", "c"].map(|part| Digest::of(&part));
        let all = |order: [usize; 3]| Digest::of_all(order.into_iter().map(|at| parts[at]));
        assert_eq!(all([0, 1, 2]), all([2, 0, 1]));
        assert_ne!(all([0, 1, 2]), all([0, 1, 1]));
        assert_ne!(Digest::of(&("ab", "c")), Digest::of(&("a", "bc")));
        assert_eq!(Digest::of(&1_u32).to_string().len(), 32);
    }
}
