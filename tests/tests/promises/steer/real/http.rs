//! nginx, loaded by `wrk`.

use std::time::Duration;

use tcpshift_tests::client::connect;
use tcpshift_tests::process::{Process, command, run};
use tcpshift_tests::until::{seconds, until_so};
use tcpshift_tests::world::World;

use super::{PORTS, assert_counted, served, targets};

fn server(world: &World, port: u16) -> Process {
    let folder = world.folder(&format!("nginx-{port}"));
    let text = format!(
        "daemon off; master_process off; pid {0}/pid; error_log {0}/error.log;\n\
         events {{ worker_connections 4096; }}\n\
         http {{\n  access_log off; keepalive_requests 1000000;\n\
         \x20 server {{\n    listen 127.0.0.1:{port} backlog=4096;\n\
         \x20   location / {{ return 200 here; }}\n    location /count {{ stub_status; }}\n  }}\n}}\n",
        folder.display()
    );
    let configuration = world.write(&format!("nginx-{port}.conf"), text);
    let mut nginx = command("nginx");
    nginx.arg("-c").arg(configuration).arg("-e").arg(folder.join("error.log"));
    let process = Process::start(world, &format!("nginx-{port}"), nginx);
    let address = format!("127.0.0.1:{port}");
    until_so("nginx listens", seconds(20), || connect(&address).is_ok());
    process
}

/// Connections that a server has had, without the one that asks.
#[track_caller]
fn connections(port: u16) -> usize {
    let mut curl = command("curl");
    curl.args(["-sS", "-m", "5", &format!("http://127.0.0.1:{port}/count")]);
    let said = run(curl, b"", Duration::from_secs(10)).expect(0).stdout;
    // `server accepts handled requests`, and their numbers in the next line.
    let numbers = said.lines().nth(2).unwrap();
    numbers.split_whitespace().next().unwrap().parse::<usize>().unwrap() - 1
}

#[test]
fn nginx_has_no_error_and_the_right_split() {
    let world = World::new();
    let _servers = PORTS.map(|port| server(&world, port));
    let _agent = served(&world);
    for way in targets(&world) {
        for (header, least) in [("Connection: keep-alive", 50), ("Connection: close", 500)] {
            let before = PORTS.map(connections);
            let output = way.load("wrk", "-t 1 -c 50 -d 1s http://HOST:PORT/", &["-H", header]);
            let said = output.stdout;
            assert!(!said.contains("errors") && !said.contains("Non-2xx"), "{said}");
            assert!(said.contains("requests in"), "{said}");
            let after = PORTS.map(|port| connections(port) - 1);
            assert_counted(&format!("{}, {header}", way.host), before, after, least);
        }
    }
}
