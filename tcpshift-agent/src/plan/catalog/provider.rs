//! What provides a host: a Service or a ServiceEntry, with its ports.

use ipnet::IpNet;

use crate::route::model::policy::HashAlgorithm;
use crate::route::model::protocol::Protocol;
use crate::route::model::{LoadBalancer, Resolution, Service, ServiceEntry, TargetPort, WorkloadEntry};
use crate::route::object::Key;

/// What provides a host.
#[derive(Clone, Copy, Debug)]
pub(super) struct HostProvider<'a> {
    /// Of its object.
    pub key: &'a Key,
    /// How many objects are older.
    pub age: usize,
    pub kind: HostProviderKind<'a>,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum HostProviderKind<'a> {
    Service(&'a Service),
    Entry(&'a ServiceEntry),
}

/// A port of a provider.
pub(super) struct Port<'a> {
    pub number: u16,
    pub name: &'a str,
    pub target: Option<&'a TargetPort>,
    pub target_number: Option<u16>,
    pub is_udp: bool,
}

impl<'a> HostProvider<'a> {
    /// How endpoints are chosen where no DestinationRule says it: `sessionAffinity: ClientIP` keeps a client's.
    pub(super) fn affinity(&self) -> Option<LoadBalancer> {
        let HostProviderKind::Service(Service { session_affinity: Some(_), .. }) = self.kind else { return None };
        Some(LoadBalancer::SourceHash(HashAlgorithm::Ring { places: 1 }))
    }

    /// Whether its clients know where to go: connections stay with the address that they asked for.
    pub(super) fn leaves_address(&self) -> bool {
        matches!(self.kind, HostProviderKind::Entry(entry) if entry.resolution == Resolution::None)
    }

    /// Whether its endpoints are what DNS says of its own host.
    pub(super) fn is_named(&self) -> bool {
        let HostProviderKind::Entry(entry) = self.kind else { return false };
        match entry.resolution {
            Resolution::DynamicDns => true,
            Resolution::Dns | Resolution::DnsRoundRobin => entry.endpoints.is_empty() && entry.selector.is_none(),
            Resolution::None | Resolution::Static => false,
        }
    }

    /// Where clients inside a mesh connect.
    pub(super) fn addresses(&self, host: &str) -> &'a [IpNet] {
        match self.kind {
            HostProviderKind::Service(service) => &service.addresses,
            HostProviderKind::Entry(entry) => entry.addresses_of(host),
        }
    }

    pub(super) fn ports(&self) -> Vec<Port<'a>> {
        match self.kind {
            HostProviderKind::Service(service) => {
                let ports = service.ports.iter();
                ports
                    .map(|port| Port {
                        number: port.port,
                        name: &port.name,
                        target: port.target.as_ref(),
                        target_number: None,
                        is_udp: false,
                    })
                    .collect()
            }
            HostProviderKind::Entry(entry) => {
                let ports = entry.ports.iter();
                ports
                    .map(|port| Port {
                        number: port.number,
                        name: &port.name,
                        target: None,
                        target_number: port.target,
                        is_udp: port.protocol == Some(Protocol::Udp),
                    })
                    .collect()
            }
        }
    }
}

/// The endpoint's own port of that name, then the service's target port, then the service's port.
pub(super) fn target(workload: &WorkloadEntry, port: &Port<'_>) -> u16 {
    let target = match port.target {
        Some(TargetPort::Number(number)) => Some(*number),
        Some(TargetPort::Name(name)) => workload.ports.get(name).copied(),
        None => port.target_number,
    };
    workload.ports.get(port.name).copied().or(target).unwrap_or(port.number)
}
