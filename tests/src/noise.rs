//! Bytes that look random and can be made again: what streams carry, and how much of it.
//!
//! The same seed gives the same bytes however they are cut into pieces, so the receiver can check a stream
//! without having seen it.

use std::hash::{DefaultHasher, Hasher};

/// A stream of bytes, given by its seed.
#[derive(Clone, Debug)]
pub struct Noise {
    state: u64,
    left: [u8; 8],
    used: usize,
}

impl Noise {
    /// The stream of a seed, from its beginning.
    pub fn new(seed: u64) -> Self {
        Self { state: seed ^ 0x9e37_79b9_7f4a_7c15, left: [0; 8], used: 8 }
    }

    /// A number, 64 even bits.
    pub fn number(&mut self) -> u64 {
        // Weyl sequence and two multiply-xorshift rounds, as splitmix64 (Steele, Lea, Flood 2014).
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.state;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    /// A number below `bound`, which must not be 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.number() % bound
    }

    /// The next bytes of the stream.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            if self.used == self.left.len() {
                self.left = self.number().to_le_bytes();
                self.used = 0;
            }
            *byte = self.left[self.used];
            self.used += 1;
        }
    }

    /// The next `count` bytes of the stream.
    pub fn take(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.fill(&mut bytes);
        bytes
    }
}

/// The mark of a stream: how long it is, and its hash, in whatever pieces it came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// Bytes.
    pub length: u64,
    hash: u64,
    partial: [u8; 8],
}

impl Mark {
    /// The mark of the first `length` bytes of a seed's stream.
    pub fn of(seed: u64, length: u64) -> Self {
        let (mut noise, mut mark, mut left) = (Noise::new(seed), Self::default(), length);
        let mut piece = vec![0; 65_536];
        while left > 0 {
            let count = left.min(piece.len() as u64) as usize;
            noise.fill(&mut piece[..count]);
            mark.add(&piece[..count]);
            left -= count as u64;
        }
        mark
    }

    /// Takes bytes in.
    pub fn add(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            let index = (self.length % 8) as usize;
            self.partial[index] = byte;
            self.length += 1;
            if index == 7 {
                let mut hasher = DefaultHasher::new();
                hasher.write_u64(self.hash);
                hasher.write(&self.partial);
                self.hash = hasher.finish();
                self.partial = [0; 8];
            }
        }
    }
}
