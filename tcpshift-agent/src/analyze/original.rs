//! Destinations with `resolution: NONE`: their connections stay with the address that clients asked for. At a gateway that
//! is the gateway's own, so the share is refused.

use super::code;
use super::finding::Findings;
use super::world::World;
use crate::route::model::{GatewayRef, Resolution, Spec, VirtualService};
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
            let (providers, wild) = world.providers(&object.key.namespace, &destination.host);
            let provider = providers.first().filter(|_| !wild);
            let leaves = provider.is_some_and(|provider| {
                matches!(&provider.object.spec, Spec::ServiceEntry(entry) if entry.resolution == Resolution::None)
            });
            if leaves {
                let host = &destination.host;
                let message = format!(
                    "{host} has resolution NONE: its connections stay with the address that clients asked for, which at a \
                     gateway is the gateway's; the share is refused"
                );
                let field = format!("spec.tcp[{index}].route[{at}].destination.host");
                let cure = "give it endpoints and `resolution: STATIC`, or DNS";
                out.push(code::NO_ADDRESS, object, field, message, cure);
            }
        }
    }
}
