//! `analyze`: checks all objects of files together, and with those of a running agent if one is named.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use serde_json::Value;

use super::documents::Each;
use super::outcome;
use super::repeats::{self, Line};
use super::stop::{Done, Stop};
use super::{documents, quantity, screen};
use crate::admin::api::GetRequest;
use crate::admin::client::Client;
use crate::analyze::{self, Finding, Input, Level, code};
use crate::route::kind::Kind;
use crate::route::model::Labels;
use crate::route::object::Object;
use crate::route::write;

const AFTER: &str = "\
Examples:
  tcpshift-agent analyze routes/
  cat route.yaml | tcpshift-agent analyze -
  tcpshift-agent analyze --admin unix:/run/tcpshift/admin.sock route.yaml
  tcpshift-agent analyze --admin unix:/run/tcpshift/admin.sock
  tcpshift-agent analyze -S 'IST0101=VirtualService tcp-echo.default' routes/
  tcpshift-agent analyze --list

With --admin typed here, the files are laid over the objects of the running agent: what would happen if they were \
applied. Without files it looks at those objects as they are. Codes beginning with IST are Istio's.

Exit codes: 0 nothing at or above the failure threshold, 79 something, 65 a file that is no YAML, 1 a file that \
cannot be read, or no agent.";

/// Look at all objects together: what is missing, what is never reached, and which of two wins
#[derive(Args, Debug)]
#[command(after_help = AFTER)]
pub(super) struct AnalyzeArguments {
    /// Files, folders, or - for standard input; none is needed with --admin
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,

    /// Namespace of objects that name none; only findings of this one are printed
    #[arg(short, long, value_name = "NS")]
    namespace: Option<String>,

    /// Print the findings of all namespaces
    #[arg(short = 'A', long)]
    all_namespaces: bool,

    /// How to print: log, json or yaml
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value = "log")]
    output: Output,

    /// End with exit code 79 if there is a finding of this level or above
    #[arg(long, value_enum, ignore_case = true, value_name = "LEVEL", default_value = "Error")]
    failure_threshold: Threshold,

    /// Print findings of this level or above
    #[arg(long, value_enum, ignore_case = true, value_name = "LEVEL", default_value = "Info")]
    output_threshold: Threshold,

    /// Leave out findings, as 'CODE=KIND NAME.NAMESPACE'; * stands for anything
    #[arg(short = 'S', long, value_name = "CODE=OBJECT", value_parser = suppression)]
    suppress: Vec<Suppression>,

    /// Print also what repeats: every document that is no object, and every message
    #[arg(long)]
    all: bool,

    /// List the codes and what they mean
    #[arg(short = 'L', long)]
    list: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// A line each
    Log,
    /// A list, as istioctl prints it
    Json,
    /// The same as YAML
    Yaml,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Threshold {
    #[value(name = "Error")]
    Error,
    #[value(name = "Warning")]
    Warning,
    #[value(name = "Info")]
    Info,
}

impl Threshold {
    fn level(self) -> Level {
        match self {
            Self::Error => Level::Error,
            Self::Warning => Level::Warning,
            Self::Info => Level::Info,
        }
    }
}

/// Findings to leave out: a code, and the object in istioctl's words.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Suppression {
    code: String,
    object: String,
}

fn suppression(text: &str) -> Result<Suppression, String> {
    match text.split_once('=') {
        Some((code, object)) if code::find(code).is_some() && !object.is_empty() => {
            Ok(Suppression { code: code.to_owned(), object: object.to_owned() })
        }
        Some((code, object)) if !object.is_empty() => {
            Err(format!("there is no code {code:?}; `analyze --list` shows them all"))
        }
        _ => Err("write CODE=KIND NAME.NAMESPACE, as 'IST0101=VirtualService tcp-echo.default'".to_owned()),
    }
}

impl Suppression {
    fn covers(&self, finding: &Finding) -> bool {
        let object = finding.key.as_ref().map(|key| format!("{} {}.{}", key.kind.name(), key.name, key.namespace));
        finding.code.id == self.code && fits(&self.object, &object.unwrap_or_default())
    }
}

/// Whether a text matches a pattern in which a star stands for any text.
fn fits(pattern: &str, text: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(text) = text.strip_prefix(head) else { return false };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let last = parts.pop().unwrap_or_default();
    let Some(mut middle) = text.strip_suffix(last) else { return false };
    for part in parts {
        let Some(at) = middle.find(part) else { return false };
        middle = &middle[at + part.len()..];
    }
    true
}

/// The objects of the running agent.
#[derive(Debug, Default)]
pub(super) struct Running {
    objects: Vec<Object>,
    labels: Labels,
}

/// Reads all objects of an agent.
pub(super) async fn running(client: &Client) -> Result<Running, Stop> {
    let mut objects = Vec::new();
    for kind in Kind::ALL {
        let reply = client.get(&GetRequest { kind: kind.qualified(), namespace: None, name: None }).await?;
        objects.extend(reply.items.iter().filter_map(|item| analyze::present(&item.object, &item.origin)));
    }
    Ok(Running { objects, labels: client.status().await?.labels })
}

pub(super) fn execute(arguments: AnalyzeArguments, running: Option<Running>) -> Result<Done, Stop> {
    let AnalyzeArguments { paths, namespace, all_namespaces, output, suppress, list, all, .. } = arguments;
    let (fails, prints) = (arguments.failure_threshold.level(), arguments.output_threshold.level());
    if list {
        screen::print(&table())?;
        return Ok(Done::Well);
    }
    if paths.is_empty() && running.is_none() {
        return Err(Stop::Usage("name files or folders, or a running agent by --admin unix:PATH".to_owned()));
    }
    let names = documents::files(&paths)?;
    let Each { documents, unusable: mut unreadable, has_failed: failed } = documents::each(&names)?;
    let only = namespace.clone().filter(|_| !all_namespaces);
    let (present, agent) = running.map_or((Vec::new(), None), |one| (one.objects, Some(one.labels)));
    let now = agent.is_some().then(Timestamp::now);
    let mut analysis = analyze::analyze(Input { documents, namespace, present, agent, now });
    unreadable.append(&mut analysis.unreadable);
    let mut findings = analysis.findings;
    findings.retain(|finding| {
        let here = finding.key.as_ref().is_none_or(|key| only.as_ref().is_none_or(|only| key.namespace == *only));
        here && !suppress.iter().any(|suppression| suppression.covers(finding))
    });
    let found = findings.iter().any(|finding| finding.level >= fails);
    findings.retain(|finding| finding.level >= prints);
    outcome::problems(&unreadable);
    screen::print(&text(&findings, output, all)?)?;
    if analysis.unread > 0 {
        let documents = quantity::count(analysis.unread as u64, "document");
        screen::note(&format!("note: {documents} could not be read; what is in there counts as missing"));
    }
    let mut what: Vec<_> = names.iter().map(|name| name.display().to_string()).collect();
    if what.is_empty() {
        what.push("the objects of the running agent".to_owned());
    }
    if findings.is_empty() && !found && unreadable.is_empty() && !failed {
        screen::note(&format!("✔ No validation issues found when analyzing {}.", what.join(", ")));
    }
    Ok(match (failed, unreadable.is_empty(), found) {
        (true, _, _) => Done::Failed,
        (false, false, _) => Done::Invalid,
        (false, true, true) => Done::Found,
        (false, true, false) => Done::Well,
    })
}

fn text(findings: &[Finding], output: Output, all: bool) -> Result<String, Stop> {
    let json = || Value::Array(findings.iter().map(Finding::json).collect());
    Ok(match output {
        Output::Json => screen::json(&json())?,
        Output::Yaml => write::yaml(&json()),
        Output::Log if all => findings.iter().map(|finding| line(&finding.to_string())).collect(),
        Output::Log => repeats::fold(findings).iter().map(folded).collect(),
    })
}

fn folded(found: &Line<'_, Finding>) -> String {
    match found {
        Line::One(finding, others) => line(&format!("{finding}{}", repeats::more(*others))),
        Line::NoObjects(documents, files) => {
            let code = code::SCHEMA_ERROR;
            let text = repeats::no_objects(*documents, *files, "analyze");
            line(&format!("{} [{}] {text}", code.level.name(), code.id))
        }
    }
}

fn line(finding: &str) -> String {
    let text = screen::clean(&finding.replace('\n', " "));
    match text.strip_prefix(Level::Error.name()) {
        Some(rest) => format!("{}{rest}\n", screen::alarm(Level::Error.name())),
        None => format!("{text}\n"),
    }
}

fn table() -> String {
    let width = code::ALL.iter().map(|code| code.name.len()).max().unwrap_or_default();
    let line = |code: &&analyze::Code| {
        format!("{:<8} {:<7} {:<width$} {}\n", code.id, code.level.name(), code.name, code.meaning)
    };
    code::ALL.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_anything() {
        for (pattern, text, wanted) in [
            ("VirtualService a.b", "VirtualService a.b", true),
            ("VirtualService a.b", "VirtualService a.bc", false),
            ("VirtualService *.b", "VirtualService x.b", true),
            ("*", "", true),
            ("* a*.b", "Gateway abc.b", true),
            ("a*a", "a", false),
        ] {
            assert_eq!(fits(pattern, text), wanted, "{pattern} {text}");
        }
    }

    #[test]
    fn a_suppression_names_a_known_code() {
        assert!(suppression("IST0101=VirtualService tcp-echo.default").is_ok());
        for malformed in ["", "IST0101", "IST0101=", "IST9999=x", "=x"] {
            assert!(suppression(malformed).is_err(), "{malformed}");
        }
    }
}
