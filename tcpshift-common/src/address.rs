//! Addresses, prefixes and flows as plain numbers, the same for IPv4 and IPv6.
//!
//! An IPv4 address is held as its IPv4-mapped IPv6 address (RFC 4291, 2.5.5.2), so that one client hashes alike on an
//! IPv4 and on a dual-stack socket.

use core::net::{IpAddr, SocketAddr};

/// Bits in front of the IPv4 part of a mapped address.
const MAPPED_BITS: u32 = 96;
/// What stands in front of the IPv4 part in the last 64 bits.
const V4: u64 = 0xffff_0000_0000;

/// An IPv6 address, or an IPv4 address in its mapped form, as a number of 128 bits.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address {
    /// The first 64 bits.
    pub high: u64,
    /// The last 64 bits.
    pub low: u64,
}

impl Address {
    /// The mapped form of an IPv4 address.
    pub const fn v4(octets: [u8; 4]) -> Self {
        Self { high: 0, low: V4 | u32::from_be_bytes(octets) as u64 }
    }

    /// An IPv6 address; a mapped one is the IPv4 address it stands for.
    pub const fn v6(octets: [u8; 16]) -> Self {
        let number = u128::from_be_bytes(octets);
        Self { high: (number >> 64) as u64, low: number as u64 }
    }

    /// The address in network order.
    pub const fn octets(self) -> [u8; 16] {
        ((self.high as u128) << 64 | self.low as u128).to_be_bytes()
    }

    /// Both halves.
    pub const fn words(self) -> [u64; 2] {
        [self.high, self.low]
    }

    /// Whether this stands for an IPv4 address.
    pub const fn is_v4(self) -> bool {
        self.high == 0 && self.low >> 32 == V4 >> 32
    }

    /// 0 if this stands for an IPv4 address, else 1, as a number that is come to without a branch.
    pub const fn is_v6(self) -> u32 {
        let differs = self.high | (self.low ^ V4) >> 32;
        ((differs | differs.wrapping_neg()) >> 63) as u32
    }

    /// The address with all but its first bits cleared: `v4_bits` (0 to 32) of an IPv4 address, `v6_bits`
    /// (0 to 128) of any other. More bits than there are keep the whole address.
    #[must_use]
    pub const fn prefix(self, v4_bits: u32, v6_bits: u32) -> [u64; 2] {
        let bits = if self.is_v4() { MAPPED_BITS.saturating_add(v4_bits) } else { v6_bits };
        [self.high & mask(bits), self.low & mask(bits.saturating_sub(64))]
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

/// What tells [`family::V6`] from the others, and says that an address is an IPv4 address.
const NOT_V4: u32 = 2;

/// A set of addresses: all of them, or those of one family that begin with the same bits.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Prefix {
    /// The first address of the set; the bits after `bits` are zero.
    pub address: Address,
    /// The bits of an address that count.
    pub mask: Address,
    /// How many of them, in the address's own family: 0 to 32, or 0 to 128.
    pub bits: u32,
    /// One of [`family`].
    pub family: u32,
}

impl Prefix {
    /// The set of every address of both families.
    pub const ANY: Self =
        Self { address: Address { high: 0, low: 0 }, mask: Address { high: 0, low: 0 }, bits: 0, family: family::ANY };

    /// The IPv4 addresses whose first bits (0 to 32) are those of one.
    pub const fn v4(octets: [u8; 4], bits: u32) -> Self {
        Self::new(Address::v4(octets), bits, MAPPED_BITS.saturating_add(bits), family::V4)
    }

    /// The IPv6 addresses whose first bits (0 to 128) are those of one.
    pub const fn v6(octets: [u8; 16], bits: u32) -> Self {
        Self::new(Address::v6(octets), bits, bits, family::V6)
    }

    const fn new(address: Address, bits: u32, counted: u32, family: u32) -> Self {
        let mask = Address { high: mask(counted), low: mask(counted.saturating_sub(64)) };
        let address = Address { high: address.high & mask.high, low: address.low & mask.low };
        Self { address, mask, bits, family }
    }

    /// Zero if `address` lies in the set. Without a branch, since the kernel's verifier follows every one of them, in
    /// every rule.
    #[allow(clippy::inline_always, reason = "the verifier follows each call for itself")]
    #[inline(always)]
    pub const fn differs(&self, address: Address) -> u64 {
        // The mask of an IPv4 prefix holds the bits that say so; that of `::/0` holds none.
        let v4 = address.is_v6().wrapping_sub(1) & NOT_V4;
        (address.high ^ self.address.high) & self.mask.high
            | (address.low ^ self.address.low) & self.mask.low
            | (self.family & v4 & NOT_V4) as u64
    }

    /// Whether `address` lies in the set.
    pub const fn contains(&self, address: Address) -> bool {
        self.differs(address) == 0
    }
}

/// One address alone.
impl From<IpAddr> for Prefix {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self::v4(address.octets(), 32),
            IpAddr::V6(address) => Self::v6(address.octets(), 128),
        }
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

impl Flow {
    /// The flow of a client that has connected to an address.
    pub fn between(client: SocketAddr, to: SocketAddr) -> Self {
        Self {
            source: client.ip().into(),
            destination: to.ip().into(),
            source_port: client.port().into(),
            destination_port: to.port().into(),
        }
    }
}
