//! The name of an object.

use std::fmt;

use super::kind::Kind;

/// Two objects are the same one if their keys are equal. The version of the group is not compared.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// Group and kind.
    pub kind: Kind,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// `VirtualService default/tcp-echo`; of the Gateway API's Gateway with the group, as Istio has one too.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, namespace, name } = self;
        match kind {
            Kind::GatewayApiGateway => write!(f, "{}.{} {namespace}/{name}", kind.name(), kind.group()),
            _ => write!(f, "{} {namespace}/{name}", kind.name()),
        }
    }
}

impl Key {
    /// `virtualservice.networking.istio.io/tcp-echo`
    pub fn qualified(&self) -> String {
        format!("{}/{}", self.kind.qualified(), self.name)
    }
}
