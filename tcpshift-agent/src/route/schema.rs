//! Which fields a kind has, of which type, and which of them tcpshift honours.
//!
//! The tables in [`istio`], [`gateway_api`] and [`kubernetes`] are data. [`check`] compares a tree with them: unknown fields and
//! wrong types are errors, fields that are known and not honoured are warnings, and names in `snake_case`, which Istio takes
//! too, are turned into `camelCase`. The model checks the values.

mod cure;
pub mod document;
pub mod gateway_api;
pub mod istio;
pub mod kubernetes;
pub mod policy;

use super::duration;
use super::node::{Node, Value, camel_case};
use super::report::{Path, Report};

/// The type of a value.
#[derive(Debug)]
pub enum Shape {
    /// Text.
    Text,
    /// `true` or `false`.
    Bool,
    /// A whole number of the API's type. The words name the valid numbers; the model checks them.
    Whole(Width, &'static str),
    /// Any number, and in words which.
    Number(&'static str),
    /// A whole number or a text, and in words which.
    IntOrText(&'static str),
    /// A Go duration: `10s`, `1m30s`.
    Duration,
    /// One of these words.
    Enum(&'static [&'static str]),
    /// Any number of these.
    List(&'static Self),
    /// Any names, values of one shape.
    Map(&'static Self),
    /// These fields.
    Message(&'static [FieldSchema]),
    /// Anything; not checked.
    Any,
}

/// The type of a whole number.
#[derive(Clone, Copy, Debug)]
pub enum Width {
    /// 32 bits, signed.
    Int32,
    /// 32 bits, not negative.
    Uint32,
    /// 64 bits, not negative.
    Uint64,
}

impl Width {
    fn holds(self, number: &serde_json::Number) -> bool {
        match self {
            Self::Int32 => number.as_i64().is_some_and(|number| i32::try_from(number).is_ok()),
            Self::Uint32 => number.as_u64().is_some_and(|number| u32::try_from(number).is_ok()),
            Self::Uint64 => number.as_u64().is_some(),
        }
    }
}

/// A port of Istio's API.
pub const PORT: Shape = Shape::Whole(Width::Uint32, "a port from 1 to 65535");
/// A port of Kubernetes' API.
pub const KUBERNETES_PORT: Shape = Shape::Whole(Width::Int32, "a port from 1 to 65535");
/// How many of something, signed in the API.
pub const COUNT: Shape = Shape::Whole(Width::Int32, "a whole number from 0 to 2147483647");
/// How many of something.
pub const UNSIGNED: Shape = Shape::Whole(Width::Uint32, "a whole number from 0 to 4294967295");
/// A share in whole percents.
pub const PERCENT: Shape = Shape::Whole(Width::Int32, "a percentage from 0 to 100");

/// One field of a message.
#[derive(Debug)]
pub struct FieldSchema {
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
    /// Honours it.
    Yes,
    /// Ignores it without a warning: it has no meaning for TCP on plain hosts.
    Meaningless,
    /// Ignores it with a warning.
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
pub const fn yes(name: &'static str, shape: Shape) -> FieldSchema {
    FieldSchema { name, shape, honoured: Honoured::Yes }
}

/// A field that means nothing here.
pub const fn mute(name: &'static str, shape: Shape) -> FieldSchema {
    FieldSchema { name, shape, honoured: Honoured::Meaningless }
}

/// A field that is not honoured.
pub const fn no(name: &'static str, shape: Shape, why: Why) -> FieldSchema {
    FieldSchema { name, shape, honoured: Honoured::No(why) }
}

/// A message and those around it, in which a misplaced field may belong.
#[derive(Clone, Copy)]
struct Around<'a> {
    known: &'a [FieldSchema],
    name: &'a str,
    outer: Option<&'a Self>,
}

/// Checks a document against a shape, and reports all differences.
pub fn check(node: &mut Node, shape: &Shape, path: &Path<'_>, report: &mut Report<'_>) {
    check_inside(node, shape, None, path, report);
}

fn check_inside(node: &mut Node, shape: &Shape, around: Option<&Around<'_>>, path: &Path<'_>, report: &mut Report<'_>) {
    if let Value::Word(word, value) = &node.value {
        node.value = as_expected(word, *value, shape, path, report);
    }
    let fits = match (shape, &mut node.value) {
        (Shape::Any, _)
        | (_, Value::Null)
        | (Shape::Text | Shape::IntOrText(_), Value::String(_))
        | (Shape::Bool, Value::Bool(_))
        | (Shape::Number(_), Value::Number(_)) => true,
        (Shape::Whole(width, _), Value::Number(number)) => width.holds(number),
        (Shape::IntOrText(_), Value::Number(number)) => Width::Int32.holds(number),
        (Shape::Duration, Value::String(text)) => duration::parse(text).is_some(),
        (Shape::Enum(words), Value::String(text)) => words.contains(&text.as_str()),
        (Shape::List(shape), Value::List(items)) => {
            for (index, item) in items.iter_mut().enumerate() {
                let path = path.index(index);
                if item.value == Value::Null {
                    report.error(&path, "this item of the list is empty", "give it a value or remove its dash");
                } else {
                    check_inside(item, shape, around, &path, report);
                }
            }
            true
        }
        (Shape::Map(shape), Value::Map(fields)) => {
            for field in fields {
                name_as_written(field, path, report);
                check_inside(&mut field.node, shape, None, &path.name(&field.name), report);
            }
            true
        }
        (Shape::Message(known), Value::Map(fields)) => {
            let name = around.map_or("", |around| around.name);
            let here = Around { known, name, outer: around.and_then(|around| around.outer) };
            for at in 0..fields.len() {
                message_field(fields, at, &here, path, report);
            }
            true
        }
        _ => false,
    };
    if !fits {
        let message = format!("{} is expected here, and this is {}", shape.described(), node.described());
        report.error(path, message, cure::of_type(shape, node));
        // The value counts as absent from here on, so that its type is reported once.
        node.value = Value::Null;
    }
}

/// The value of a word such as `yes` for a shape: the text as written, or a boolean.
fn as_expected(word: &str, value: bool, shape: &Shape, path: &Path<'_>, report: &mut Report<'_>) -> Value {
    match shape {
        Shape::Text | Shape::IntOrText(_) => {}
        Shape::Enum(words) if words.contains(&word) => {}
        Shape::Bool => return Value::Bool(value),
        _ => return Value::Word(word.to_owned(), value),
    }
    let message = format!("kubectl reads `{word}` as the boolean {value}, and refuses it or passes that on");
    report.warning(path, message, "put it in quotes");
    Value::String(word.to_owned())
}

/// Gives a field the name that is written, where kubectl reads it as a boolean.
fn name_as_written(field: &mut super::node::Field, path: &Path<'_>, report: &mut Report<'_>) {
    if let Some(written) = field.written.take() {
        let message = format!("kubectl reads the name `{written}` as the boolean {}", field.name);
        report.warning(&path.name(&written), message, "put it in quotes");
        field.name = written;
    }
}

fn message_field(
    fields: &mut [super::node::Field],
    at: usize,
    here: &Around<'_>,
    path: &Path<'_>,
    report: &mut Report<'_>,
) {
    if let Some(written) = fields[at].written.take() {
        fields[at].name = written;
    }
    let written = fields[at].name.clone();
    let name = camel_case(&written);
    let path = path.name(&written);
    let Some(rule) = here.known.iter().find(|rule| rule.name == name) else {
        report.error(&path, "unknown field", cure::of_field(&name, here));
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
    if let (Honoured::No(Why { reason, cure }), false) = (rule.honoured, says_nothing(&field.node)) {
        report.warning(&path, format!("not honoured: {reason}"), cure);
    }
    let inner = Around { known: &[], name: rule.name, outer: Some(here) };
    check_inside(&mut field.node, &rule.shape, Some(&inner), &path, report);
}

/// Whether a value counts as absent for every shape.
fn says_nothing(node: &Node) -> bool {
    match &node.value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::List(items) => items.is_empty(),
        _ => false,
    }
}

impl Shape {
    fn described(&self) -> String {
        match self {
            Self::Text => "a text".to_owned(),
            Self::Bool => "true or false".to_owned(),
            Self::Whole(_, words) | Self::Number(words) | Self::IntOrText(words) => (*words).to_owned(),
            Self::Duration => "a duration such as 10s or 1m30s".to_owned(),
            Self::Enum(words) => format!("one of {}", words.join(", ")),
            Self::List(_) => "a list".to_owned(),
            Self::Map(_) | Self::Message(_) => "a map".to_owned(),
            Self::Any => "anything".to_owned(),
        }
    }
}
