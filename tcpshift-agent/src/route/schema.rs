//! Which fields a kind has, of which type, and which of them tcpshift honours.
//!
//! The tables in [`istio`], [`gateway_api`] and [`kubernetes`] are data. [`check`] holds a tree against them: unknown fields
//! and wrong types are errors, fields that are known and not honoured are warnings, and names in
//! `snake_case`, which Istio takes too, are turned into `camelCase`. What goes beyond one field's type is the
//! model's business.

pub mod document;
pub mod gateway_api;
pub mod istio;
pub mod kubernetes;
pub mod policy;

use super::duration;
use super::node::{Node, Value, camel_case};
use super::report::{Path, Report};

/// What a value must look like.
#[derive(Debug)]
pub enum Shape {
    /// Text.
    Text,
    /// `true` or `false`.
    Bool,
    /// A whole number of 32 bits, signed.
    Int32,
    /// A whole number of 32 bits, not negative.
    Uint32,
    /// A whole number of 64 bits, not negative.
    Uint64,
    /// Any number.
    Number,
    /// A whole number or a text.
    IntOrText,
    /// A Go duration: `10s`, `1m30s`.
    Duration,
    /// One of these words.
    Enum(&'static [&'static str]),
    /// Any number of these.
    List(&'static Self),
    /// Any names, values of one shape.
    Map(&'static Self),
    /// These fields.
    Message(&'static [Field]),
    /// Not looked into.
    Any,
}

/// One field of a message.
#[derive(Debug)]
pub struct Field {
    /// In `camelCase`.
    pub name: &'static str,
    /// Its type.
    pub shape: Shape,
    /// What tcpshift does with it.
    pub honoured: Honoured,
}

/// What tcpshift does with a field.
#[derive(Clone, Copy, Debug)]
pub enum Honoured {
    /// What it says.
    Yes,
    /// Nothing, and nothing is missing by that: it means nothing for TCP on plain hosts.
    Meaningless,
    /// Nothing, which the user has to know.
    No(Why),
}

/// Why a field is not honoured, and what to do.
#[derive(Clone, Copy, Debug)]
pub struct Why {
    /// The reason.
    pub reason: &'static str,
    /// What to do.
    pub cure: &'static str,
}

/// An honoured field.
pub const fn yes(name: &'static str, shape: Shape) -> Field {
    Field { name, shape, honoured: Honoured::Yes }
}

/// A field that means nothing here.
pub const fn mute(name: &'static str, shape: Shape) -> Field {
    Field { name, shape, honoured: Honoured::Meaningless }
}

/// A field that is not honoured.
pub const fn no(name: &'static str, shape: Shape, why: Why) -> Field {
    Field { name, shape, honoured: Honoured::No(why) }
}

/// Holds a tree against a shape and reports all that does not fit.
pub fn check(node: &mut Node, shape: &Shape, path: &Path<'_>, report: &mut Report<'_>) {
    let fits = match (shape, &mut node.value) {
        (Shape::Any, _)
        | (_, Value::Null)
        | (Shape::Text | Shape::IntOrText, Value::String(_))
        | (Shape::Bool, Value::Bool(_))
        | (Shape::Number, Value::Number(_)) => true,
        (Shape::Int32, Value::Number(number)) => number.as_i64().is_some_and(|number| i32::try_from(number).is_ok()),
        (Shape::Uint32, Value::Number(number)) => number.as_u64().is_some_and(|number| u32::try_from(number).is_ok()),
        (Shape::Uint64, Value::Number(number)) => number.as_u64().is_some(),
        (Shape::IntOrText, Value::Number(number)) => number.as_i64().is_some(),
        (Shape::Duration, Value::String(text)) => duration::parse(text).is_some(),
        (Shape::Enum(words), Value::String(text)) => words.contains(&text.as_str()),
        (Shape::List(shape), Value::List(items)) => {
            for (index, item) in items.iter_mut().enumerate() {
                let path = path.index(index);
                if item.value == Value::Null {
                    report.error(&path, "this item of the list is empty", "give it a value or remove its dash");
                } else {
                    check(item, shape, &path, report);
                }
            }
            true
        }
        (Shape::Map(shape), Value::Map(fields)) => {
            for field in fields {
                check(&mut field.node, shape, &path.name(&field.name), report);
            }
            true
        }
        (Shape::Message(known), Value::Map(fields)) => {
            for at in 0..fields.len() {
                message_field(fields, at, known, path, report);
            }
            true
        }
        _ => false,
    };
    if !fits {
        let message = format!("{} is expected here, and this is {}", shape.described(), node.described());
        report.error(path, message, shape.cure(node));
        // Nothing that follows has to know of wrong types.
        node.value = Value::Null;
    }
}

fn message_field(
    fields: &mut [super::node::Field],
    at: usize,
    known: &[Field],
    path: &Path<'_>,
    report: &mut Report<'_>,
) {
    let written = fields[at].name.clone();
    let name = camel_case(&written);
    let path = path.name(&written);
    let Some(rule) = known.iter().find(|rule| rule.name == name) else {
        let cure = match closest(&written, known.iter().map(|rule| rule.name)) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("known here: {}", known.iter().map(|rule| rule.name).collect::<Vec<_>>().join(", ")),
        };
        report.error(&path, "unknown field", cure);
        return;
    };
    if name != written {
        if fields.iter().any(|other| other.name == name) {
            report.error(&path, format!("`{name}` is given twice, in two spellings"), "remove one");
            return;
        }
        fields[at].name = name;
    }
    let field = &mut fields[at];
    if let (Honoured::No(Why { reason, cure }), false) = (rule.honoured, field.node.value == Value::Null) {
        report.warning(&path, format!("not honoured: {reason}"), cure);
    }
    check(&mut field.node, &rule.shape, &path, report);
}

/// The known word that a written one was probably meant to be.
pub fn closest<'a>(written: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    if written.len() > 64 {
        return None;
    }
    let written = written.to_lowercase();
    let near =
        known.map(|word| (distance(&written, &word.to_lowercase()), word)).min_by_key(|(distance, _)| *distance)?;
    (near.0 <= 1 + near.1.len() / 4).then_some(near.1)
}

/// Letters to change, insert or remove to make one word of the other (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut corner = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = corner + usize::from(x != *y);
            corner = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(corner + 1);
        }
    }
    row[b.len()]
}

impl Shape {
    fn described(&self) -> String {
        match self {
            Self::Text => "a text".to_owned(),
            Self::Bool => "true or false".to_owned(),
            Self::Int32 => "a whole number from -2147483648 to 2147483647".to_owned(),
            Self::Uint32 => "a whole number from 0 to 4294967295".to_owned(),
            Self::Uint64 => "a whole number, not negative".to_owned(),
            Self::Number => "a number".to_owned(),
            Self::IntOrText => "a whole number or a text".to_owned(),
            Self::Duration => "a duration such as 10s or 1m30s".to_owned(),
            Self::Enum(words) => format!("one of {}", words.join(", ")),
            Self::List(_) => "a list".to_owned(),
            Self::Map(_) | Self::Message(_) => "a map".to_owned(),
            Self::Any => "anything".to_owned(),
        }
    }

    fn cure(&self, node: &Node) -> String {
        match (self, &node.value) {
            (Self::Text, Value::Bool(_) | Value::Number(_)) => "put it in quotes".to_owned(),
            (Self::Int32 | Self::Uint32 | Self::Uint64, Value::String(text)) if text.parse::<i64>().is_ok() => {
                "remove the quotes".to_owned()
            }
            (Self::Duration, Value::Number(number)) => format!("write a unit, as in {number}s"),
            (Self::List(_), Value::Map(_) | Value::String(_) | Value::Number(_)) => {
                "begin each item with a dash".to_owned()
            }
            (Self::Enum(words), Value::String(text)) => match closest(text, words.iter().copied()) {
                Some(near) => format!("did you mean {near}?"),
                None => String::new(),
            },
            _ => String::new(),
        }
    }
}
