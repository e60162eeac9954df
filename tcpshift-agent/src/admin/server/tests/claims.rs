//! Which agent has the path of a socket.

use crate::admin::client::{Client, ClientError};
use crate::admin::server::bind;

#[tokio::test]
async fn nobody_is_let_in_before_it_is_served() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.sock");
    let client = Client::new(&path);
    assert!(matches!(client.status().await, Err(ClientError::NoAgent(_))));
    let listener = bind(&path).unwrap();
    assert!(matches!(client.status().await, Err(ClientError::NoAgent(_))));
    let error = bind(&path).unwrap_err().to_string();
    assert!(error.starts_with("another agent answers at "), "{error}");
    drop(listener);
    assert!(!path.exists());
    drop(bind(&path).unwrap());
}

#[test]
fn a_dead_socket_is_replaced_and_nothing_else_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.sock");
    // As a killed agent leaves it.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    std::fs::write(folder.path().join("admin.sock.lock"), "").unwrap();
    assert!(path.exists());
    drop(bind(&path).unwrap());
    let alive = std::os::unix::net::UnixListener::bind(&path).unwrap();
    assert!(bind(&path).unwrap_err().to_string().starts_with("another agent answers at "));
    drop(alive);
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "precious").unwrap();
    assert!(bind(&path).unwrap_err().to_string().contains("is no socket"));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
    let long = folder.path().join("x".repeat(200));
    assert!(format!("{:#}", bind(&long).unwrap_err()).contains("107 bytes"));
}

#[test]
fn a_socket_that_is_not_ours_any_more_stays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.sock");
    let listener = bind(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "another's").unwrap();
    drop(listener);
    assert!(path.exists());
}

#[test]
fn of_many_that_start_at_once_one_wins() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.sock");
    for _ in 0..50 {
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let barrier = std::sync::Barrier::new(4);
        let start = || {
            barrier.wait();
            bind(&path).ok()
        };
        let winners = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(start)).collect();
            threads.into_iter().filter_map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
        });
        assert_eq!(winners.len(), 1);
    }
}
