//! What the YAML reader takes, refuses and bounds, and that it reads back what is written.

use proptest::prelude::*;
use serde_json::json;

use super::{Documents, MAX_MALFORMED, Malformed, read};
use crate::route::node::Node;
use crate::route::write;

fn documents(text: &str) -> Vec<Node> {
    let Documents { nodes, malformed, .. } = read(text);
    assert_eq!(malformed, [], "{text}");
    nodes
}

fn json_of(text: &str) -> serde_json::Value {
    documents(text)[0].to_json()
}

fn refused(text: &str) -> Malformed {
    let Documents { nodes, mut malformed, .. } = read(text);
    assert!(nodes.is_empty() && malformed.len() == 1, "{malformed:?}");
    malformed.remove(0)
}

#[test]
fn plain_scalars_are_typed_as_kubectl_types_them() {
    assert_eq!(
        json_of(
            "---\n{a: 1, b: -2, c: 0x1F, d: 010, e: 1.5, f: yes, g: Off, h: ~, i: 'yes', j: \"1\", k: 10s, l: 1e3, m: 1.2.3.4, o: !!str 5}"
        ),
        json!({"a": 1, "b": -2, "c": 31, "d": 8, "e": 1.5, "f": true, "g": false, "h": null, "i": "yes", "j": "1",
               "k": "10s", "l": 1000, "m": "1.2.3.4", "o": "5"})
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
fn names_are_what_kubectl_makes_of_them() {
    assert_eq!(
        json_of("on: 1\nn: 2\n0x10: 3\n1e6: 4\n.5: 5\n'y': 6\n1.0: 7\n"),
        json!({"true": 1, "false": 2, "16": 3, "1e+06": 4, "0.5": 5, "y": 6, "1": 7})
    );
    assert!(refused("~: 1\n").message.contains("name of a field"));
    assert!(refused("18446744073709551615: 1\n").message.contains("name of a field"));
}

#[test]
fn anchors_and_merge_keys_are_expanded() {
    assert_eq!(
        json_of("base: &base {x: 1, z: 2}\nmore:\n  <<: *base\n  z: 3\n"),
        json!({"base": {"x": 1, "z": 2}, "more": {"z": 3, "x": 1}})
    );
}

#[test]
fn hostile_texts_are_refused_with_their_line() {
    assert_eq!(refused("a: 1\nb: 2\na: 3\n").line, 3);
    assert!(refused(&"[".repeat(1000)).message.contains("deep"));
    assert!(refused(&"- ".repeat(1000)).message.contains("deep"));
    assert!(refused(&"{\"a\":".repeat(1000)).message.contains("deep"));
    assert!(refused("a: *nobody\n").line == 1);
    assert!(refused("a: &a [*a]\n").message.contains("is inside the value that it names"));
    assert!(refused("a: !!int x\n").message.contains("type"));
    assert!(refused("? [a, b]\n: 1\n").message.contains("name of a field"));
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let alias = format!("*a{}", level - 1);
        bomb = format!("{bomb}a{level}: &a{level} [{}]\n", [alias.as_str(); 10].join(", "));
    }
    assert!(refused(&bomb).message.contains("aliases"));
    let long = format!("a: &a [{}]\n", "x, ".repeat(50_000));
    let many: Vec<_> = (0..15).map(|n| format!("b{n}: [*a, {}]\n", "y, ".repeat(10_000))).collect();
    assert!(refused(&format!("{long}{}", many.concat())).message.contains("too much"));
}

#[test]
fn json_with_surrogate_pairs_is_read() {
    assert_eq!(json_of(r#"{"a": "\ud83d\ude00", "b": [1, null]}"#), json!({"a": "😀", "b": [1, null]}));
    assert!(refused("---\na: \"\\ud83d\\ude00\"\n").message.contains("names no character"));
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
    let Documents { nodes, malformed, .. } = read("{\"a\": 1}\n{\"b\": 2,\n \"c\" 3}\n{\"c\": [4}\n{\"d\": 5}\n");
    let lines: Vec<_> = malformed.iter().map(|one| one.line).collect();
    assert_eq!(lines, [3, 4], "{malformed:?}");
    assert_eq!(nodes.iter().map(Node::to_json).collect::<Vec<_>>(), [json!({"a": 1}), json!({"d": 5})]);
    let Documents { nodes, malformed, .. } = read(&"{\"a\": b: c}\n".repeat(1000));
    assert!(nodes.is_empty() && malformed.len() == MAX_MALFORMED + 1, "{}", malformed.len());
}

#[test]
fn a_bad_document_hides_no_other() {
    let Documents { nodes, malformed, .. } =
        read("a: 1\n---\nb: @x\n---\nc: 3\n---\n\td: 4\n--- e\nf: 6\n---\ng: *g\n---\nh: 8\n");
    assert_eq!(
        nodes.iter().map(Node::to_json).collect::<Vec<_>>(),
        [json!({"a": 1}), json!({"c": 3}), json!({"h": 8})]
    );
    assert_eq!(malformed.iter().map(|one| one.line).collect::<Vec<_>>(), [3, 7, 8, 11], "{malformed:?}");
}

#[test]
fn a_byte_order_mark_may_begin_a_document() {
    assert_eq!(documents("\u{feff}a: 1\n---\n\u{feff}b: 2\nc: 3\n")[1].to_json(), json!({"b": 2, "c": 3}));
    assert!(refused("a: 1\nb: 2\n\u{feff}---\nc: 3\n").message.contains("byte order mark"));
}

#[test]
fn what_kubectl_passes_over_in_silence_has_a_line() {
    for (text, line) in
        [("a: 1\n...\nb: 2\n", 3), ("  a: 1\nb: 2\n", 2), ("[b]\nc: d\n", 2), ("# json\n{\"a\": 1}\n{\"b\": 2}\n", 3)]
    {
        let Documents { nodes, malformed, unread } = read(text);
        assert_eq!((nodes.len(), malformed.len(), unread), (1, 0, vec![line]), "{text}");
    }
    assert_eq!(json_of("a: 1\n...\n# the end\n...\n"), json!({"a": 1}));
    assert!(read("a: 1\n...\n# the end\n...\n").unread.is_empty());
}

#[test]
fn what_libyaml_takes_is_taken() {
    let cases = [
        ("a: [\n  'b'\n]\nc: [d,\ne]\n", json!({"a": ["b"], "c": ["d", "e"]})),
        ("a: 'one\n\n  two\nthree'\n", json!({"a": "one\ntwo three"})),
        ("a: \"one\n  two\\\n  \\ three\"\n", json!({"a": "one two three"})),
        ("a: one\n  two\n\n  three # and\n", json!({"a": "one two\nthree"})),
        ("a: |2-\n   b\n  c\n\nd: >+\n e\n f\n\n", json!({"a": " b\nc", "d": "e f\n\n"})),
        ("- a:\n  - b\n  -   c: d\n      e: f\n", json!([{"a": ["b", {"c": "d", "e": "f"}]}])),
        ("a: [2001:db8::, http://b, c:d]\n", json!({"a": ["2001:db8::", "http://b", "c:d"]})),
        ("? a\n: b\n? c\n", json!({"a": "b", "c": null})),
        ("a: !Ref b\nc: !!binary aGk=\n", json!({"a": "b", "c": "hi"})),
        ("a: [b: c, d]\ne: {f, g: }\n", json!({"a": [{"b": "c"}, "d"], "e": {"f": null, "g": null}})),
    ];
    for (text, value) in cases {
        assert_eq!(json_of(text), value, "{text}");
    }
}

#[test]
fn a_name_of_an_anchor_is_that_of_the_node_that_began_last() {
    assert_eq!(json_of("a: &n {b: &n 1, c: *n}\nd: *n\n"), json!({"a": {"b": 1, "c": 1}, "d": 1}));
    assert_eq!(json_of("a: &n {b: &n [2]}\nd: *n\n")["d"], json!([2]));
}

#[test]
fn merge_keys_overwrite_what_stands_before_them() {
    assert_eq!(
        json_of("a: &a {x: 1}\nb: &b {x: 2, z: 2}\nc: {x: 0, <<: [*a, *b], z: 3}\n")["c"],
        json!({"x": 1, "z": 3})
    );
    assert!(refused("a: &a [{x: 1}]\nb: {<<: *a}\n").message.contains("takes a map"));
}

#[test]
fn slips_are_said_in_plain_words_with_a_cure() {
    let cases = [
        ("a: 1\nb: {{ .Values.b }}\n", 2, "unrendered template", "render"),
        ("a: 1\n{{- if .Values.b }}\nb: 2\n", 2, "unrendered template", "render"),
        ("a:\n- *\n", 2, "`*` begins an alias", "`\"*\"`"),
        ("a: *.example.com\n", 1, "`*` begins an alias", "`\"*.example.com\"`"),
        ("a:\n\tb: 1\n", 2, "tab", "spaces"),
        ("a: 1\nb:2\nc: 3\n", 2, "space is missing", "`b: `"),
        ("b:2\nc: 3\n", 1, "space is missing", "`b: `"),
        ("a: \"b\nc: 3\nd: 4\n", 1, "no end", "close it"),
        ("a: \"b\nc: \"d\"\n", 2, "begins in line 1", "quote that is missing"),
        ("a: b: c\n", 1, "second colon", "quotes"),
        ("a: @b\n", 1, "cannot begin with `@`", "quotes"),
        ("a: `b`\n", 1, "cannot begin with a backtick", "quotes"),
        ("a: %b\n", 1, "cannot begin with `%`", "quotes"),
        ("a: [${B}]\n", 1, "unfilled variable", "fill it in"),
        ("a: 1\n<<<<<<< HEAD\nb: 2\n=======\nb: 3\n>>>>>>> c\n", 2, "conflict of a merge", "keep one"),
        ("a: 'it's'\n", 1, "behind the closing quote", "whole value"),
        ("a: 1\n b: 2\n", 2, "deeper than the one before", "alike"),
        ("a:\n  b: 1\n c: 2\n", 3, "indented unlike", "alike"),
        ("a:\n  b: 1\n  - c\n", 3, "a list item stands among", "deeper"),
        ("a: \"\\d\"\n", 1, "`\\d` means nothing", "`\\\\d`"),
        ("a: \"\\/\"\n", 1, "means nothing", "write `/`"),
        ("a: b\u{7}\n", 1, "control character (U+0007)", "remove"),
        ("a: [1, 2\nb: 3\n", 2, "is missing before this; line 1 has the `[`", "close it"),
        ("a: 1\nb: [1, 2\n", 2, "the `[` in this line is not closed", "`]`"),
        ("a:\n\u{a0} b: 1\n  c: 2\n", 2, "no-break space", "plain spaces"),
        ("{\"a\": {{ b }}}\n", 1, "unrendered template", "render"),
        ("%YAML 1.1\n---\na: 1\n", 1, "a line that begins with `%`", "remove all lines"),
    ];
    for (text, line, message, cure) in cases {
        let mut found = read(text).malformed;
        let wrong = found.remove(0);
        assert!(found.is_empty() && wrong.line == line, "{text}: {wrong:?}");
        assert!(wrong.message.contains(message) && wrong.cure.contains(cure), "{text}: {wrong:?}");
    }
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
    let Malformed { line, message, .. } = refused(&text);
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
        let Documents { nodes, malformed, .. } = read(&written);
        prop_assert!(malformed.is_empty(), "{:?}\n{}", malformed, written);
        prop_assert_eq!(nodes[0].to_json(), value, "{}", written);
    }
}

#[test]
fn a_template_is_wrong_once() {
    let template = "{{- if .Values.a }}\na: {{ .Values.a }}\n{{- with .b }}\nb: {{ . }}\n{{- end }}\n{{- end }}\n";
    let found = read(&format!("{template}---\nc: 1\n"));
    assert_eq!((found.malformed.len(), found.malformed[0].line, found.nodes.len()), (1, 1, 1), "{found:?}");
}

#[test]
fn a_last_line_without_its_end_is_a_line_as_for_kubectl() {
    assert_eq!(json_of("a: |\n  b"), json!({"a": "b\n"}));
    assert_eq!(json_of("a: >\n  b\n\n  c"), json!({"a": "b\nc\n"}));
    assert_eq!(json_of("a: |-\n  b"), json!({"a": "b"}));
    assert_eq!(documents("a: 1\n---\nb: |\n  c")[1].to_json(), json!({"b": "c\n"}));
}
