//! The reader of route files against kubectl: 2,000 documents in every style, and what kubectl takes them for.
//!
//! `cargo xtask corpus` made the file with Debian's kubectl 1.32.3+ds-2. Nothing here asks kubectl.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;
use tcpshift_agent::route::node::{self, Node};
use tcpshift_agent::route::yaml::{self, Documents};

/// Why a document is judged otherwise than by kubectl. Each is a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Decision {
    /// A name stands twice in one map, and kubectl takes the last.
    Twice,
    /// A stream of JSON holds what is none: YAML, or `---`. kubectl takes it from 1.33 on.
    Mixed,
}

/// How many documents of the corpus each decision is about.
const DECIDED: [(Decision, usize); 2] = [(Decision::Twice, 15), (Decision::Mixed, 39)];

/// Below `spec` of every object, or the first reason why the text is refused.
fn ours(text: &str) -> Result<Vec<Value>, String> {
    let Documents { nodes, malformed, .. } = yaml::read(text);
    if let Some(first) = malformed.into_iter().next() {
        return Err(format!("{}: {}", first.line, first.message));
    }
    let spec = |node: &Node| {
        let is_text = |name| node.get(name).is_none_or(|node| node.as_str().is_some());
        let metadata = node.get("metadata").is_none_or(|node| matches!(node.value, node::Value::Map(_)));
        if node.text("kind").is_some() && is_text("apiVersion") && metadata {
            Ok(node.to_json()["spec"].take())
        } else {
            Err("this is no object".to_owned())
        }
    };
    nodes.iter().map(spec).collect()
}

/// Whether two values are the same; numbers as kubectl prints them, in 64 bits.
fn alike(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => one == other || one.as_f64() == other.as_f64(),
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| alike(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one.iter().all(|(name, value)| other.get(name).is_some_and(|other| alike(value, other)))
        }
        _ => one == other,
    }
}

fn decision(text: &str, ours: &Result<Vec<Value>, String>, is_taken: bool) -> Option<Decision> {
    match ours {
        Err(reason) if is_taken && reason.contains("stands twice in one map") => Some(Decision::Twice),
        Ok(_) if !is_taken && text.trim_start_matches('\u{feff}').trim_start().starts_with('{') => {
            Some(Decision::Mixed)
        }
        _ => None,
    }
}

#[test]
fn documents_are_what_kubectl_takes_them_for() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/kubectl.jsonl");
    let corpus = std::fs::read_to_string(path).unwrap();
    let (mut decided, mut wrong) = (BTreeMap::new(), Vec::new());
    let (mut taken, mut refused) = (0, 0);
    for line in corpus.lines().skip(1) {
        let document: Value = serde_json::from_str(line).unwrap();
        let text = document["text"].as_str().unwrap();
        let ours = ours(text);
        let values = document["values"].as_array();
        taken += usize::from(values.is_some());
        refused += usize::from(values.is_none());
        let agrees = match (&ours, values) {
            (Ok(ours), Some(values)) => {
                ours.len() == values.len() && ours.iter().zip(values).all(|(one, other)| alike(one, other))
            }
            (Err(_), None) => true,
            _ => false,
        };
        if agrees {
            continue;
        }
        match decision(text, &ours, values.is_some()) {
            Some(decision) => *decided.entry(decision).or_insert(0) += 1,
            None => wrong.push(format!("{text}\n  kubectl: {:?} {}\n  ours: {ours:?}", values, document["refused"])),
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n==\n"));
    assert_eq!((taken + refused, refused > 500), (2_000, true), "{refused} refused");
    assert_eq!(decided, DECIDED.into_iter().collect::<BTreeMap<_, _>>());
}
