//! A document as a tree of JSON's values, each with its line.
//!
//! [`super::yaml`] builds these trees, and [`super::schema`] checks their fields and types.

use std::collections::BTreeMap;

use serde_json::Number;

/// A value and its line.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Line in its file, from 1.
    pub line: usize,
    /// Its value.
    pub value: Value,
}

/// The value of a node.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Nothing: the same as an absent field.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A word such as `yes` or `off` as it is written without quotes, and the boolean that it is to kubectl.
    Word(String, bool),
    /// A whole number or a fraction.
    Number(Number),
    /// Text.
    String(String),
    /// Values in order.
    List(Vec<Node>),
    /// Fields in the order of the file; no name twice.
    Map(Vec<Field>),
}

/// One field of a map.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// Line of the name.
    pub line: usize,
    /// The name.
    pub name: String,
    /// How the name is written, where kubectl reads it as a boolean: `yes`, which is named `true`.
    pub written: Option<String>,
    /// The value.
    pub node: Node,
}

/// One step of the path from a value to one inside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// To a field of a map.
    Name(String),
    /// To an item of a list.
    Index(usize),
}

/// `source_subnet` as `sourceSubnet`: Istio takes both spellings of a field.
pub fn camel_case(name: &str) -> String {
    let mut camel = String::with_capacity(name.len());
    let mut upper = false;
    for letter in name.chars() {
        match letter {
            '_' if !camel.is_empty() => upper = true,
            letter if upper => {
                camel.push(letter.to_ascii_uppercase());
                upper = false;
            }
            letter => camel.push(letter),
        }
    }
    camel
}

impl Node {
    /// The line of a field: that of its name, or of the item of a list. Of a field that is not there it is the line
    /// of what is nearest around it.
    pub fn line_of(&self, steps: &[Step]) -> usize {
        self.nearest(steps).0
    }

    /// A value inside this one, if it is there.
    pub fn find(&self, steps: &[Step]) -> Option<&Self> {
        let (_, node, found) = self.nearest(steps);
        (found == steps.len()).then_some(node)
    }

    /// The line and the value of the last step that leads to something, and how many steps led there.
    fn nearest(&self, steps: &[Step]) -> (usize, &Self, usize) {
        let (mut node, mut line) = (self, self.line);
        for (found, step) in steps.iter().enumerate() {
            (node, line) = match (step, &node.value) {
                (Step::Name(name), Value::Map(fields)) => {
                    let exact = fields.iter().find(|field| field.name == *name);
                    let spelled = || fields.iter().find(|field| camel_case(&field.name) == camel_case(name));
                    let Some(field) = exact.or_else(spelled) else { return (line, node, found) };
                    (&field.node, field.line)
                }
                (Step::Index(index), Value::List(items)) => {
                    let Some(item) = items.get(*index) else { return (line, node, found) };
                    (item, item.line)
                }
                _ => return (line, node, found),
            };
        }
        (line, node, steps.len())
    }

    /// A field of a map; `None` also where it is null, or where this is no map.
    pub fn get(&self, name: &str) -> Option<&Self> {
        let Value::Map(fields) = &self.value else { return None };
        let node = &fields.iter().find(|field| field.name == name)?.node;
        (node.value != Value::Null).then_some(node)
    }

    /// The text of a string field.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name)?.as_str()
    }

    /// The text of a string field; none where it is empty, which says as much as an absent field.
    pub fn word(&self, name: &str) -> Option<&str> {
        self.text(name).filter(|text| !text.is_empty())
    }

    /// The items of a list field; none where it is absent.
    pub fn items(&self, name: &str) -> &[Self] {
        match self.get(name) {
            Some(Self { value: Value::List(items), .. }) => items,
            _ => &[],
        }
    }

    /// The fields of a map field; none where it is absent.
    pub fn fields(&self, name: &str) -> &[Field] {
        match self.get(name) {
            Some(Self { value: Value::Map(fields), .. }) => fields,
            _ => &[],
        }
    }

    /// The whole number of a field.
    pub fn integer(&self, name: &str) -> Option<i64> {
        self.get(name)?.as_i64()
    }

    /// The whole number of a field that is not negative; 0 where there is none.
    pub fn unsigned(&self, name: &str) -> u64 {
        match self.get(name) {
            Some(Self { value: Value::Number(number), .. }) => number.as_u64().unwrap_or_default(),
            _ => 0,
        }
    }

    /// Whether a field is `true`.
    pub fn flag(&self, name: &str) -> bool {
        self.get(name).is_some_and(|node| matches!(node.value, Value::Bool(true) | Value::Word(_, true)))
    }

    /// A map field of strings.
    pub fn string_map(&self, name: &str) -> BTreeMap<String, String> {
        let fields = self.fields(name).iter();
        fields.filter_map(|field| Some((field.name.clone(), field.node.as_str()?.to_owned()))).collect()
    }

    /// The text, if this is a string or a word.
    pub fn as_str(&self) -> Option<&str> {
        match &self.value {
            Value::String(text) | Value::Word(text, _) => Some(text),
            _ => None,
        }
    }

    /// The number, if this is a whole one.
    pub fn as_i64(&self) -> Option<i64> {
        match &self.value {
            Value::Number(number) => number.as_i64(),
            _ => None,
        }
    }

    /// The number, if this is one.
    pub fn as_f64(&self) -> Option<f64> {
        match &self.value {
            Value::Number(number) => number.as_f64(),
            _ => None,
        }
    }

    /// The value in words.
    pub fn described(&self) -> String {
        match &self.value {
            Value::Null => "nothing".to_owned(),
            Value::Bool(value) => format!("the boolean {value}"),
            Value::Word(word, value) => format!("`{word}`, which is the boolean {value}"),
            Value::Number(number) => format!("the number {number}"),
            Value::String(text) if text.chars().count() > 40 => "a text".to_owned(),
            Value::String(text) => format!("the text {text:?}"),
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a map".to_owned(),
        }
    }

    /// A tree of JSON, all of it on one line.
    pub fn from_json(json: &serde_json::Value, line: usize) -> Self {
        let value = match json {
            serde_json::Value::Null => Value::Null,
            serde_json::Value::Bool(value) => Value::Bool(*value),
            serde_json::Value::Number(number) => Value::Number(number.clone()),
            serde_json::Value::String(text) => Value::String(text.clone()),
            serde_json::Value::Array(items) => {
                Value::List(items.iter().map(|item| Self::from_json(item, line)).collect())
            }
            serde_json::Value::Object(fields) => {
                let field = |(name, value): (&String, _)| Field {
                    line,
                    name: name.clone(),
                    written: None,
                    node: Self::from_json(value, line),
                };
                Value::Map(fields.iter().map(field).collect())
            }
        };
        Self { line, value }
    }

    /// The same as JSON, the order of fields kept.
    pub fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::Null => serde_json::Value::Null,
            Value::Bool(value) | Value::Word(_, value) => serde_json::Value::Bool(*value),
            Value::Number(number) => serde_json::Value::Number(number.clone()),
            Value::String(text) => serde_json::Value::String(text.clone()),
            Value::List(items) => serde_json::Value::Array(items.iter().map(Self::to_json).collect()),
            Value::Map(fields) => serde_json::Value::Object(
                fields.iter().map(|field| (field.name.clone(), field.node.to_json())).collect(),
            ),
        }
    }
}
