//! The problems of single objects, as findings with codes.

use std::collections::{HashMap, HashSet};

use super::code::{self, Code, Level};
use super::finding::{Finding, Findings};
use crate::route::kind::Kind;
use crate::route::object::Key;
use crate::route::problem::{Problem, Severity};

/// Adds the problems of single objects, without those that another check has reported in more detail.
///
/// Istio's validator ignores the prefixes of sources, so a rule that is dead for it may get connections here; then the finding
/// is at the lowest level.
pub(super) fn add(problems: &[Problem], keys: &[Key], alive: &HashSet<(Key, usize)>, out: &mut Findings) {
    let named: HashMap<String, &Key> = keys.iter().map(|key| (key.to_string(), key)).collect();
    for problem in problems {
        let key = named.get(problem.object.as_str()).copied();
        let code = code(problem);
        if problem.severity == Severity::Warning && key.is_some_and(|key| out.has(key, &problem.field)) {
            continue;
        }
        let lives = [code::UNREACHABLE, code::INEFFECTIVE].contains(&code)
            && key.zip(rule(&problem.field)).is_some_and(|(key, rule)| alive.contains(&(key.clone(), rule)));
        let message = if lives {
            let dead = problem.message.replace(" is not used in Istio: ", " is not used: ");
            let dead = dead.strip_suffix("; here the longest prefix wins").unwrap_or(&dead);
            format!("in Istio, {dead}; here it is reached, as the longest prefix wins")
        } else if problem.field.is_empty() {
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
            level: if lives { Level::Info } else { code.level },
            key: key.cloned(),
            file: problem.file.clone(),
            line: problem.line,
            field: problem.field.clone(),
            message,
            cure: problem.cure.clone(),
        });
    }
}

/// The `tcp` rule that a field is in.
fn rule(field: &str) -> Option<usize> {
    field.strip_prefix("spec.tcp[")?.split(']').next()?.parse().ok()
}

/// The code of a problem, by its message.
fn code(problem: &Problem) -> &'static Code {
    let message = problem.message.as_str();
    if problem.severity == Severity::Error {
        return code::SCHEMA_ERROR;
    }
    let of = |kind: Kind| problem.object.split(' ').next() == Some(kind.name());
    let unused = of(Kind::VirtualService) || of(Kind::TcpRoute);
    if message.starts_with("not honoured") || message.contains("is not served") || message.contains("is not honoured") {
        code::NOT_HONOURED
    } else if unused && [" is not used: ", " is not used in Istio: "].iter().any(|words| message.contains(words)) {
        if problem.field.contains(".match[") { code::INEFFECTIVE } else { code::UNREACHABLE }
    } else if message.contains("old one") || message.contains("has no effect any more") {
        code::DEPRECATED
    } else if of(Kind::ServiceEntry) && message.starts_with("without `addresses`") {
        code::ADDRESSES_NEEDED
    } else {
        code::SCHEMA_WARNING
    }
}
