//! How new connections of a route reach its endpoints: by the fastest datapath that can do what the route asks for.
//!
//! Pure: what this host can do, and who listens on it, is handed in. It must not know how any datapath works.

/// How connections reach endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Datapath {
    /// The agent accepts, dials and relays.
    Proxy,
    /// A local client's connect(2) is pointed at the endpoint.
    Connect,
    /// The SYN is handed to the listening socket of a local endpoint.
    Lookup,
}

/// What was chosen for a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// None if no datapath can serve it.
    pub datapath: Option<Datapath>,
    /// Whether nothing else may do it: what this datapath cannot take is refused.
    pub only: bool,
    /// Why, for people.
    pub reason: String,
}
