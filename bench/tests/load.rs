//! The load and the server against each other, without anybody between: what is reported is what was done.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

use std::net::{Ipv4Addr, SocketAddrV4};

use tcpshift_bench::load::{Load, LoadKind, LoadReport, run};
use tcpshift_bench::serve::BenchServer;

/// A server of two versions. Its thread ends with the test program.
fn server() -> [SocketAddrV4; 2] {
    let any = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0);
    let server = BenchServer::bind(&[any, any]).unwrap();
    let addresses = server.addresses().unwrap();
    std::thread::spawn(|| server.run());
    addresses.try_into().unwrap()
}

fn load(kind: LoadKind, to: SocketAddrV4, connections: usize) -> LoadReport {
    let load = Load { kind, to, connections, warm: 0.02, seconds: 0.2, count: None };
    let mut started = 0;
    let report = run(&load, &mut || {
        started += 1;
        Ok(())
    });
    assert_eq!(started, 1, "the load is told to start once");
    report.unwrap()
}

#[test]
fn messages_are_answered_and_timed() {
    let [to, _] = server();
    for connections in [1, 64] {
        let report = load(LoadKind::Exchange, to, connections);
        assert!(report.count > 50, "{report:?}");
        assert!(report.took >= 200_000_000, "{report:?}");
        assert!(0 < report.p50 && report.p50 <= report.p99 && report.p99 <= report.took, "{report:?}");
        assert!(report.processor > 0, "{report:?}");
    }
}

#[test]
fn connections_are_counted_by_the_version_that_answers() {
    let [first, second] = server();
    for connections in [1, 16] {
        let report = load(LoadKind::Connect, first, connections);
        assert!(report.count > 20, "{report:?}");
        assert_eq!(report.versions, [report.count, 0]);
        assert!(report.last_of_first > 0);
        let report = load(LoadKind::Connect, second, connections);
        assert_eq!(report.versions, [0, report.count]);
        assert_eq!(report.last_of_first, 0);
    }
}

#[test]
fn a_count_ends_the_load() {
    let [to, _] = server();
    for connections in [1, 8] {
        let load = Load { kind: LoadKind::Connect, to, connections, warm: 0.0, seconds: 60.0, count: Some(100) };
        assert_eq!(run(&load, &mut || Ok(())).unwrap().count, 100);
    }
}

#[test]
fn bulk_goes_both_ways() {
    let [to, _] = server();
    for kind in [LoadKind::Up, LoadKind::Down] {
        for connections in [1, 4] {
            let report = load(kind, to, connections);
            assert!(report.count > 10_000_000, "{kind:?} of {connections}: {report:?}");
        }
    }
}

#[test]
fn idle_connections_are_held() {
    let [to, _] = server();
    assert_eq!(load(LoadKind::Hold, to, 100).count, 100);
}
