//! `tls` of a traffic policy: checked as Istio does it, and not honoured.

use crate::route::node::Node;
use crate::route::report::{Path, Report};

/// Checks the block.
pub(super) fn check(node: &Node, path: &Path<'_>, report: &mut Report<'_>) {
    let mode = node.text("mode").unwrap_or("DISABLE");
    let has = |name: &str| node.text(name).is_some_and(|text| !text.is_empty());
    let (simple, mutual) = (mode == "SIMPLE", mode == "MUTUAL");
    if node.flag("insecureSkipVerify") {
        let given =
            has("caCertificates") || !node.items("subjectAltNames").is_empty() || simple && has("credentialName");
        if (simple || mutual) && given {
            let message = "where nothing is verified, caCertificates, subjectAltNames and credentialName have no use";
            report.error(&path.name("insecureSkipVerify"), message, "remove them, or this field");
        }
    }
    if (simple || mutual) && has("credentialName") {
        if ["clientCertificate", "caCertificates", "privateKey", "caCrl"].into_iter().any(has) {
            let message = "credentialName excludes clientCertificate, privateKey, caCertificates and caCrl";
            report.error(&path.name("credentialName"), message, "remove these");
        }
        return;
    }
    for name in ["clientCertificate", "privateKey"] {
        if mutual && !has(name) {
            report.error(&path.name(name), format!("MUTUAL needs {name}"), "add the path of its file");
        }
    }
}
