//! What is wrong with objects by themselves, under the codes of findings.

use std::collections::HashMap;

use super::code::{self, Code};
use super::finding::{Finding, Findings};
use crate::route::kind::Kind;
use crate::route::object::Key;
use crate::route::problem::{Problem, Severity};

/// Adds problems of single objects, but for those that other checks have said better.
pub(super) fn add(problems: &[Problem], keys: &[Key], out: &mut Findings) {
    let named: HashMap<String, &Key> = keys.iter().map(|key| (key.to_string(), key)).collect();
    for problem in problems {
        let key = named.get(problem.object.as_str()).copied();
        let code = code(problem);
        if problem.severity == Severity::Warning && key.is_some_and(|key| out.has(key, &problem.field)) {
            continue;
        }
        let message = if problem.field.is_empty() {
            problem.message.clone()
        } else {
            format!("{}: {}", problem.field, problem.message)
        };
        let message = match key {
            None if !problem.object.is_empty() => format!("{}: {message}", problem.object),
            _ => message,
        };
        out.add(Finding {
            code,
            level: code.level,
            key: key.cloned(),
            file: problem.file.clone(),
            line: problem.line,
            field: problem.field.clone(),
            message,
            cure: problem.cure.clone(),
        });
    }
}

/// Problems have no codes; what they say does.
fn code(problem: &Problem) -> &'static Code {
    let message = problem.message.as_str();
    if problem.severity == Severity::Error {
        return code::SCHEMA_ERROR;
    }
    let of = |kind: Kind| problem.object.split(' ').next() == Some(kind.name());
    let unused = of(Kind::VirtualService) || of(Kind::TcpRoute);
    if message.starts_with("not honoured") || message.contains("is not served") || message.contains("is not honoured") {
        code::NOT_HONOURED
    } else if unused && message.contains("is not used: ") {
        if problem.field.contains(".match[") { code::INEFFECTIVE } else { code::UNREACHABLE }
    } else if message.contains("old one") || message.contains("has no effect any more") {
        code::DEPRECATED
    } else if of(Kind::ServiceEntry) && message.starts_with("without `addresses`") {
        code::ADDRESSES_NEEDED
    } else {
        code::SCHEMA_WARNING
    }
}
