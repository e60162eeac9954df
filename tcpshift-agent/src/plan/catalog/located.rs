//! Where the endpoints of one service are: at an address, at a unix socket, or where DNS said that a host name is.
//!
//! It asks nobody: the answers are handed in, and the names that were looked for are handed out.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::plan::EndpointAddress;
use crate::route::model::{Resolution, WorkloadAddress, WorkloadEntry};

/// The endpoints of a service, as they are found.
#[derive(Debug)]
pub(super) struct Located<'a> {
    answers: &'a HashMap<String, Vec<IpAddr>>,
    resolution: Resolution,
    /// Address and weight of each.
    pub endpoints: Vec<(EndpointAddress, u32)>,
    /// Names that were looked for, in lower case.
    pub names: Vec<String>,
    /// Whether one of them has no answer.
    pub unanswered: bool,
}

impl<'a> Located<'a> {
    /// None yet, of a service with this resolution.
    pub(super) fn new(answers: &'a HashMap<String, Vec<IpAddr>>, resolution: Resolution) -> Self {
        Self { answers, resolution, endpoints: Vec::new(), names: Vec::new(), unanswered: false }
    }

    /// Adds an endpoint that serves at a port. As in Istio, a host name is none where DNS is not to be asked.
    pub(super) fn add(&mut self, workload: &WorkloadEntry, port: u16) {
        match &workload.address {
            WorkloadAddress::Ip(ip) => self.push(*ip, port, workload.weight),
            WorkloadAddress::Unix(path) => {
                self.endpoints.push((EndpointAddress::Unix(Arc::from(path.as_str())), workload.weight));
            }
            WorkloadAddress::Host(name) if matches!(self.resolution, Resolution::Dns | Resolution::DnsRoundRobin) => {
                self.add_name(name, port, workload.weight);
            }
            WorkloadAddress::Host(_) | WorkloadAddress::Network => {}
        }
    }

    /// Adds what a host name stands for: each of its addresses with the weight, as in Istio, or only the first.
    pub(super) fn add_name(&mut self, name: &str, port: u16, weight: u32) {
        if name.contains('*') {
            return;
        }
        let name = name.to_ascii_lowercase();
        let most = if self.resolution == Resolution::Dns { usize::MAX } else { 1 };
        match self.answers.get(&name) {
            Some(addresses) => addresses.iter().take(most).for_each(|ip| self.push(*ip, port, weight)),
            None => self.unanswered = true,
        }
        self.names.push(name);
    }

    fn push(&mut self, ip: IpAddr, port: u16, weight: u32) {
        self.endpoints.push((SocketAddr::new(ip, port).into(), weight));
    }
}
