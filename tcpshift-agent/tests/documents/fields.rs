//! docs/objects.md has a row for each field that is honoured, and for no other.

use std::collections::BTreeSet;

use tcpshift_agent::route::kind::Kind;
use tcpshift_agent::route::schema::{FieldSchema, Honoured, Shape, document, kubernetes, policy};

use super::pages;

/// Fields that are described in a section of their own.
const ELSEWHERE: [&str; 3] = ["trafficPolicy", "endpoints", "template"];

#[test]
fn every_honoured_field_is_described() {
    let page = pages::page("docs/objects.md");
    let mut wrong = Vec::new();
    for (heading, fields) in sections() {
        let text = section(&page.text, heading);
        let rows: BTreeSet<String> = rows(text);
        for missing in fields.difference(&rows) {
            wrong.push(format!("`{missing}` is honoured and has no row under {heading}"));
        }
        for unknown in rows.difference(&fields) {
            wrong.push(format!("`{unknown}` has a row under {heading} and is no honoured field"));
        }
    }
    assert!(wrong.is_empty(), "docs/objects.md:\n{}", wrong.join("\n"));
}

/// Headings, and the fields that are described below each.
fn sections() -> Vec<(&'static str, BTreeSet<String>)> {
    let mut sections = vec![
        ("Metadata", honoured(kubernetes::METADATA, "")),
        ("Traffic policy", honoured(policy::TRAFFIC_POLICY, "")),
    ];
    for kind in Kind::ALL {
        let Shape::Message(fields) = document::shape(kind) else { panic!("{} is no message", kind.name()) };
        let own: Vec<&FieldSchema> =
            fields.iter().filter(|field| !["apiVersion", "kind", "metadata"].contains(&field.name)).collect();
        let found = match own[..] {
            [FieldSchema { name: "spec", shape: Shape::Message(spec), .. }] => honoured(spec, ""),
            _ => own.iter().flat_map(|field| of_field(field, "")).collect(),
        };
        let heading = if kind == Kind::GatewayApiGateway { "Gateway of the Gateway API" } else { kind.name() };
        sections.push((heading, found));
    }
    sections
}

fn honoured(fields: &[FieldSchema], before: &str) -> BTreeSet<String> {
    fields.iter().flat_map(|field| of_field(field, before)).collect()
}

/// The paths of a field's honoured leaves.
fn of_field(field: &FieldSchema, before: &str) -> BTreeSet<String> {
    if !matches!(field.honoured, Honoured::Yes) {
        return BTreeSet::new();
    }
    let path = format!("{before}{}", field.name);
    // A WorkloadEntry inside another object, whose own fields have a section; those of an EndpointSlice are its own.
    let is_entry = |shape: &Shape| match shape {
        Shape::Message(fields) | Shape::List(Shape::Message(fields)) => fields.iter().any(|one| one.name == "address"),
        _ => false,
    };
    let is_policy = before.starts_with("portLevelSettings") && ["loadBalancer", "connectionPool"].contains(&field.name);
    if is_policy || (ELSEWHERE.contains(&field.name) && (field.name == "trafficPolicy" || is_entry(&field.shape))) {
        return BTreeSet::from([path]);
    }
    let (inside, of_item) = match &field.shape {
        Shape::Message(fields) => (honoured(fields, &format!("{path}.")), false),
        Shape::List(Shape::Message(fields)) => (honoured(fields, &format!("{path}[].")), true),
        _ => (BTreeSet::new(), false),
    };
    if inside.is_empty() && !of_item { BTreeSet::from([path]) } else { inside }
}

/// The text below a heading of the second level.
fn section<'a>(text: &'a str, heading: &str) -> &'a str {
    let begin = format!("\n## {heading}\n");
    let (_, rest) = text.split_once(&begin).unwrap_or_else(|| panic!("docs/objects.md has no heading {heading}"));
    rest.split_once("\n## ").map_or(rest, |(own, _)| own)
}

/// The first cell of each row of a table whose head is `field`.
fn rows(section: &str) -> BTreeSet<String> {
    let lines = section.lines().skip_while(|line| !line.starts_with("| field |")).skip(2);
    let cells = lines.take_while(|line| line.starts_with('|')).filter_map(|line| line.split('|').nth(1));
    cells.map(|cell| cell.trim().trim_matches('`').to_owned()).collect()
}
