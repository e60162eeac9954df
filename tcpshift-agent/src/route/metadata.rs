//! `metadata` of any object: what Kubernetes checks of it, and Istio of its annotations.

use jiff::Timestamp;

use super::kind::Kind;
use super::node::Node;
use super::report::{Path, Report};
use super::{annotations, names};

/// Checks labels and annotations. The object's name is checked where it is read.
pub fn check(kind: Kind, metadata: &Node, report: &mut Report<'_>) {
    let path = Path::ROOT.name("metadata");
    let labels = path.name("labels");
    for field in metadata.fields("labels") {
        let value = field.node.as_str().unwrap_or_default();
        let problem = names::qualified_name_problem(&field.name).or_else(|| names::metadata_value_problem(value));
        if let Some(problem) = problem {
            report.error(&labels.name(&field.name), problem, "");
        }
    }
    let annotations = path.name("annotations");
    for field in metadata.fields("annotations") {
        if let Some(problem) = names::qualified_name_problem(&field.name) {
            report.error(&annotations.name(&field.name), problem, "");
        }
    }
    if kind != Kind::VirtualService {
        annotations::check(kind, metadata, report);
    }
    if kind.group() == Kind::VirtualService.group() {
        annotations::refuse_as_istio(metadata, report);
    }
}

/// When the object was made, if that is said.
pub fn created(metadata: &Node, report: &mut Report<'_>) -> Option<Timestamp> {
    let node = metadata.get("creationTimestamp")?;
    let created = node.as_str().and_then(|text| text.parse().ok());
    if created.is_none() {
        let path = Path::ROOT.name("metadata");
        let message = format!("{} is no time", node.described());
        report.error(&path.name("creationTimestamp"), message, "write it as 2026-01-31T12:00:00Z");
    }
    created
}
