//! Why a connection that is carried could not be served, in numbers for counting and in words for people. `counts` counts
//! them. What programs refuse in the kernel they count themselves, and `admin/status` has the words.

use std::{fmt, io};

use rustix::io::Errno;

use crate::plan::Unusable;

/// Why a connection could not be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ConnectionFailure {
    /// The plan knows no such host.
    UnknownHost,
    /// The plan knows no such subset.
    UnknownSubset,
    /// The plan knows no such port.
    UnknownPort,
    /// The destination has no endpoint.
    NoEndpoint,
    /// DNS has not answered for the destination's host names.
    Unresolved,
    /// All endpoints are listeners of this agent.
    OwnListener,
    /// The destination has as many connections as it may have.
    ConnectionLimit,
    /// The endpoint answered with RST: no socket listens there.
    ConnectRefused,
    /// No endpoint answered in time.
    ConnectTimeout,
    /// No way to the endpoint.
    ConnectUnreachable,
    /// Any other error of connecting.
    ConnectFailed,
    /// Every local port towards the endpoint is in use.
    NoPorts,
    /// The process or the host has no descriptor left.
    NoDescriptors,
    /// The datapath that its route asks for cannot be had.
    NoDatapath,
    /// No endpoint can be reached from the family of the client's address.
    OtherFamily,
    /// The destination leaves connections with an address that clients of a gateway do not ask for.
    NoAddress,
    /// All endpoints are ejected.
    Ejected,
}

impl ConnectionFailure {
    /// How many reasons there are.
    pub const COUNT: usize = 17;

    /// Every reason, each at the index that is its number.
    pub const ALL: [Self; Self::COUNT] = [
        Self::UnknownHost,
        Self::UnknownSubset,
        Self::UnknownPort,
        Self::NoEndpoint,
        Self::Unresolved,
        Self::OwnListener,
        Self::ConnectionLimit,
        Self::ConnectRefused,
        Self::ConnectTimeout,
        Self::ConnectUnreachable,
        Self::ConnectFailed,
        Self::NoPorts,
        Self::NoDescriptors,
        Self::NoDatapath,
        Self::OtherFamily,
        Self::NoAddress,
        Self::Ejected,
    ];
}

impl From<&Unusable> for ConnectionFailure {
    fn from(unusable: &Unusable) -> Self {
        match unusable {
            Unusable::UnknownHost | Unusable::NoService | Unusable::NotGranted => Self::UnknownHost,
            Unusable::UnknownSubset => Self::UnknownSubset,
            Unusable::UnknownPort => Self::UnknownPort,
            Unusable::NoEndpoint => Self::NoEndpoint,
            Unusable::NoAddress => Self::NoAddress,
            Unusable::Unresolved => Self::Unresolved,
            Unusable::OwnListener => Self::OwnListener,
            Unusable::OtherFamily => Self::OtherFamily,
            Unusable::Ejected => Self::Ejected,
        }
    }
}

/// The reason behind an error of opening a connection.
impl From<&io::Error> for ConnectionFailure {
    fn from(error: &io::Error) -> Self {
        match Errno::from_io_error(error) {
            // A path without a unix socket counts as one without a listener.
            Some(Errno::CONNREFUSED | Errno::CONNRESET | Errno::NOENT) => Self::ConnectRefused,
            Some(Errno::TIMEDOUT) => Self::ConnectTimeout,
            Some(Errno::HOSTUNREACH | Errno::NETUNREACH | Errno::NETDOWN | Errno::HOSTDOWN) => Self::ConnectUnreachable,
            Some(Errno::ADDRNOTAVAIL) => Self::NoPorts,
            Some(Errno::MFILE | Errno::NFILE) => Self::NoDescriptors,
            _ => Self::ConnectFailed,
        }
    }
}

impl fmt::Display for ConnectionFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownHost => "unknown host",
            Self::UnknownSubset => "unknown subset",
            Self::UnknownPort => "unknown port",
            Self::NoEndpoint => "no endpoint",
            Self::Unresolved => "host name not resolved yet",
            Self::OwnListener => "endpoint is a listener of this agent",
            Self::ConnectionLimit => "connection limit reached",
            Self::ConnectRefused => "connection refused",
            Self::ConnectTimeout => "connect timed out",
            Self::ConnectUnreachable => "endpoint unreachable",
            Self::ConnectFailed => "connect failed",
            Self::NoPorts => "no source port left",
            Self::NoDescriptors => "no file descriptor left",
            Self::NoDatapath => "its datapath cannot be had",
            Self::OtherFamily => "no endpoint of the client's address family",
            Self::NoAddress => "resolution NONE leads nowhere from a gateway",
            Self::Ejected => "every endpoint is ejected",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_stands_at_its_number() {
        for (index, reason) in ConnectionFailure::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, index);
        }
    }
}
