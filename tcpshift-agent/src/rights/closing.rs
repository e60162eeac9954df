//! Which connections are to be ended, as words of a message, and what came of each.

use std::io;
use std::net::{Ipv6Addr, SocketAddr};

use super::channel::errno;
use super::message::{WORDS, at};
use crate::host::diag::TcpEnds;

/// Words of a socket's ends: cookie, both ports and the interface, and two for each address, IPv4 as IPv6.
const EACH: usize = 6;

/// Connections of one message at most, behind their number.
pub(super) const BATCH: usize = (WORDS - at::BODY - 1) / EACH;

/// Their number, and the words of each.
pub(super) fn words(sockets: &[TcpEnds]) -> Vec<u64> {
    let each = sockets.iter().flat_map(|TcpEnds { cookie, local, peer, interface }| {
        let ports = u64::from(*interface) << 32 | u64::from(local.port()) << 16 | u64::from(peer.port());
        let [local, peer] = [local, peer].map(|end| match end {
            SocketAddr::V4(end) => end.ip().to_ipv6_mapped().to_bits(),
            SocketAddr::V6(end) => end.ip().to_bits(),
        });
        [*cookie, ports, (local >> 64) as u64, local as u64, (peer >> 64) as u64, peer as u64]
    });
    std::iter::once(sockets.len() as u64).chain(each).collect()
}

/// The connections of a message; none if it says more than it can have.
pub(super) fn read(body: &[u64]) -> Option<Vec<TcpEnds>> {
    let (count, rest) = body.split_first()?;
    let count = usize::try_from(*count).ok().filter(|count| *count <= BATCH)?;
    let each = rest.chunks_exact(EACH).take(count).map(|words| {
        let end = |high: u64, low: u64, port: u64| {
            let ip = Ipv6Addr::from(u128::from(high) << 64 | u128::from(low));
            SocketAddr::new(ip.into(), port as u16)
        };
        let (local, peer) = (end(words[2], words[3], words[1] >> 16), end(words[4], words[5], words[1]));
        TcpEnds { cookie: words[0], local, peer, interface: (words[1] >> 32) as u32 }
    });
    Some(each.collect())
}

/// What came of so many connections, from the numbers of errors.
pub(super) fn outcomes(body: &[u64], count: usize) -> Vec<io::Result<()>> {
    let each = body.iter().take(count);
    each.map(|error| if *error == 0 { Ok(()) } else { Err(errno(*error)) }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_arrives() {
        let ends = |local: &str, peer: &str| TcpEnds {
            cookie: u64::MAX - 1,
            local: local.parse().unwrap(),
            peer: peer.parse().unwrap(),
            interface: 7,
        };
        let asked = [ends("[::ffff:127.0.0.1]:65535", "[::ffff:192.0.2.1]:1"), ends("[fe80::1]:2", "[2001:db8::2]:3")];
        let words = [&words(&asked)[..], &[0; 4]].concat();
        assert_eq!(read(&words), Some(asked.to_vec()));
        let v4 = TcpEnds { local: "127.0.0.1:65535".parse().unwrap(), ..asked[0] };
        assert_eq!(read(&super::words(&[v4])), Some(vec![asked[0]]), "IPv4 arrives as IPv6");
    }

    #[test]
    fn a_message_has_no_more_than_fits() {
        assert_eq!(read(&[]), None);
        assert_eq!(read(&[u64::MAX]), None);
        assert_eq!(read(&[BATCH as u64 + 1]), None);
        assert_eq!(read(&[3, 1, 2]), Some(Vec::new()), "what is cut is left out");
        let most = vec![0; 1 + BATCH * EACH];
        assert!(at::BODY + most.len() <= WORDS);
    }
}
