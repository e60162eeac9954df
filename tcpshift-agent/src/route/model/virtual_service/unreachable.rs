//! Rules of one VirtualService that others before them leave nothing to (Istio's IST0130 and IST0131).
//!
//! Blocks are compared as wholes, as Istio does it. What one block covers of another is not seen here.

use std::collections::HashMap;

use serde_json::Value as Json;

use crate::route::node::Node;
use crate::route::report::{Path, Report};

/// Warns of rules and match blocks that are never used.
pub(super) fn warn(spec: &Node, path: &Path<'_>, report: &mut Report<'_>) {
    for protocol in ["tcp", "tls"] {
        rules(spec.items(protocol), &path.name(protocol), report);
    }
}

fn rules(rules: &[Node], path: &Path<'_>, report: &mut Report<'_>) {
    let mut seen: HashMap<String, usize> = HashMap::new();
    let mut open = None;
    for (index, rule) in rules.iter().enumerate() {
        let rule_path = path.index(index);
        let blocks = rule.items("match");
        if let Some(open) = open {
            let why = format!("rule #{open} before it has no match and takes everything");
            let message = if narrower(blocks) {
                format!("rule #{index} is not used in Istio: {why}; here the longest prefix wins")
            } else {
                format!("rule #{index} is not used: {why}")
            };
            let cure = if blocks.is_empty() {
                format!("remove one of them, or give rule #{open} a match")
            } else {
                format!("put it before rule #{open}")
            };
            report.warning(&rule_path, message, cure);
        }
        if blocks.is_empty() {
            open.get_or_insert(index);
            continue;
        }
        let mut duplicates = 0;
        let path = rule_path.name("match");
        for (at, block) in blocks.iter().enumerate() {
            let text = compared(block.to_json()).map(|block| block.to_string()).unwrap_or_default();
            if let Some(first) = seen.get(&text) {
                let message = format!("rule #{index} match #{at} is not used: rule #{first} has the same match");
                report.warning(&path.index(at), message, "remove it, and the rule if it has no other match");
                duplicates += 1;
            } else {
                seen.insert(text, index);
            }
        }
        if duplicates == blocks.len() && open.is_none() {
            let message = format!("rule #{index} is not used: rules before it have all of its matches");
            report.warning(&rule_path, message, "remove it, or change its match");
        }
    }
}

/// Whether a match block names addresses, by which a rule wins here over one without, wherever it stands.
fn narrower(blocks: &[Node]) -> bool {
    blocks.iter().any(|block| block.text("sourceSubnet").is_some() || !block.items("destinationSubnets").is_empty())
}

/// A value without the parts that say nothing, its fields in order of their names.
fn compared(value: Json) -> Option<Json> {
    match value {
        Json::Object(fields) => {
            let mut fields: Vec<_> =
                fields.into_iter().filter_map(|(name, value)| Some((name, compared(value)?))).collect();
            fields.sort_by(|a, b| a.0.cmp(&b.0));
            (!fields.is_empty()).then(|| Json::Object(fields.into_iter().collect()))
        }
        Json::Array(items) if items.is_empty() => None,
        Json::String(text) if text.is_empty() => None,
        Json::Number(number) if number.as_u64() == Some(0) => None,
        Json::Null => None,
        other => Some(other),
    }
}
