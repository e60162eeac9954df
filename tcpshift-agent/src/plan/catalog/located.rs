//! Where the endpoints of one service are: at an address, at a unix socket, or where DNS says that a host name is.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::plan::EndpointAddress;
use crate::plan::intent::{Written, WrittenAt};
use crate::route::model::{Resolution, WorkloadAddress, WorkloadEntry};

/// The endpoints of a service, as they are found.
#[derive(Debug)]
pub(super) struct Located {
    resolution: Resolution,
    pub endpoints: Vec<Written>,
}

impl Located {
    /// None yet, of a service with this resolution.
    pub(super) fn new(resolution: Resolution) -> Self {
        Self { resolution, endpoints: Vec::new() }
    }

    /// Adds an endpoint that serves at a port. As in Istio, a host name is none where DNS is not to be asked.
    pub(super) fn add(&mut self, workload: &WorkloadEntry, port: u16) {
        let weight = workload.weight;
        let address = match &workload.address {
            WorkloadAddress::Ip(ip) => SocketAddr::new(*ip, port).into(),
            WorkloadAddress::Unix(path) => EndpointAddress::Unix(Arc::from(path.as_str())),
            WorkloadAddress::Host(name) if matches!(self.resolution, Resolution::Dns | Resolution::DnsRoundRobin) => {
                return self.add_name(name, port, weight);
            }
            WorkloadAddress::Host(_) | WorkloadAddress::Network => return,
        };
        self.endpoints.push(Written { at: WrittenAt::Address(address), weight });
    }

    /// Adds a host name: each of its addresses gets the weight, as in Istio, or only the first.
    pub(super) fn add_name(&mut self, name: &str, port: u16, weight: u32) {
        if name.contains('*') {
            return;
        }
        let only_first = self.resolution != Resolution::Dns;
        let at = WrittenAt::Name { name: name.to_ascii_lowercase(), port, only_first };
        self.endpoints.push(Written { at, weight });
    }
}
