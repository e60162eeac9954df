//! What the YAML reader takes, refuses and bounds, and that it reads back what is written.

use proptest::prelude::*;
use serde_json::json;

use super::{Documents, MAX_MALFORMED, Malformed, read};
use crate::route::node::Node;
use crate::route::write;

fn documents(text: &str) -> Vec<Node> {
    let Documents { nodes, malformed } = read(text);
    assert_eq!(malformed, [], "{text}");
    nodes
}

fn json_of(text: &str) -> serde_json::Value {
    documents(text)[0].to_json()
}

fn refused(text: &str) -> Malformed {
    let Documents { nodes, mut malformed } = read(text);
    assert!(nodes.is_empty() && malformed.len() == 1, "{malformed:?}");
    malformed.remove(0)
}

#[test]
fn plain_scalars_are_typed_as_kubectl_types_them() {
    assert_eq!(
        json_of(
            "{a: 1, b: -2, c: 0x1F, d: 010, e: 1.5, f: yes, g: off, h: ~, i: 'yes', j: \"1\", k: 10s, l: 1e3, m: 1.2.3.4, n: !!str 5}"
        ),
        json!({"a": 1, "b": -2, "c": 31, "d": 8, "e": 1.5, "f": "yes", "g": "off", "h": null, "i": "yes", "j": "1",
               "k": "10s", "l": 1000, "m": "1.2.3.4", "n": "5"})
    );
}

#[test]
fn documents_know_their_lines_and_empty_ones_are_left_out() {
    let documents = documents("# nothing\n---\n---\na: 1\n---\nb:\n  - c: 2\n");
    assert_eq!(documents.len(), 2);
    assert_eq!(documents[0].line, 4);
    assert_eq!(documents[1].items("b")[0].get("c").map(|node| node.line), Some(7));
}

#[test]
fn anchors_and_merge_keys_are_expanded() {
    assert_eq!(
        json_of("base: &base {x: 1, y: 2}\nmore:\n  <<: *base\n  y: 3\n"),
        json!({"base": {"x": 1, "y": 2}, "more": {"y": 3, "x": 1}})
    );
}

#[test]
fn hostile_texts_are_refused_with_their_line() {
    assert_eq!(refused("a: 1\nb: 2\na: 3\n").line, 3);
    assert_eq!(refused("a: 1\nb: [1, 2\n").message.split(':').next(), Some("this is not YAML"));
    assert!(
        refused(&"[".repeat(1000)).message.contains("deep") || refused(&"[".repeat(1000)).message.contains("not YAML")
    );
    assert!(refused("a: *nobody\n").line == 1);
    assert!(refused("a: !secret 5\n").message.contains("tag"));
    assert!(refused("? [a, b]\n: 1\n").message.contains("name of a field"));
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let alias = format!("*a{}", level - 1);
        bomb = format!("{bomb}a{level}: &a{level} [{}]\n", [alias.as_str(); 10].join(", "));
    }
    assert!(refused(&bomb).message.contains("too much"));
}

#[test]
fn json_with_surrogate_pairs_is_read() {
    assert_eq!(json_of(r#"{"a": "\ud83d\ude00", "b": [1, null]}"#), json!({"a": "😀", "b": [1, null]}));
    assert!(refused(r#"{"a": "\ud83d"}"#).message.contains("not YAML"));
}

#[test]
fn json_values_may_stand_one_behind_the_other() {
    let nodes = documents("{\"a\": 1}{\"a\": 2}\n{\n  \"a\":\n    \"\\ud83d\\ude00\"\n}\n\n{\n  \"a\": 4 }");
    let lines: Vec<_> = nodes.iter().map(|node| node.line).collect();
    assert_eq!(lines, [1, 1, 2, 7]);
    assert_eq!(nodes[2].to_json(), json!({"a": "😀"}));
    assert_eq!(nodes[3].get("a").map(|node| node.line), Some(8));
}

#[test]
fn a_bad_value_of_a_stream_hides_no_other() {
    let Documents { nodes, malformed } = read("{\"a\": 1}\n{\"b\": 2,\n \"c\" 3}\n{\"c\": [4}\n{\"d\": 5}\n");
    let lines: Vec<_> = malformed.iter().map(|one| one.line).collect();
    assert_eq!(lines, [3, 4], "{malformed:?}");
    assert_eq!(nodes.iter().map(Node::to_json).collect::<Vec<_>>(), [json!({"a": 1}), json!({"d": 5})]);
    let Documents { nodes, malformed } = read(&"{\"a\": b: c}\n".repeat(1000));
    assert!(nodes.is_empty() && malformed.len() == MAX_MALFORMED + 1, "{}", malformed.len());
}

#[test]
fn a_stream_has_the_bounds_of_a_file() {
    let Documents { malformed, .. } = read(&"{}".repeat(1_000_001));
    assert!(malformed.len() == 1 && malformed[0].message.contains("too much"), "{malformed:?}");
}

#[test]
fn aliases_do_not_hide_depth() {
    // Each anchor holds the one before it 20 levels down: 60 levels are in the text at no time.
    let nested = |inner: &str| format!("{}{inner}{}", "[".repeat(20), "]".repeat(20));
    let mut text = format!("a0: &a0 {}\n", nested("x"));
    for level in 1..4 {
        text = format!("{text}a{level}: &a{level} {}\n", nested(&format!("*a{}", level - 1)));
    }
    let Malformed { line, message } = refused(&text);
    assert!(line == 4 && message.contains("deep"), "{line}: {message}");
}

#[test]
fn large_merges_and_maps_take_linear_time() {
    let fields: Vec<String> = (0..50_000).map(|n| format!("k{n}: v")).collect();
    let text = format!("a: &a {{{}}}\nb: {{<<: *a}}\n", fields.join(", "));
    let begin = std::time::Instant::now();
    assert_eq!(documents(&text)[0].fields("b").len(), 50_000);
    // Squared it would take minutes.
    assert!(begin.elapsed().as_secs() < 20, "{:?}", begin.elapsed());
}

proptest! {
    #[test]
    fn no_stream_makes_the_reader_panic(text in "\\{[-ab :\\[\\]{},\n\"\\\\é]{0,60}") {
        drop(read(&text));
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in "[-a-z0-9 :\\[\\]{},\n#&*!|>'\"%@`?<~.\t\\\\é]{0,80}") {
        drop(read(&text));
    }

    #[test]
    fn what_is_written_reads_back_alike(texts in proptest::collection::vec(".{0,12}|[0-9a-fxobeE+.-]{1,6}|yes|no|on|off|y|n|null|~|true|NULL|=|\\.inf|\\.nan|[ \n\t]{1,3}", 1..6)) {
        let value = json!({"texts": texts, "map": texts.iter().map(|text| (text.clone(), json!(1))).collect::<serde_json::Map<_, _>>()});
        let written = write::yaml(&value);
        let Documents { nodes, malformed } = read(&written);
        prop_assert!(malformed.is_empty(), "{:?}\n{}", malformed, written);
        prop_assert_eq!(nodes[0].to_json(), value, "{}", written);
    }
}
