//! Services and ServiceEntries as providers of a host, with their ports and endpoints.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use crate::route::model::{
    EndpointSlice, Export, Labels, Resolution, Spec, TargetPort, WorkloadAddress, WorkloadEntry,
};
use crate::route::object::Object;

/// A Service or ServiceEntry that provides a host.
pub(super) struct Provider<'a> {
    pub(super) object: &'a Object,
    /// Full, in lower case.
    pub(super) host: String,
    pub(super) ports: Vec<ProviderPort<'a>>,
    /// Whether ports and endpoints are those of another host.
    pub(super) external: bool,
}

/// A port of a provider.
pub(super) struct ProviderPort<'a> {
    pub(super) number: u16,
    pub(super) name: &'a str,
    pub(super) target: Option<&'a TargetPort>,
    pub(super) target_number: Option<u16>,
}

/// An endpoint of a provider.
#[derive(Clone, Copy)]
pub(super) enum ProviderEndpoint<'a> {
    Workload(&'a WorkloadEntry),
    /// One or more, whose labels are those of their slice.
    Slice(&'a EndpointSlice),
}

impl<'a> ProviderEndpoint<'a> {
    pub(super) fn labels(self) -> &'a Labels {
        match self {
            Self::Workload(workload) => &workload.labels,
            Self::Slice(slice) => &slice.labels,
        }
    }

    /// The addresses that are dialled for a port: IP addresses and host names with a port number, and unix sockets.
    pub(super) fn dialled(self, port: &ProviderPort<'_>) -> Vec<String> {
        match self {
            Self::Workload(WorkloadEntry { address: WorkloadAddress::Unix(path), .. }) => vec![path.clone()],
            Self::Workload(workload @ WorkloadEntry { address: WorkloadAddress::Host(name), .. }) => {
                vec![format!("{}:{}", name.to_ascii_lowercase(), target(workload, port))]
            }
            _ => {
                let addresses = self.addresses(port).into_iter();
                addresses.map(|(ip, number)| SocketAddr::new(ip, number).to_string()).collect()
            }
        }
    }

    /// Addresses and where they serve a port.
    pub(super) fn addresses(self, port: &ProviderPort<'_>) -> Vec<(IpAddr, u16)> {
        match self {
            Self::Workload(workload) => {
                let WorkloadAddress::Ip(ip) = workload.address else { return Vec::new() };
                vec![(ip, target(workload, port))]
            }
            Self::Slice(slice) => {
                let found = slice.ports.iter().find(|own| own.name == port.name);
                let Some(own) = found else { return Vec::new() };
                let number = own.port.unwrap_or(port.number);
                let addresses = slice.endpoints.iter().flat_map(|endpoint| &endpoint.addresses);
                addresses.map(|ip| (*ip, number)).collect()
            }
        }
    }
}

/// Where an endpoint serves a port, as the plan has it.
fn target(workload: &WorkloadEntry, port: &ProviderPort<'_>) -> u16 {
    let target = match port.target {
        Some(TargetPort::Number(number)) => Some(*number),
        Some(TargetPort::Name(name)) => workload.ports.get(name).copied(),
        None => port.target_number,
    };
    workload.ports.get(port.name).copied().or(target).unwrap_or(port.number)
}

impl Provider<'_> {
    /// Labels of its endpoints, if it selects them.
    pub(super) fn selector(&self) -> Option<&Labels> {
        match &self.object.spec {
            Spec::Service(service) => Some(&service.selector).filter(|selector| !selector.is_empty()),
            Spec::ServiceEntry(entry) if matches!(entry.resolution, Resolution::None | Resolution::DynamicDns) => None,
            Spec::ServiceEntry(entry) => entry.selector.as_ref(),
            _ => None,
        }
    }

    /// Whether DNS is asked for each host that its wildcard stands for.
    pub(super) fn resolves_each(&self) -> bool {
        matches!(&self.object.spec, Spec::ServiceEntry(entry) if entry.resolution == Resolution::DynamicDns)
    }

    /// Where clients inside a mesh connect.
    pub(super) fn addresses(&self) -> &[IpNet] {
        match &self.object.spec {
            Spec::ServiceEntry(entry) => entry.addresses_of(&self.host),
            Spec::Service(service) => &service.addresses,
            _ => &[],
        }
    }

    /// Where it is visible.
    pub(super) fn export(&self) -> &Export {
        match &self.object.spec {
            Spec::ServiceEntry(entry) => &entry.export,
            Spec::Service(service) => &service.export,
            _ => &Export::Everywhere,
        }
    }

    /// Whether an object of a namespace that is itself visible in `export` sees it there.
    pub(super) fn reaches(&self, namespace: &str, export: &Export) -> bool {
        match (self.export(), export) {
            (Export::Nowhere, _) => false,
            (Export::Everywhere, _) => true,
            (known, Export::Everywhere | Export::Nowhere) => known.reaches(namespace),
            (known, Export::Namespaces(own)) => own.iter().any(|namespace| known.reaches(namespace)),
        }
    }
}
