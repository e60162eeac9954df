//! The values of scalars, as kubectl reads them: YAML 1.1 as go-yaml, version 2, has it, converted to JSON.

use std::borrow::Cow;

use serde_json::Number;

use super::super::node::Value;
use super::Malformed;

/// The prefix that `!!` in a tag stands for.
pub(super) const CORE_TAGS: &str = "tag:yaml.org,2002:";

/// Why a scalar has no value.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unfit {
    /// Its tag says another type.
    Tag(String),
    /// `!!binary` and no base64.
    Binary,
    /// `.inf` or `.nan`, which JSON does not have.
    NotFinite,
}

impl Unfit {
    pub(super) fn explain(self, line: usize) -> Malformed {
        match self {
            Self::Tag(tag) => Malformed::new(line, format!("this is no value of the type `!!{tag}`"), "remove the tag"),
            Self::Binary => Malformed::new(line, "`!!binary` and no base64", "remove the tag, or write base64"),
            Self::NotFinite => Malformed::new(
                line,
                "an infinite number, or none, is no value of JSON",
                "put it in quotes if it is a text",
            ),
        }
    }
}

/// Whether a tag says that `<<` is a merge key.
pub(super) fn is_merge_tag(tag: &str) -> bool {
    tag == "!" || tag.strip_prefix(CORE_TAGS) == Some("merge")
}

/// A scalar that is a value. `is_plain` is one without quotes.
pub(super) fn value(text: Cow<'_, str>, tag: Option<&str>, is_plain: bool) -> Result<Value, Unfit> {
    match resolve(text, tag, is_plain)? {
        Scalar::Value(value) => Ok(value),
        Scalar::Float(number) => float(number).ok_or(Unfit::NotFinite),
    }
}

/// A scalar that is the name of a field: numbers and booleans are texts there; none if it is null.
pub(super) fn name(text: &str, tag: Option<&str>, is_plain: bool) -> Result<Option<String>, Unfit> {
    Ok(match resolve(Cow::Borrowed(text), tag, is_plain)? {
        Scalar::Float(number) => Some(float_name(number)),
        Scalar::Value(Value::String(name)) => Some(name),
        Scalar::Value(Value::Bool(value) | Value::Word(_, value)) => Some(value.to_string()),
        // kubectl takes no number beyond 63 bits for a name.
        Scalar::Value(Value::Number(number)) => number.as_i64().map(|number| number.to_string()),
        Scalar::Value(Value::Null | Value::List(_) | Value::Map(_)) => None,
    })
}

enum Scalar {
    Value(Value),
    Float(f64),
}

fn resolve(text: Cow<'_, str>, tag: Option<&str>, is_plain: bool) -> Result<Scalar, Unfit> {
    let string = |text: Cow<'_, str>| Ok(Scalar::Value(Value::String(text.into_owned())));
    let tag = match tag {
        None if !is_plain => return string(text),
        None => return Ok(plain(&text).unwrap_or_else(|| Scalar::Value(Value::String(text.into_owned())))),
        // A value with another tag is a text, whatever it looks like.
        Some(tag) => match tag.strip_prefix(CORE_TAGS) {
            Some(tag) => tag,
            None => return string(text),
        },
    };
    if !matches!(tag, "bool" | "int" | "float" | "null" | "timestamp" | "binary") {
        return string(text);
    }
    if tag == "binary" {
        let bytes = base64(&text).ok_or(Unfit::Binary)?;
        return string(Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()));
    }
    if tag == "timestamp" && is_date(&text) {
        return string(text);
    }
    let found = plain(&text);
    match (tag, found) {
        ("null", Some(found @ Scalar::Value(Value::Null)))
        | ("bool", Some(found @ Scalar::Value(Value::Bool(_) | Value::Word(..))))
        | ("float", Some(found @ Scalar::Float(_))) => Ok(found),
        ("int" | "float", Some(Scalar::Value(Value::Number(number)))) if tag == "int" || number.is_i64() => {
            Ok(Scalar::Value(Value::Number(number)))
        }
        _ => Err(Unfit::Tag(tag.to_owned())),
    }
}

/// The value of a text without quotes, if it is not a text.
fn plain(text: &str) -> Option<Scalar> {
    let Some(first) = text.bytes().next() else { return Some(Scalar::Value(Value::Null)) };
    match first {
        b'0'..=b'9' | b'+' | b'-' | b'.' => number(text),
        b'~' | b'n' | b'N' | b't' | b'T' | b'f' | b'F' | b'y' | b'Y' | b'o' | b'O' => word(text).map(Scalar::Value),
        _ => None,
    }
}

fn word(text: &str) -> Option<Value> {
    Some(match text {
        "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => Value::Word(text.to_owned(), true),
        "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => Value::Word(text.to_owned(), false),
        _ => return None,
    })
}

/// A plain scalar as a number, if it is one.
fn number(text: &str) -> Option<Scalar> {
    match text {
        ".nan" | ".NaN" | ".NAN" => return Some(Scalar::Float(f64::NAN)),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => return Some(Scalar::Float(f64::INFINITY)),
        "-.inf" | "-.Inf" | "-.INF" => return Some(Scalar::Float(f64::NEG_INFINITY)),
        _ => {}
    }
    if text.starts_with('.') {
        return decimal(text);
    }
    let without: Cow<'_, str> = if text.contains('_') { text.replace('_', "").into() } else { text.into() };
    if let Some(whole) = whole(&without) {
        return Some(Scalar::Value(Value::Number(whole)));
    }
    if let Some(decimal) = decimal(&without) {
        return Some(decimal);
    }
    // A sign may stand behind `0b` too.
    let digits = without.strip_prefix("0b")?;
    i64::from_str_radix(digits, 2).ok().map(|number| Scalar::Value(Value::Number(number.into())))
}

/// A whole number with the prefixes of Go: `0x`, `0o`, `0b`, and `0` for octal.
fn whole(text: &str) -> Option<Number> {
    let (is_negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (radix, digits) = match digits.as_bytes() {
        [b'0', b'x' | b'X', _, ..] => (16, &digits[2..]),
        [b'0', b'o' | b'O', _, ..] => (8, &digits[2..]),
        [b'0', b'b' | b'B', _, ..] => (2, &digits[2..]),
        [b'0', _, ..] => (8, &digits[1..]),
        _ => (10, digits),
    };
    if digits.starts_with(['+', '-']) {
        return None;
    }
    let value = u64::from_str_radix(digits, radix).ok()?;
    if is_negative {
        return 0i64.checked_sub_unsigned(value).map(Number::from);
    }
    // With a sign only 63 bits are a whole number.
    if text.starts_with('+') && i64::try_from(value).is_err() {
        return None;
    }
    Some(Number::from(value))
}

/// `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`, if it is not too large.
fn decimal(text: &str) -> Option<Scalar> {
    let mut bytes = text.bytes().peekable();
    bytes.next_if(|byte| matches!(byte, b'+' | b'-'));
    let mut digits = 0;
    while bytes.next_if(u8::is_ascii_digit).is_some() {
        digits += 1;
    }
    if bytes.next_if_eq(&b'.').is_some() {
        while bytes.next_if(u8::is_ascii_digit).is_some() {
            digits += 1;
        }
    }
    if digits == 0 {
        return None;
    }
    if bytes.next_if(|byte| matches!(byte, b'e' | b'E')).is_some() {
        bytes.next_if(|byte| matches!(byte, b'+' | b'-'));
        bytes.next_if(u8::is_ascii_digit)?;
        while bytes.next_if(u8::is_ascii_digit).is_some() {}
    }
    if bytes.next().is_some() {
        return None;
    }
    text.parse::<f64>().ok().filter(|number| number.is_finite()).map(Scalar::Float)
}

/// A fraction as JSON has it: one that is whole is a whole number. None if it is infinite or no number.
pub(super) fn float(number: f64) -> Option<Value> {
    if number.fract() == 0.0 {
        if number == 0.0 {
            return Some(Value::Number(0.into()));
        }
        // Go writes no exponent below this, and reads what has none as a whole number.
        if number.abs() < 1e21
            && let Ok(whole) = number.to_string().parse::<i64>()
        {
            return Some(Value::Number(whole.into()));
        }
    }
    Number::from_f64(number).map(Value::Number)
}

/// A fraction as the name of a field: as Go's `%g` for 32 bits.
fn float_name(number: f64) -> String {
    if number.is_nan() {
        return ".nan".to_owned();
    }
    let short = number as f32;
    if short.is_infinite() {
        return if short > 0.0 { ".inf" } else { "-.inf" }.to_owned();
    }
    let written = format!("{short:e}");
    let Some((digits, exponent)) = written.split_once('e') else { return written };
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if (-4..6).contains(&exponent) {
        return short.to_string();
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

/// Whether a text begins as a date does.
fn is_date(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() >= 8 && bytes[..4].iter().all(u8::is_ascii_digit) && bytes[4] == b'-'
}

/// Base64 with padding, line breaks passed over.
fn base64(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    };
    let bytes: Vec<u8> = text.bytes().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect();
    if !bytes.len().is_multiple_of(4) {
        return None;
    }
    let mut decoded = Vec::with_capacity(bytes.len() / 4 * 3);
    let groups = bytes.len() / 4;
    for (index, group) in bytes.chunks_exact(4).enumerate() {
        let padding =
            if index + 1 == groups { group.iter().rev().take_while(|byte| **byte == b'=').count() } else { 0 };
        if padding > 2 {
            return None;
        }
        let mut bits = 0u32;
        for byte in &group[..4 - padding] {
            bits = bits << 6 | u32::from(digit(*byte)?);
        }
        bits <<= 6 * padding;
        decoded.extend_from_slice(&bits.to_be_bytes()[1..4 - padding]);
    }
    Some(decoded)
}
