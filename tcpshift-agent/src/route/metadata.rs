//! `metadata` of any object: what Kubernetes checks of it, and Istio of its annotations.

use jiff::Timestamp;

use super::kind::Kind;
use super::node::{Field, Node};
use super::report::{Path, Report};
use super::{annotations, names};

/// Bytes of all annotations of an object, keys and values, at most.
const MAX_ANNOTATIONS: usize = 256 << 10;

/// Checks labels and annotations. The object's name is checked where it is read.
pub fn check(kind: Kind, metadata: &Node, report: &mut Report<'_>) {
    let path = Path::ROOT.name("metadata");
    let labels = path.name("labels");
    for field in metadata.fields("labels") {
        let value = field.node.as_str().unwrap_or_default();
        let fault = names::qualified_name_fault(&field.name).or_else(|| names::metadata_value_fault(value));
        if let Some(fault) = fault {
            report.fault(&labels.name(&field.name), fault);
        }
    }
    let annotations = path.name("annotations");
    for field in metadata.fields("annotations") {
        if let Some(fault) = names::annotation_key_fault(&field.name) {
            report.fault(&annotations.name(&field.name), fault);
        }
    }
    let size = |field: &Field| field.name.len() + field.node.as_str().unwrap_or_default().len();
    let total: usize = metadata.fields("annotations").iter().map(size).sum();
    if total > MAX_ANNOTATIONS {
        let message = format!("the annotations have {total} bytes, {MAX_ANNOTATIONS} at most");
        report.error(&annotations, message, "remove some");
    }
    if kind != Kind::VirtualService {
        annotations::check(kind, metadata, report);
    }
    if kind.group() == Kind::VirtualService.group() {
        annotations::refuse_as_istio(metadata, report);
    }
}

/// The time when the object was made, if it is given.
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
