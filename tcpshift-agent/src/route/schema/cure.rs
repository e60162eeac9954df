//! Cures for values of the wrong type, and for unknown fields.

use super::{Around, FieldSchema, Shape};
use crate::route::node::{Node, Value};
use crate::route::spelling::closest;
use crate::route::variable::{UNFILLED, is_variable};

/// For a value that has not the shape.
pub(super) fn of_type(shape: &Shape, node: &Node) -> String {
    match (shape, &node.value) {
        (_, Value::String(text)) if is_variable(text) => UNFILLED.to_owned(),
        (Shape::Text, Value::Bool(_) | Value::Number(_)) => "put it in quotes".to_owned(),
        (Shape::Text | Shape::Duration | Shape::Enum(_), Value::List(items)) => match items.as_slice() {
            [_] => "write the value without its dash".to_owned(),
            _ => "write one value, not a list".to_owned(),
        },
        (Shape::Whole(..), Value::String(text)) if text.parse::<i64>().is_ok() => "remove the quotes".to_owned(),
        (Shape::Number(_), Value::String(text)) if text.parse::<f64>().is_ok() => "remove the quotes".to_owned(),
        (Shape::Bool, Value::String(text)) => match text.to_lowercase().as_str() {
            "true" | "false" => "remove the quotes".to_owned(),
            "yes" | "on" | "y" => "write true".to_owned(),
            _ => "write true or false".to_owned(),
        },
        (Shape::Bool, Value::Number(_)) => "write true or false".to_owned(),
        (Shape::Duration, Value::Number(number)) => format!("write a unit, as in {number}s"),
        (Shape::Duration, Value::String(text)) => of_duration(text),
        (Shape::Enum(words), Value::String(text)) => match closest(text, words.iter().copied()) {
            Some(near) if !text.is_empty() => format!("did you mean {near}?"),
            _ => "write one of them, or remove the field".to_owned(),
        },
        (Shape::List(_), Value::Map(_)) => "put a dash before its first field".to_owned(),
        (Shape::List(item), Value::String(_) | Value::Number(_) | Value::Bool(_)) => of_list(item, node),
        (Shape::Message(fields), value @ (Value::String(_) | Value::Number(_))) => of_message(fields, value),
        (Shape::Message(_), Value::List(_)) => "remove the dash before its first field".to_owned(),
        (Shape::Map(_), _) => "write names and values without dashes, as in `name: value`".to_owned(),
        (Shape::Whole(..), Value::Number(number)) if number.is_f64() => "write a whole number".to_owned(),
        (Shape::Whole(..), Value::Number(_)) => "write a number of this range".to_owned(),
        (Shape::Whole(..) | Shape::Number(_), _) => "write the number alone".to_owned(),
        (Shape::IntOrText(_), _) => "write the number or the name alone".to_owned(),
        _ => String::new(),
    }
}

fn of_duration(text: &str) -> String {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.strip_suffix('d').and_then(|days| days.parse::<u32>().ok()) {
        Some(days) => format!("write hours, as in {}h", u64::from(days) * 24),
        None if digits => format!("write a unit, as in {text}s"),
        None => "write it with the units h, m, s and ms".to_owned(),
    }
}

/// An item where a list of such items is expected.
fn of_list(item: &Shape, node: &Node) -> String {
    match (item, node.to_json()) {
        (Shape::Text, value @ serde_json::Value::String(_)) => format!("write it as a list: [{value}]"),
        (Shape::Text, value) => format!("write it as a list: [\"{value}\"]"),
        _ => "begin each item with a dash".to_owned(),
    }
}

/// The value of a field where the message with that field is expected.
fn of_message(fields: &[FieldSchema], value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => String::new(),
    };
    let is_number = text.parse::<i64>().is_ok();
    match fields {
        [FieldSchema { name, shape: Shape::Whole(..), .. }] if is_number => format!("write `{{{name}: {text}}}`"),
        [FieldSchema { name, shape: Shape::Text, .. }, ..] if !is_number => format!("write `{{{name}: {text}}}`"),
        _ => format!("write fields, as {}", names(fields)),
    }
}

/// For a field that a message has not: where it belongs, or how it is spelled.
pub(super) fn of_field(name: &str, here: &Around<'_>) -> String {
    let has = |fields: &[FieldSchema]| fields.iter().any(|field| field.name == name);
    let inside = here.known.iter().find(|field| match &field.shape {
        Shape::Message(fields) | Shape::List(Shape::Message(fields)) => has(fields),
        _ => false,
    });
    let near = closest(name, here.known.iter().map(|field| field.name));
    let mut branch = Some(here);
    while let Some(around) = branch.filter(|around| !around.outer.is_some_and(|outer| has(outer.known))) {
        branch = around.outer;
    }
    match (near, inside, branch) {
        // A slip of the pen or of case is the likelier one.
        (Some(near), ..) if near.eq_ignore_ascii_case(name) => format!("did you mean `{near}`?"),
        (_, Some(FieldSchema { name: inside, shape: Shape::List(_), .. }), _) => {
            format!("it belongs in an item of `{inside}`")
        }
        (_, Some(FieldSchema { name: inside, .. }), _) => format!("it belongs in `{inside}`"),
        (Some(near), ..) => format!("did you mean `{near}`?"),
        (_, _, Some(Around { name: branch, .. })) => format!("it belongs beside `{branch}`, and not in it"),
        _ => format!("known here: {}", names(here.known)),
    }
}

fn names(fields: &[FieldSchema]) -> String {
    fields.iter().map(|field| field.name).collect::<Vec<_>>().join(", ")
}
