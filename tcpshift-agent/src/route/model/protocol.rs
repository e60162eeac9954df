//! The protocols that Istio knows, as far as TCP is concerned.

/// The protocol of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Bytes.
    Tcp,
    /// TLS, whose first bytes would have to be read to know where they go.
    Tls,
    /// HTTP in any of its forms.
    Http,
    /// No connections at all.
    Udp,
}

/// Reads a protocol's name, in any case.
pub(super) fn parse(name: &str) -> Option<Protocol> {
    Some(match name.to_ascii_uppercase().as_str() {
        "TCP" | "MONGO" | "REDIS" | "MYSQL" => Protocol::Tcp,
        "TLS" | "HTTPS" => Protocol::Tls,
        "HTTP" | "HTTP2" | "HTTP_PROXY" | "GRPC" | "GRPC-WEB" => Protocol::Http,
        "UDP" => Protocol::Udp,
        _ => return None,
    })
}
