//! Where one contender is measured: its namespaces, its cgroup, its addresses, its folder, and the server behind it.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;
use std::rc::Rc;

use anyhow::{Context, Result};

use super::Topology;
use super::cgroup::BenchCgroup;
use super::namespace::Namespace;
use super::process::{LoadProcess, Process, Setting};

/// The port that a balancer serves.
const FRONT: u16 = 31_400;
/// The ports of the two versions.
const VERSIONS: [u16; 2] = [9_000, 9_100];

/// Where one contender is measured.
pub(super) struct BenchWorld {
    /// Where the client is.
    pub(super) client: Rc<Namespace>,
    /// Where the balancer is.
    pub(super) balancer: Rc<Namespace>,
    /// Where the versions are.
    pub(super) backend: Rc<Namespace>,
    /// What the balancer serves.
    pub(super) front: SocketAddrV4,
    /// The two versions, as the balancer reaches them.
    pub(super) versions: [SocketAddrV4; 2],
    /// The first version, as the client reaches it without a balancer.
    pub(super) direct: SocketAddrV4,
    /// A folder of the contender's own.
    pub(super) folder: PathBuf,
    /// The server behind it.
    pub(super) server: Process,
    /// The cgroup that all of them are in; nobody is when all others are gone.
    pub(super) cgroup: BenchCgroup,
}

impl BenchWorld {
    /// Makes one, and starts the server.
    pub(super) fn new(contender: &str, topology: Topology, setting: &Setting) -> Result<Self> {
        let folder = setting.target.join("bench/run").join(format!("{}-{contender}", topology.name()));
        // What an earlier run left there.
        drop(std::fs::remove_dir_all(&folder));
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let cgroup = BenchCgroup::new(&format!("{}-{contender}", topology.name()))?;
        let new = || Namespace::new(&cgroup);
        let (client, balancer, backend, front, versions, direct) = match topology {
            Topology::Host => {
                let all = Rc::new(new()?);
                let local = Ipv4Addr::LOCALHOST;
                (Rc::clone(&all), Rc::clone(&all), all, local, local, local)
            }
            Topology::Veth => {
                let [client, balancer, backend] = [new()?, new()?, new()?];
                client.join("balancer", "10.20.1.2/24", &balancer, "client", "10.20.1.1/24")?;
                backend.join("balancer", "10.20.2.2/24", &balancer, "backend", "10.20.2.1/24")?;
                // Without a balancer there is one wire.
                client.join("backend", "10.20.3.2/24", &backend, "client", "10.20.3.1/24")?;
                backend.ip("route add 10.20.1.0/24 via 10.20.2.1")?;
                let [front, versions, direct] = [[10, 20, 1, 1], [10, 20, 2, 2], [10, 20, 3, 1]].map(Ipv4Addr::from);
                (Rc::new(client), Rc::new(balancer), Rc::new(backend), front, versions, direct)
            }
        };
        let program = setting.built("tcpshift-bench");
        let everywhere = VERSIONS.map(|port| format!("0.0.0.0:{port}"));
        let log = folder.join("server.log");
        let command = [&*program.to_string_lossy(), "serve", &everywhere[0], &everywhere[1]];
        let mut server = Process::start(setting, &backend, &command, &[], &log)?;
        server.until("listens", || std::fs::read_to_string(&log).is_ok_and(|text| text.contains("listening")))?;
        Ok(Self {
            client,
            balancer,
            backend,
            front: SocketAddrV4::new(front, FRONT),
            versions: VERSIONS.map(|port| SocketAddrV4::new(versions, port)),
            direct: SocketAddrV4::new(direct, VERSIONS[0]),
            folder,
            server,
            cgroup,
        })
    }

    /// A file of the contender's own, by its name.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Writes a file of the contender's own.
    pub(super) fn write(&self, name: &str, text: &str) -> Result<String> {
        let path = self.file(name);
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path.display().to_string())
    }

    /// Waits until the balancer, a process, takes connections.
    pub(super) fn await_front(&self, process: &mut Process) -> Result<()> {
        process.until("takes connections", || {
            let connect = || Ok(std::net::TcpStream::connect(self.front).is_ok());
            self.client.inside(connect).unwrap_or(false)
        })
    }

    /// Whether a connection of a client's is answered by a version.
    pub(super) fn is_answered(&self, setting: &Setting, to: SocketAddrV4) -> bool {
        let to = to.to_string();
        let words = ["connect", "--connections", "1", "--count", "1", "--to", &to];
        let client = LoadProcess::start(setting, &self.client, &words, &self.file("load.log"));
        let report = client.and_then(|mut client| client.go().and_then(|()| client.report()));
        report.is_ok_and(|report| report.count == 1)
    }
}
