//! A problem of an object or a file: its message, its position and its cure.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::trust::text;

/// How bad a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The object is taken.
    Warning,
    /// The object is not taken.
    Error,
}

/// One problem.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// Name of the file; empty where the problem is of no single file.
    pub file: String,
    /// Line in the file, from 1; 0 where the file as a whole is meant.
    pub line: usize,
    /// The object, as `VirtualService default/tcp-echo`; empty where there is none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub object: String,
    /// The field, as `spec.tcp[0].route[1].weight`; empty where the object as a whole is meant.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub field: String,
    /// What is wrong.
    pub message: String,
    /// What to do.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub cure: String,
}

impl Problem {
    /// An error of a file as a whole.
    pub fn of_file(file: &str, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            file: file.to_owned(),
            line: 0,
            object: String::new(),
            field: String::new(),
            message: message.into(),
            cure: String::new(),
        }
    }

    /// A warning that belongs to no single file.
    pub fn note(message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::of_file("", message) }
    }

    /// The warning of an object that a later definition replaces, each at a file and a line; it is reported at the first.
    pub fn replaced(object: &impl fmt::Display, first: (&str, usize), second: (&str, usize)) -> Self {
        let message = format!("the same object stands at {}:{} too, and the last one counts", second.0, second.1);
        Self {
            severity: Severity::Warning,
            line: first.1,
            object: object.to_string(),
            cure: "remove one of them, or apply this file alone".to_owned(),
            ..Self::of_file(first.0, message)
        }
    }

    /// The error of an object that is defined twice, each time at a file and a line; it is reported at the second.
    pub fn twice(object: &impl fmt::Display, first: (&str, usize), second: (&str, usize)) -> Self {
        Self {
            line: second.1,
            object: object.to_string(),
            cure: "remove one of them".to_owned(),
            ..Self::of_file(second.0, format!("the same object stands twice: here and at {}:{}", first.0, first.1))
        }
    }
}

/// `FILE:LINE: error: OBJECT: FIELD: MESSAGE (CURE)`, on one line.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let clean = |text: &String| text::clean_line(text);
        let Self { severity, line, .. } = self;
        let [file, object, field, message, cure] =
            [&self.file, &self.object, &self.field, &self.message, &self.cure].map(clean);
        match (file.as_str(), line) {
            ("", _) => {}
            (file, 0) => write!(f, "{file}: ")?,
            (file, line) => write!(f, "{file}:{line}: ")?,
        }
        f.write_str(match severity {
            Severity::Warning => "warning: ",
            Severity::Error => "error: ",
        })?;
        for part in [&object, &field] {
            if !part.is_empty() {
                write!(f, "{part}: ")?;
            }
        }
        f.write_str(&message)?;
        if !cure.is_empty() {
            write!(f, " ({cure})")?;
        }
        Ok(())
    }
}
