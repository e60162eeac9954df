//! Destinations with `resolution: NONE`: their connections go to the address that the client asked for. At a gateway that is
//! the gateway's own address, so their share is refused.

use ipnet::IpNet;

use super::code;
use super::finding::Findings;
use super::world::World;
use crate::route::model::{GatewayRef, Resolution, ServiceEntry, Spec, VirtualService};
use crate::route::object::Object;

pub(super) fn check(world: &World<'_>, out: &mut Findings) {
    for (object, service) in &world.virtual_services {
        destinations(world, object, service, out);
    }
}

fn destinations(world: &World<'_>, object: &Object, service: &VirtualService, out: &mut Findings) {
    let is_gateway = |gateway: &GatewayRef| matches!(gateway, GatewayRef::Gateway { .. });
    if !service.gateways.iter().any(is_gateway) {
        return;
    }
    for (index, rule) in service.tcp.iter().enumerate() {
        let mut gateways = rule.matches.iter().map(|block| &block.gateways);
        if !rule.matches.is_empty() && !gateways.any(|named| named.is_empty() || named.iter().any(is_gateway)) {
            continue;
        }
        let alone = rule.route.len() == 1;
        for (at, destination) in rule.route.iter().enumerate().filter(|(_, one)| alone || one.weight > 0) {
            let (providers, wild) = world.providers(&object.key.namespace, &service.export, &destination.host);
            let provider = providers.first().filter(|_| !wild);
            let Some(Spec::ServiceEntry(entry)) = provider.map(|provider| &provider.object.spec) else { continue };
            if entry.resolution == Resolution::None {
                let host = &destination.host;
                let message = format!(
                    "{host} has resolution NONE: its connections stay with the address that clients asked for, which at a \
                     gateway is the gateway's; the share is refused"
                );
                let field = format!("spec.tcp[{index}].route[{at}].destination.host");
                out.push(code::NO_ADDRESS, object, field, message, cure(entry));
            }
        }
    }
}

/// Which resolution the rest of an entry goes with.
fn cure(entry: &ServiceEntry) -> &'static str {
    let is_single = |net: &IpNet| net.prefix_len() == net.max_prefix_len();
    match entry.hosts.as_slice() {
        [host] if !host.starts_with('*') && entry.addresses.iter().all(is_single) => {
            "write `resolution: DNS` there, or `resolution: STATIC` with endpoints"
        }
        [_] => "write `resolution: STATIC` there, with endpoints",
        _ => "make an entry of each host, and write `resolution: STATIC` with endpoints there",
    }
}
