//! WorkloadGroup: what the endpoints of a service have in common, and how to ask whether one is well.

use std::time::Duration;

use super::Labels;
use super::workload_entry::{self, WorkloadAddress, WorkloadEntry};
use crate::route::node::{Node, Value};
use crate::route::report::{Path, Report};

/// A checked WorkloadGroup.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkloadGroup {
    /// Labels of its endpoints.
    pub labels: Labels,
    /// The other fields that they have in common.
    pub template: WorkloadEntry,
    /// The health check of each endpoint.
    pub probe: Option<Probe>,
}

/// A health check.
#[derive(Clone, Debug, PartialEq)]
pub struct Probe {
    /// Its action.
    pub method: Method,
    /// Before the first.
    pub initial_delay: Duration,
    /// Time for one check, at most.
    pub timeout: Duration,
    /// From one to the next.
    pub period: Duration,
    /// Successes in a row after which an endpoint is healthy.
    pub success_threshold: u32,
    /// Failures in a row after which an endpoint is unhealthy.
    pub failure_threshold: u32,
}

/// The action of a probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Method {
    /// Connects.
    Tcp {
        /// The endpoint itself if none.
        host: Option<String>,
        /// Where.
        port: u16,
    },
    /// Asks by HTTP.
    Http {
        /// Where.
        port: u16,
    },
    /// Runs a program.
    Exec,
}

/// Reads a WorkloadGroup.
pub fn read(spec: &Node, path: &Path<'_>, report: &mut Report<'_>) -> WorkloadGroup {
    let labels = spec.get("metadata").map(|node| super::labels(node, "labels", &path.name("metadata"), report));
    let empty = Node { line: spec.line, value: Value::Map(Vec::new()) };
    let template_path = path.name("template");
    let template = spec.get("template");
    if template.is_none() {
        report.error(&template_path, "a template is needed", "add `template: {}` at least");
    }
    let template = template.unwrap_or(&empty);
    for name in ["address", "labels"] {
        if template.get(name).is_some() {
            let cure = match name {
                "labels" => "move them to `metadata`",
                _ => "remove it: every endpoint has its own",
            };
            let message = format!("not honoured: the template's {name}");
            report.warning(&template_path.name(name), message, cure);
        }
    }
    let template = workload_entry::template(template, &template_path, report);
    let probe = spec.get("probe").map(|node| probe(node, &path.name("probe"), report));
    let template = WorkloadEntry { address: WorkloadAddress::Network, ..template };
    WorkloadGroup { labels: labels.unwrap_or_default(), template, probe }
}

fn probe(node: &Node, path: &Path<'_>, report: &mut Report<'_>) -> Probe {
    let mut number = |name: &str, default: u32| {
        let number = node.integer(name).unwrap_or_default();
        if number < 0 {
            report.error(
                &path.name(name),
                format!("this cannot be less than 0, and it is {number}"),
                "write 0 or more",
            );
        }
        u32::try_from(number).ok().filter(|number| *number > 0).unwrap_or(default)
    };
    let [initial, timeout, period] = [("initialDelaySeconds", 0), ("timeoutSeconds", 1), ("periodSeconds", 10)]
        .map(|(name, default)| Duration::from_secs(u64::from(number(name, default))));
    let (success_threshold, failure_threshold) = (number("successThreshold", 1), number("failureThreshold", 3));
    Probe {
        method: method(node, path, report),
        initial_delay: initial,
        timeout,
        period,
        success_threshold,
        failure_threshold,
    }
}

fn method(node: &Node, path: &Path<'_>, report: &mut Report<'_>) -> Method {
    let methods = ["tcpSocket", "httpGet", "exec", "grpc"];
    let given: Vec<_> = methods.into_iter().filter(|name| node.get(name).is_some()).collect();
    match given.as_slice() {
        [] => report.error(path, "the probe does nothing", "add for example `tcpSocket: {port: 9000}`"),
        [_] => {}
        _ => {
            let message = format!("{} exclude each other", given.join(" and "));
            report.error(path, message, "keep one of them");
        }
    }
    if node.get("grpc").is_some() {
        let message = "Istio refuses a probe by grpc: it has no such check of health";
        report.error(&path.name("grpc"), message, "use tcpSocket");
    }
    if let Some(exec) = node.get("exec") {
        let (path, command) = (path.name("exec"), exec.items("command"));
        if command.is_empty() || command.iter().any(|word| word.as_str() == Some("")) {
            report.error(
                &path.name("command"),
                "a command is needed, without empty words",
                "write for example `command: [/bin/true]`",
            );
        }
    }
    if let Some(http) = node.get("httpGet") {
        let path = path.name("httpGet");
        if !["", "HTTP", "HTTPS"].contains(&http.text("scheme").unwrap_or_default()) {
            report.error(&path.name("scheme"), "this is no scheme", "write HTTP or HTTPS");
        }
        let headers = path.name("httpHeaders");
        for (index, header) in http.items("httpHeaders").iter().enumerate() {
            let name = header.text("name").unwrap_or_default();
            let fits = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
            if name.is_empty() || !fits {
                let path = headers.index(index);
                report.error(
                    &path.name("name"),
                    format!("{name:?} is no name of a header"),
                    "use letters, digits, - and _",
                );
            }
        }
        let port = super::port(http.get("port"), &path.name("port"), report);
        return Method::Http { port };
    }
    if let Some(tcp) = node.get("tcpSocket") {
        let path = path.name("tcpSocket");
        let port = super::port(tcp.get("port"), &path.name("port"), report);
        let host = tcp.text("host").filter(|host| !host.is_empty()).map(str::to_owned);
        return Method::Tcp { host, port };
    }
    Method::Exec
}
