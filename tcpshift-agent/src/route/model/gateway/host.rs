//! `hosts` of a Gateway's server.

use crate::route::names;

/// Why a text is none of `HOST`, `NAMESPACE/HOST`, `./HOST` or `*/HOST`, where a host is full, an IP address,
/// or begins with the wildcard `*.`; and what to do.
pub(super) fn problem(text: &str) -> Option<(String, String)> {
    let host = match text.split_once('/') {
        Some((namespace, host)) => {
            let fault = Some(namespace).filter(|namespace| !matches!(*namespace, "." | "*"));
            if let Some(fault) = fault.and_then(names::host_label_fault) {
                let problem = format!("{} is no namespace: {}", names::shown(namespace), fault.problem);
                return Some((problem, "write HOST, NAMESPACE/HOST, ./HOST or */HOST".to_owned()));
            }
            host
        }
        None => text,
    };
    if host == "*" {
        return None;
    }
    let (problem, cure) = if host.is_empty() {
        ("a host name cannot be empty".to_owned(), "write * for every host".to_owned())
    } else if host.contains('*') && !host.starts_with("*.") {
        let problem = format!("{host:?} has a wildcard that does not stand for whole labels");
        (problem, "write `*.` before the rest, or * alone".to_owned())
    } else if names::is_address(host) && host.contains('.') {
        return None;
    } else if !host.contains('.') {
        let problem = format!("{} is a short name; a full host name is needed here", names::shown(host));
        (problem, "write the whole name, as in echo.example.com, or * for every host".to_owned())
    } else {
        (names::wildcard_host_problem(host)?, names::host_cure(host).to_owned())
    };
    Some((problem, cure))
}
