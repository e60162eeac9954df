//! The fields of whole documents, by kind.

use super::{Shape, gateway_api, istio, kubernetes};
use crate::route::kind::Kind;

/// The fields of a whole document of a kind.
pub fn shape(kind: Kind) -> Shape {
    macro_rules! shape {
        ($spec:path) => {
            Shape::Message(
                const {
                    &[
                        super::yes("apiVersion", Shape::Text),
                        super::yes("kind", Shape::Text),
                        super::yes("metadata", Shape::Message(kubernetes::METADATA)),
                        super::yes("spec", Shape::Message($spec)),
                    ]
                },
            )
        };
    }
    match kind {
        Kind::VirtualService => shape!(istio::VIRTUAL_SERVICE),
        Kind::DestinationRule => shape!(istio::DESTINATION_RULE),
        Kind::Gateway => shape!(istio::GATEWAY),
        Kind::ServiceEntry => shape!(istio::SERVICE_ENTRY),
        Kind::WorkloadEntry => shape!(istio::WORKLOAD_ENTRY),
        Kind::WorkloadGroup => shape!(istio::WORKLOAD_GROUP),
        Kind::Service => shape!(kubernetes::SERVICE),
        Kind::EndpointSlice => Shape::Message(kubernetes::ENDPOINT_SLICE),
        Kind::GatewayApiGateway => shape!(gateway_api::GATEWAY),
        Kind::TcpRoute => shape!(gateway_api::TCP_ROUTE),
        Kind::ReferenceGrant => shape!(gateway_api::REFERENCE_GRANT),
    }
}
