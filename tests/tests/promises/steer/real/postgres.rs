//! `PostgreSQL`, loaded by `pgbench`.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use tcpshift_tests::process::{Process, command, run};
use tcpshift_tests::until::{seconds, until_so};
use tcpshift_tests::world::World;

use super::{PORTS, assert_counted, served, targets};

/// A server. Killed outright it would leave shared memory to the machine.
struct Server(Process);

impl Drop for Server {
    fn drop(&mut self) {
        if self.0.ended().is_none() {
            self.0.signal(Signal::INT);
            self.0.wait(seconds(20));
        }
    }
}

/// One of `PostgreSQL`'s programs: Debian keeps them out of PATH, by version.
fn program(name: &str) -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").expect("`cargo xtask setup` installs PostgreSQL");
    let mut found: Vec<PathBuf> =
        versions.map(|version| version.unwrap().path().join("bin").join(name)).filter(|path| path.exists()).collect();
    found.sort();
    found.pop().unwrap_or_else(|| panic!("no version of PostgreSQL has {name}"))
}

/// A command of the user `postgres`, since the server refuses to be root.
fn as_postgres(name: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "postgres", "--regid", "postgres", "--init-groups", "--pdeathsig", "KILL", "--"]);
    command.arg(program(name)).current_dir("/").env("LC_ALL", "C");
    command
}

/// A folder in the world's that belongs to the user `postgres`.
fn folder(world: &World, name: &str) -> PathBuf {
    let path = world.path(name);
    std::fs::set_permissions(path.parent().unwrap(), std::fs::Permissions::from_mode(0o711)).unwrap();
    let mut install = command("install");
    install.args(["-d", "-o", "postgres", "-m", "700"]).arg(&path);
    run(install, b"", seconds(10)).expect(0);
    path
}

fn server(world: &World, data: &Path, port: u16) -> Server {
    let mut postgres = as_postgres("postgres");
    postgres.arg("-D").arg(data);
    for setting in [
        format!("port={port}"),
        "listen_addresses=127.0.0.1".to_owned(),
        "unix_socket_directories=".to_owned(),
        "fsync=off".to_owned(),
        "max_connections=50".to_owned(),
        "shared_buffers=16MB".to_owned(),
        "log_connections=on".to_owned(),
    ] {
        postgres.args(["-c", &setting]);
    }
    let server = Server(Process::start(world, &format!("postgres-{port}"), postgres));
    until_so("PostgreSQL is ready", seconds(30), || server.0.stderr().contains("ready to accept connections"));
    let mut fill = command(program("pgbench"));
    fill.args(["-h", "127.0.0.1", "-p", &port.to_string(), "-U", "postgres", "-i", "-q", "postgres"]);
    run(fill, b"", seconds(30)).expect(0);
    server
}

/// Connections that a server has had.
fn connections(server: &Server) -> usize {
    server.0.stderr().matches("connection authorized: ").count()
}

#[test]
fn postgresql_has_no_error_and_the_right_split() {
    let world = World::new();
    let first = folder(&world, "postgres-1");
    let mut initdb = as_postgres("initdb");
    initdb.args(["--auth", "trust", "--username", "postgres", "--no-sync", "--locale", "C", "-D"]).arg(&first);
    run(initdb, b"", Duration::from_mins(1)).expect(0);
    let second = world.path("postgres-2");
    let mut copy = command("cp");
    copy.arg("-a").args([&first, &second]);
    run(copy, b"", seconds(20)).expect(0);
    let servers = [server(&world, &first, PORTS[0]), server(&world, &second, PORTS[1])];
    let _agent = served(&world);
    let pgbench = program("pgbench").display().to_string();
    for way in targets(&world) {
        // A connection for each transaction; and some that stay.
        for (words, least) in [("-C -S -c 4 -t 75", 300), ("-c 20 -t 20", 20)] {
            let before = [connections(&servers[0]), connections(&servers[1])];
            let output = way.load(&pgbench, &format!("-n -h HOST -p PORT -U postgres {words} postgres"), &[]);
            assert!(output.stdout.contains("number of failed transactions: 0 (0.000%)"), "{output:?}");
            let after = [connections(&servers[0]), connections(&servers[1])];
            assert_counted(&format!("{}, {words}", way.host), before, after, least);
        }
    }
}
