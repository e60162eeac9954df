//! Which route of a listener a connection falls to.
//!
//! The rules come sorted, most specific first, so the first that fits is the answer: longest source prefix,
//! then longest destination prefix, then the order of the route files.

use crate::address::{Flow, Prefix};

/// One way into a route: every connection whose two ends lie in the two sets.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct RuleRow {
    /// Clients it is for (`sourceSubnet`).
    pub source: Prefix,
    /// Addresses connected to that it is for (`destinationSubnets`).
    pub destination: Prefix,
    /// The route's index in its listener.
    pub route: u32,
    /// Always 0: it fills the row of a map.
    pub reserved: u32,
}

impl RuleRow {
    /// A rule that leads to a route, by its index in the listener.
    pub const fn new(source: Prefix, destination: Prefix, route: u32) -> Self {
        Self { source, destination, route, reserved: 0 }
    }

    /// Whether the rule is for this connection.
    #[allow(clippy::inline_always, reason = "the verifier of kernel programs follows each call for itself")]
    #[inline(always)]
    pub const fn fits(&self, flow: &Flow) -> bool {
        self.source.differs(flow.source) | self.destination.differs(flow.destination) == 0
    }

    /// Sorts rules as a listener must hold them: smaller comes first. Rules that are equal here keep the
    /// order of the route files, so the sort has to be a stable one.
    pub const fn rank(&self) -> (u32, u32) {
        (u32::MAX - self.source.bits, u32::MAX - self.destination.bits)
    }
}

/// The route of the first rule, in the order given, that fits the connection.
pub fn route<'a>(rules: impl IntoIterator<Item = &'a RuleRow>, flow: &Flow) -> Option<u32> {
    rules.into_iter().find(|rule| rule.fits(flow)).map(|rule| rule.route)
}
