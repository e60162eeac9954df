//! Nothing in `app` blocks: while its loop waits for a disk or a lock, no command, signal or heartbeat is served.
//!
//! The check reads names: calls of the standard library and of rustix that wait, and functions of other rooms that are
//! known to. What is slow runs on a thread of its own, whose code is in the room that it belongs to.

use crate::source::SourceFile;

/// Files and folders whose code runs in the loop.
const LOOP: [&str; 2] = ["tcpshift-agent/src/app.rs", "tcpshift-agent/src/app/"];

/// Beginnings of calls that may block. What follows `tokio::` does not.
const CALLS: [&str; 40] = [
    "fs::",
    "File::create",
    "File::open",
    "OpenOptions::",
    ".canonicalize(",
    ".exists(",
    ".is_dir(",
    ".is_file(",
    ".metadata(",
    ".read_dir(",
    ".sync_all(",
    ".sync_data(",
    "fdatasync(",
    "flock(",
    "fsync(",
    "stdin(",
    "net::TcpListener",
    "net::TcpStream",
    "net::UdpSocket",
    "net::UnixStream",
    ".to_socket_addrs(",
    "process::Command",
    "thread::sleep",
    "thread::park",
    ".join()",
    ".block_on(",
    "blocking_lock(",
    "blocking_read(",
    "blocking_recv(",
    "blocking_send(",
    "blocking_write(",
    "self.files.look(",
    "self.state.write(",
    "self.state.renew(",
    "self.planner.resolve(",
    "self.planner.edit(",
    "self.planner.assemble(",
    "self.assignment.prepare(",
    "Condvar",
    "Barrier",
];

/// Calls that stay, each with the reason.
const EXCEPTIONS: [(&str, &str, &str); 6] = [
    ("tcpshift-agent/src/app.rs", ".block_on(", "it begins the loop"),
    ("tcpshift-agent/src/app.rs", "fs::", "options are looked at before the loop"),
    ("tcpshift-agent/src/app.rs", ".is_dir(", "options are looked at before the loop"),
    ("tcpshift-agent/src/app.rs", ".is_file(", "options are looked at before the loop"),
    ("tcpshift-agent/src/app.rs", ".canonicalize(", "options are looked at before the loop"),
    ("tcpshift-agent/src/app/resources.rs", ".join()", "threads are tried before the loop"),
];

/// Every blocking call of the files of the loop, and every exception that there is no more.
pub(super) fn blocking(sources: &[SourceFile]) -> Vec<String> {
    problems(sources, &EXCEPTIONS)
}

fn problems(sources: &[SourceFile], exceptions: &[(&str, &str, &str)]) -> Vec<String> {
    let mut used = vec![false; exceptions.len()];
    let mut problems = Vec::new();
    for source in sources.iter().filter(|source| LOOP.iter().any(|start| source.path.starts_with(start))) {
        if source.is_test() {
            continue;
        }
        let code = source.code_without_tests();
        for call in CALLS {
            for (index, _) in code.match_indices(call).filter(|(index, _)| is_whole(&code[..*index], call)) {
                match exceptions.iter().position(|(path, allowed, _)| (*path, *allowed) == (&source.path, call)) {
                    Some(number) => used[number] = true,
                    None => problems.push(format!(
                        "{}:{}: `{call}` may block the loop of app; see {}",
                        source.path,
                        source.line(index),
                        file!()
                    )),
                }
            }
        }
    }
    let unused = exceptions.iter().zip(used).filter(|(_, used)| !used);
    problems.extend(unused.map(|((path, call, _), _)| format!("{}: {path} has no `{call}` any more", file!())));
    problems
}

/// Whether a match is no part of a longer word, and neither of tokio nor of `std::os::unix::fs`, which has traits alone.
fn is_whole(before: &str, call: &str) -> bool {
    let joined = before.ends_with(|letter: char| letter.is_alphanumeric() || letter == '_');
    let is_method = call.starts_with('.');
    (is_method || !joined) && !before.ends_with("tokio::") && !before.ends_with("unix::")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, code: &str) -> usize {
        problems(&[SourceFile::new(path, code)], &[]).len()
    }

    #[test]
    fn blocking_calls_are_found_in_app_alone() {
        for code in [
            "use std::fs::read;",
            "fn a() { fs::read(b) }",
            "fn a() { std::thread::sleep(b) }",
            "fn a() { file.sync_all() }",
            "let a = File::open(b);",
            "handle.join()",
            "use std::net::TcpStream;",
        ] {
            assert_eq!(found("tcpshift-agent/src/app/x.rs", code), 1, "{code}");
            assert_eq!(found("tcpshift-agent/src/route/x.rs", code), 0, "{code}");
        }
        for code in
            ["tokio::fs::read(a)", "// fs::read", "offs::read(a)", "words.join(\", \")", "tokio::net::TcpStream"]
        {
            assert_eq!(found("tcpshift-agent/src/app.rs", code), 0, "{code}");
        }
    }

    #[test]
    fn exceptions_have_to_be_needed() {
        let sources = [SourceFile::new("tcpshift-agent/src/app/x.rs", "fs::read(a); fs::write(b);")];
        assert_eq!(problems(&sources, &[("tcpshift-agent/src/app/x.rs", "fs::", "why")]), Vec::<String>::new());
        assert_eq!(problems(&sources, &[("tcpshift-agent/src/app/y.rs", "fs::", "why")]).len(), 3);
    }
}
