//! Which clients of a gateway's route are steered, by the family of the address that they ask for. The others are carried.
//!
//! A client whose connection may have to be carried is carried whatever endpoint it would get. Were it decided for where it
//! is steered, and decided for again where it is carried, endpoints that can be steered to would get more than their share.

use std::net::IpAddr;

use tcpshift_common::address::family;

use super::{Reason, Served};
use crate::plan::EndpointAddress;

/// Clients who can be pointed at every endpoint, and in words who cannot, at a listener with an address. The error says why
/// there are none.
///
/// From an IPv4 socket only IPv4 endpoints are reached, from an IPv6 socket those of both families.
pub(super) fn connected(served: Served<'_>, at: IpAddr) -> Result<(u32, Option<Reason>), Reason> {
    let mut six = None;
    for address in served.addresses() {
        match address {
            EndpointAddress::Unix(_) | EndpointAddress::Original(_) => {
                return Err(format!("{address} is no TCP address").into());
            }
            EndpointAddress::Tcp(tcp) if !tcp.ip().to_canonical().is_ipv4() => six = six.or(Some(address)),
            EndpointAddress::Tcp(_) => {}
        }
    }
    match six {
        None => Ok((family::ANY, None)),
        Some(six) if takes_v4_alone(at) => Err(format!("no IPv4 client can connect to {six}").into()),
        Some(six) if takes_v4(at) => {
            Ok((family::V6, Some(format!("IPv4 clients are carried, who cannot connect to {six}").into())))
        }
        Some(_) => Ok((family::V6, None)),
    }
}

/// Clients whose packets can be handed to every endpoint, and in words who else comes, at a listener with an address. The error
/// says why there are none.
///
/// Whether a socket takes connections of the other family is not known before it is tried.
pub(super) fn handed(served: Served<'_>, at: IpAddr) -> Result<(u32, Option<Reason>), Reason> {
    let is_v4 =
        |address: &&EndpointAddress| matches!(address, EndpointAddress::Tcp(tcp) if tcp.ip().to_canonical().is_ipv4());
    match (served.addresses().find(is_v4), served.addresses().find(|address| !is_v4(address))) {
        (Some(four), Some(six)) => Err(format!("{four} and {six} are of two address families").into()),
        (Some(four), None) if !takes_v4(at) => {
            Err(format!("{four} is of another address family than the listener").into())
        }
        (Some(_), None) => {
            let others = (!takes_v4_alone(at)).then_some("IPv6 clients are carried".into());
            Ok((family::V4, others))
        }
        (None, Some(six)) if takes_v4_alone(at) => {
            Err(format!("{six} is of another address family than the listener").into())
        }
        (None, _) => Ok((family::V6, takes_v4(at).then_some("IPv4 clients are carried".into()))),
    }
}

/// Whether IPv4 clients come to a listener.
fn takes_v4(at: IpAddr) -> bool {
    let at = at.to_canonical();
    at.is_ipv4() || at.is_unspecified()
}

/// Whether nobody else does.
fn takes_v4_alone(at: IpAddr) -> bool {
    at.to_canonical().is_ipv4()
}
