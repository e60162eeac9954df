//! What the YAML reader takes, refuses and bounds, and that it reads back what is written.

use proptest::prelude::*;
use serde_json::json;

use super::{Malformed, read};
use crate::route::write;

fn json_of(text: &str) -> serde_json::Value {
    read(text).expect("the text is YAML")[0].to_json()
}

fn refused(text: &str) -> Malformed {
    read(text).expect_err("the text must be refused")
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
    let documents = read("# nothing\n---\n---\na: 1\n---\nb:\n  - c: 2\n").expect("YAML");
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
    assert_eq!(read(&text).expect("YAML")[0].fields("b").len(), 50_000);
    // Squared it would take minutes.
    assert!(begin.elapsed().as_secs() < 20, "{:?}", begin.elapsed());
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in "[-a-z0-9 :\\[\\]{},\n#&*!|>'\"%@`?<~.\t\\\\é]{0,80}") {
        drop(read(&text));
    }

    #[test]
    fn what_is_written_reads_back_alike(texts in proptest::collection::vec(".{0,12}|[0-9a-fxobeE+.-]{1,6}|yes|no|on|off|y|n|null|~|true|NULL|=|\\.inf|\\.nan|[ \n\t]{1,3}", 1..6)) {
        let value = json!({"texts": texts, "map": texts.iter().map(|text| (text.clone(), json!(1))).collect::<serde_json::Map<_, _>>()});
        let written = write::yaml(&value);
        let documents = read(&written).map_err(|error| TestCaseError::fail(format!("{error:?}\n{written}")))?;
        prop_assert_eq!(documents[0].to_json(), value, "{}", written);
    }
}
