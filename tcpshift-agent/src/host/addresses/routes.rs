//! What the kernel's routing table `local` says is this host's own: every address of an interface, the loopback networks,
//! and what `ip route add local` added.
//!
//! The kernel is asked for that table alone (`NETLINK_GET_STRICT_CHK`, Linux 4.20, `ip_valid_fib_dump_req`): a router's
//! other tables are long.

use std::io;

use ipnet::IpNet;
use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteType};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use rustix::io::Errno;

/// `RT_TABLE_LOCAL`: the table that is looked at first.
const LOCAL: u8 = 255;

/// Bytes of a message's header (`nlmsghdr`).
const HEADER: usize = 16;

/// Bytes of one message of the kernel: it makes none that is longer than 32 KiB.
const BUFFER: usize = 64 << 10;

/// The networks of both families whose packets are delivered on this host.
pub(super) fn local() -> io::Result<Vec<IpNet>> {
    let mut networks = Vec::new();
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        match dump(family, &mut networks) {
            // The kernel has no such family, or no such table of it.
            Err(error) if matches!(Errno::from_io_error(&error), Some(Errno::NOENT | Errno::OPNOTSUPP)) => {}
            done => done?,
        }
    }
    Ok(networks)
}

fn dump(family: AddressFamily, networks: &mut Vec<IpNet>) -> io::Result<()> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    // A kernel that lacks it sends all tables.
    socket.set_netlink_get_strict_chk(true).ok();
    let mut asked = RouteMessage::default();
    (asked.header.address_family, asked.header.table, asked.header.kind) = (family, LOCAL, RouteType::Local);
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    let mut request = NetlinkMessage::new(header, NetlinkPayload::from(RouteNetlinkMessage::GetRoute(asked)));
    request.finalize();
    let mut bytes = vec![0; request.buffer_len()];
    request.serialize(&mut bytes);
    socket.send(&bytes, 0)?;
    let mut buffer = Vec::with_capacity(BUFFER);
    loop {
        buffer.clear();
        let length = socket.recv(&mut buffer, 0)?;
        let mut rest = buffer.get(..length).unwrap_or_default();
        while let Some(length) = rest.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes) as usize) {
            // Messages begin at multiples of four bytes.
            let (this, others) = rest.split_at(length.next_multiple_of(4).max(HEADER).min(rest.len()));
            rest = others;
            // What this version does not understand is no route of the table.
            let Ok(message) = NetlinkMessage::<RouteNetlinkMessage>::deserialize(this) else { continue };
            match message.payload {
                NetlinkPayload::Done(_) => return Ok(()),
                NetlinkPayload::Error(error) => return Err(error.to_io()),
                NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewRoute(route)) => {
                    networks.extend(network(&route).filter(|_| route.header.address_family == family));
                }
                _ => {}
            }
        }
        // Nothing came, and nothing will.
        if length == 0 {
            return Ok(());
        }
    }
}

/// The network of a route of the table, if its packets are delivered here.
fn network(route: &RouteMessage) -> Option<IpNet> {
    if route.header.table != LOCAL || route.header.kind != RouteType::Local {
        return None;
    }
    let bits = route.header.destination_prefix_length;
    let mut addresses = route.attributes.iter().filter_map(|attribute| match attribute {
        RouteAttribute::Destination(RouteAddress::Inet(ip)) => IpNet::new((*ip).into(), bits).ok(),
        RouteAttribute::Destination(RouteAddress::Inet6(ip)) => IpNet::new((*ip).into(), bits).ok(),
        _ => None,
    });
    addresses.next()
}
