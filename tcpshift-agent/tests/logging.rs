//! What an agent says when it panics, which goes the way of its log.

use std::process::Command;

use tcpshift_agent::logging;

/// Is run by the other test, in a process of its own.
#[test]
#[ignore = "it is a part of a_panic_stands_in_the_log_behind_the_lines_before_it"]
fn panicking() {
    let log = logging::queued("info").unwrap();
    log::info!("a line before it");
    let ended = std::thread::Builder::new().name("doomed".to_owned()).spawn(|| panic!("so it ends")).unwrap().join();
    drop(log);
    assert!(ended.is_err());
}

#[test]
fn a_panic_stands_in_the_log_behind_the_lines_before_it() {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "panicking", "--ignored"]).env_remove("RUST_LOG").env_remove("RUST_BACKTRACE");
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{text}");
    let (before, after) = text.split_once("thread 'doomed' panicked at ").unwrap();
    assert!(before.contains("INFO  logging] a line before it\n"), "{text}");
    assert!(after.contains("so it ends\n"), "{text}");
}
