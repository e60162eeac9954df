//! Addresses, prefixes and flows as plain numbers, the same for IPv4 and IPv6.
//!
//! An IPv4 address is held as its IPv4-mapped IPv6 address (RFC 4291, 2.5.5.2), so that one client hashes
//! alike on an IPv4 and on a dual-stack socket. This file must not know of sockets.

use core::net::IpAddr;

/// Bits in front of the IPv4 part of a mapped address.
const MAPPED_BITS: u32 = 96;

/// An IPv6 address, or an IPv4 address in its mapped form, as 16 bytes in network order.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address {
    /// Network order.
    pub bytes: [u8; 16],
}

impl Address {
    /// The mapped form of an IPv4 address.
    pub const fn v4(octets: [u8; 4]) -> Self {
        let [a, b, c, d] = octets;
        Self { bytes: [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d] }
    }

    /// An IPv6 address; a mapped one is the IPv4 address it stands for.
    pub const fn v6(octets: [u8; 16]) -> Self {
        Self { bytes: octets }
    }

    /// Both halves as big-endian words.
    pub const fn words(self) -> [u64; 2] {
        let b = self.bytes;
        [
            u64::from_be_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]),
            u64::from_be_bytes([b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]]),
        ]
    }

    /// Whether this stands for an IPv4 address.
    pub const fn is_v4(self) -> bool {
        let [high, low] = self.words();
        high == 0 && low >> 32 == 0xffff
    }

    /// The address with all but its first bits cleared: `v4_bits` (0 to 32) of an IPv4 address, `v6_bits`
    /// (0 to 128) of any other. More bits than there are keep the whole address.
    #[must_use]
    pub const fn prefix(self, v4_bits: u32, v6_bits: u32) -> [u64; 2] {
        let bits = if self.is_v4() { MAPPED_BITS.saturating_add(v4_bits) } else { v6_bits };
        let [high, low] = self.words();
        [high & mask(bits), low & mask(bits.saturating_sub(64))]
    }
}

impl From<IpAddr> for Address {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self::v4(address.octets()),
            IpAddr::V6(address) => Self::v6(address.octets()),
        }
    }
}

/// A word whose first `bits` bits are set.
const fn mask(bits: u32) -> u64 {
    match bits {
        0 => 0,
        1..=63 => u64::MAX << (64 - bits),
        _ => u64::MAX,
    }
}

/// Which addresses a [`Prefix`] speaks of.
pub mod family {
    /// Every address.
    pub const ANY: u32 = 0;
    /// IPv4 addresses only.
    pub const V4: u32 = 4;
    /// IPv6 addresses only.
    pub const V6: u32 = 6;
}

/// A set of addresses: all of them, or those of one family that begin with the same bits.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Prefix {
    /// The first address of the set; the bits after `bits` are zero.
    pub address: Address,
    /// Leading bits that count, in the address's own family: 0 to 32, or 0 to 128.
    pub bits: u32,
    /// One of [`family`].
    pub family: u32,
}

impl Prefix {
    /// The set of every address of both families.
    pub const ANY: Self = Self { address: Address { bytes: [0; 16] }, bits: 0, family: family::ANY };

    /// Whether `address` lies in the set.
    pub const fn contains(&self, address: Address) -> bool {
        let same_family = match self.family {
            family::ANY => return true,
            family::V4 => address.is_v4(),
            _ => !address.is_v4(),
        };
        let [a, b] = address.prefix(self.bits, self.bits);
        let [c, d] = self.address.words();
        same_family && a == c && b == d
    }
}

/// The two ends of one connection as the listener sees it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Flow {
    /// The client.
    pub source: Address,
    /// The address the client connected to.
    pub destination: Address,
    /// The client's port, host order.
    pub source_port: u32,
    /// The port the client connected to, host order.
    pub destination_port: u32,
}
