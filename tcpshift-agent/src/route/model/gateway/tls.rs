//! `tls` of a Gateway's server: checked as Istio does it. Such servers are not served.

use super::Protocol;
use crate::route::node::Node;
use crate::route::report::{Path, Report};

/// What Istio's proxy can offer.
const CIPHERS: &[&str] = &[
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-CHACHA20-POLY1305",
    "ECDHE-ECDSA-AES128-SHA",
    "ECDHE-RSA-AES128-SHA",
    "ECDHE-ECDSA-AES256-SHA",
    "ECDHE-RSA-AES256-SHA",
    "AES128-GCM-SHA256",
    "AES256-GCM-SHA384",
    "AES128-SHA",
    "AES256-SHA",
    "DES-CBC3-SHA",
];

/// Checks the block of a server with this protocol.
pub(super) fn check(tls: Option<&Node>, protocol: Option<Protocol>, path: &Path<'_>, report: &mut Report<'_>) {
    let Some(tls) = tls else {
        if protocol == Some(Protocol::Tls) {
            let cure = "add `tls: {mode: PASSTHROUGH}`, or write TCP";
            report.error(path, "TLS and HTTPS need `tls`", cure);
        }
        return;
    };
    let mode = tls.text("mode").unwrap_or("PASSTHROUGH");
    let has = |name: &str| tls.text(name).is_some_and(|text| !text.is_empty()) || !tls.items(name).is_empty();
    if tls.flag("httpsRedirect") && protocol != Some(Protocol::Http) {
        report.warning(&path.name("httpsRedirect"), "it has an effect with HTTP only", "remove it");
    }
    let passes = matches!(mode, "PASSTHROUGH" | "AUTO_PASSTHROUGH");
    match protocol {
        Some(Protocol::Tcp | Protocol::Udp) => {
            report.error(path, "only TLS and HTTPS can have `tls`", "remove it");
        }
        Some(Protocol::Http)
            if !passes || ["caCertificates", "privateKey", "serverCertificate"].into_iter().any(has) =>
        {
            report.error(path, "plain HTTP cannot have certificates", "keep `httpsRedirect` alone, or nothing");
        }
        _ => {}
    }
    versions_and_ciphers(tls, path, report);
    certificates(tls, mode, path, report);
}

fn versions_and_ciphers(tls: &Node, path: &Path<'_>, report: &mut Report<'_>) {
    let ciphers: Vec<&str> = tls.items("cipherSuites").iter().filter_map(Node::as_str).collect();
    if matches!(tls.text("minProtocolVersion"), Some("TLSV1_0" | "TLSV1_1")) && ciphers.is_empty() {
        let message = "versions below 1.2 work with cipher suites that are named only";
        report.warning(&path.name("minProtocolVersion"), message, "add `cipherSuites`");
    }
    let path = path.name("cipherSuites");
    for (index, cipher) in ciphers.iter().enumerate() {
        let problem = if CIPHERS.contains(cipher) || *cipher == "ALL" {
            ciphers[..index].contains(cipher).then(|| format!("{cipher} stands twice"))
        } else {
            Some(format!("{cipher:?} is no cipher suite and is passed over"))
        };
        if let Some(problem) = problem {
            report.warning(&path.index(index), problem, "remove it");
        }
    }
}

fn certificates(tls: &Node, mode: &str, path: &Path<'_>, report: &mut Report<'_>) {
    let has = |name: &str| tls.text(name).is_some_and(|text| !text.is_empty()) || !tls.items(name).is_empty();
    let sources = ["credentialName", "credentialNames", "tlsCertificates"].into_iter().filter(|name| has(name)).count();
    let files = has("serverCertificate") && has("privateKey");
    if mode == "ISTIO_MUTUAL" {
        let fields = [
            "serverCertificate",
            "privateKey",
            "caCertificates",
            "tlsCertificates",
            "credentialName",
            "credentialNames",
        ];
        for name in fields.into_iter().filter(|name| has(name)) {
            report.error(&path.name(name), "ISTIO_MUTUAL brings its own certificates", "remove it");
        }
        return;
    }
    if sources + usize::from(files) > 1 {
        let message = "credentialName, credentialNames, tlsCertificates and serverCertificate exclude each other";
        report.error(path, message, "keep one of them");
    }
    if matches!(mode, "PASSTHROUGH" | "AUTO_PASSTHROUGH") {
        if sources > 0 || ["caCrl", "serverCertificate", "privateKey", "caCertificates"].into_iter().any(has) {
            report.warning(path, format!("{mode} uses no certificates"), "remove them");
        }
        // Istio looks at this in these modes alone.
        if has("caCrl") && has("credentialName") {
            report.error(&path.name("caCrl"), "a list of revocations belongs in the credential", "remove it");
        }
        return;
    }
    if has("credentialName") || has("credentialNames") {
        return;
    }
    if mode != "SIMPLE" && !has("caCertificates") {
        report.error(&path.name("caCertificates"), format!("{mode} needs caCertificates"), "add the path of its file");
    }
    let listed = tls.items("tlsCertificates");
    if listed.len() > 2 {
        report.warning(&path.name("tlsCertificates"), "two of them can be used at most", "remove the others");
    }
    let listed: Vec<&Node> = if listed.is_empty() { vec![tls] } else { listed.iter().collect() };
    for certificate in listed {
        for name in ["serverCertificate", "privateKey"] {
            if certificate.text(name).unwrap_or_default().is_empty() {
                report.error(&path.name(name), format!("{mode} needs {name}"), "add the path of its file");
            }
        }
    }
    if has("caCrl") && mode == "SIMPLE" {
        report.error(&path.name("caCrl"), "SIMPLE asks clients for no certificate", "remove it");
    }
}
