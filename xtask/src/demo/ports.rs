//! Ports for the demonstration: the usual ones of the example files, or others that are free at the moment.

use std::net::TcpListener;

use anyhow::{Context, Result};

/// The ports of the example.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ports {
    /// Where the agent listens.
    pub(super) gateway: u16,
    /// Where v1 listens, for the service's ports `tcp` and `tcp-other`.
    pub(super) v1: [u16; 2],
    /// Where v2 listens.
    pub(super) v2: [u16; 2],
}

impl Ports {
    /// As the example files have them.
    pub(super) const USUAL: Self = Self { gateway: 31_400, v1: [9_000, 9_001], v2: [9_100, 9_101] };

    /// The usual ports where they are free, and any free ones instead of the others.
    pub(super) fn find() -> Result<Self> {
        // All are held until the last is found, so that no port is found twice.
        let mut held = Vec::new();
        let mut free = |usual: u16| -> Result<u16> {
            let listener = TcpListener::bind(("127.0.0.1", usual)).or_else(|_| TcpListener::bind(("127.0.0.1", 0)));
            let listener = listener.context("no port is free on 127.0.0.1")?;
            let port = listener.local_addr().context("a listener has no address")?.port();
            held.push(listener);
            Ok(port)
        };
        let Self { gateway, v1, v2 } = Self::USUAL;
        Ok(Self { gateway: free(gateway)?, v1: [free(v1[0])?, free(v1[1])?], v2: [free(v2[0])?, free(v2[1])?] })
    }

    /// A route file with these ports instead of the usual ones. The ports of the service stay: nobody
    /// listens on them but the endpoints, and where those listen is written in the `WorkloadEntries`.
    pub(super) fn edit(self, text: &str) -> String {
        let Self { gateway, v1, v2 } = self;
        let entries = text.contains("kind: WorkloadEntry");
        let mut edited = text.replace(&Self::USUAL.gateway.to_string(), &gateway.to_string());
        let backends = [("tcp", v1[0], 0), ("tcp-other", v1[1], 1), ("tcp", v2[0], 2), ("tcp-other", v2[1], 3)];
        for (name, port, index) in backends.into_iter().filter(|_| entries) {
            let usual = [Self::USUAL.v1[0], Self::USUAL.v1[1], Self::USUAL.v2[0], Self::USUAL.v2[1]][index];
            edited = edited.replace(&format!("    {name}: {usual}\n"), &format!("    {name}: {port}\n"));
        }
        edited
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_files_are_edited_where_ports_are_listened_on() {
        let ports = Ports { gateway: 1, v1: [2, 3], v2: [4, 5] };
        let read = |name: &str| {
            std::fs::read_to_string(crate::cargo::workspace().join("examples/tcp-echo").join(name)).unwrap()
        };
        let entries = ports.edit(&read("workload-entries.yaml"));
        for line in ["    tcp: 2\n", "    tcp-other: 3\n", "    tcp: 4\n", "    tcp-other: 5\n"] {
            assert!(entries.contains(line), "{line:?} is not in\n{entries}");
        }
        assert_eq!(ports.edit(&read("services.yaml")), read("services.yaml"));
        let route = ports.edit(&read("20-v2.yaml"));
        assert!(route.contains("port: 1\n") && route.contains("number: 9000"), "{route}");
    }
}
