//! A finding: a problem of several objects, its file and line, and its cure; and the list of findings.

#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::fmt;

use serde_json::{Value, json};

use super::code::{Code, Level};
use crate::route::object::{Key, Object, Origin};
use crate::route::problem::Problem;

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What kind.
    pub code: &'static Code,
    /// How much it matters: as the code says, or less.
    pub level: Level,
    /// The object, if it has a name.
    pub key: Option<Key>,
    /// File, or `applied`.
    pub file: String,
    /// Line in it, from 1; 0 where no line is known.
    pub line: usize,
    /// As `spec.tcp[0].route[1].weight`; empty where the object as a whole is meant.
    pub field: String,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub cure: String,
}

impl Finding {
    /// `FILE:LINE`
    pub fn position(&self) -> String {
        if self.line == 0 { self.file.clone() } else { format!("{}:{}", self.file, self.line) }
    }

    /// `VirtualService default/tcp-echo`, or nothing.
    pub fn origin(&self) -> String {
        self.key.as_ref().map(Key::to_string).unwrap_or_default()
    }

    /// The finding as a warning of its object, for a command that does not know its file.
    pub fn into_warning(self) -> Problem {
        let object = self.origin();
        let Self { field, message, cure, .. } = self;
        Problem { object, field, cure, ..Problem::note(message) }
    }

    /// In the form of istioctl, and with the field and the cure.
    pub fn json(&self) -> Value {
        json!({
            "code": self.code.id,
            "name": self.code.name,
            "level": self.level.name(),
            "origin": self.origin(),
            "reference": self.position(),
            "field": self.field,
            "message": self.message,
            "cure": self.cure,
        })
    }
}

/// `Error [IST0101] (VirtualService default/tcp-echo route.yaml:14) MESSAGE (CURE)`, on one line.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} [{}] (", self.level.name(), self.code.id)?;
        if let Some(key) = &self.key {
            write!(f, "{key} ")?;
        }
        write!(f, "{}) {}", self.position(), self.message)?;
        if !self.cure.is_empty() {
            write!(f, " ({})", self.cure)?;
        }
        Ok(())
    }
}

#[cfg(test)]
thread_local! {
    /// Where this thread has made findings: files and lines.
    static REACHED: std::cell::RefCell<std::collections::BTreeSet<(&'static str, u32)>> =
        const { std::cell::RefCell::new(std::collections::BTreeSet::new()) };
}

/// Findings as they are found.
#[derive(Debug, Default)]
pub(super) struct Findings {
    list: Vec<Finding>,
    /// Objects and fields with a finding.
    fields: HashSet<(Key, String)>,
}

impl Findings {
    /// Adds a finding about a field of an object.
    #[cfg_attr(test, track_caller)]
    pub(super) fn push(
        &mut self,
        code: &'static Code,
        object: &Object,
        field: impl Into<String>,
        message: impl Into<String>,
        cure: impl Into<String>,
    ) {
        self.push_at(code.level, code, object, field, message, cure);
    }

    /// As [`Findings::push`], at a lower level than that of the code.
    #[cfg_attr(test, track_caller)]
    pub(super) fn push_at(
        &mut self,
        level: Level,
        code: &'static Code,
        object: &Object,
        field: impl Into<String>,
        message: impl Into<String>,
        cure: impl Into<String>,
    ) {
        let (file, line) = match &object.origin {
            Origin::File { path, line } => (path.to_string(), *line),
            Origin::Applied => ("applied".to_owned(), 0),
        };
        let (field, key) = (field.into(), object.key.clone());
        self.fields.insert((key.clone(), spelling(&field)));
        let (message, cure) = (message.into(), cure.into());
        self.add(Finding { code, level, key: Some(key), file, line, field, message, cure });
    }

    /// Adds a complete finding.
    #[cfg_attr(test, track_caller)]
    pub(super) fn add(&mut self, finding: Finding) {
        #[cfg(test)]
        {
            let caller = std::panic::Location::caller();
            REACHED.with_borrow_mut(|reached| reached.insert((caller.file(), caller.line())));
        }
        self.list.push(finding);
    }

    /// Whether there is a finding about a field.
    pub(super) fn has(&self, key: &Key, field: &str) -> bool {
        self.fields.contains(&(key.clone(), spelling(field)))
    }

    /// All findings, in the order in which they were found.
    pub(super) fn finish(self) -> Vec<Finding> {
        self.list
    }
}

/// Both spellings of a field, `sourceSubnet` and `source_subnet`, are one.
fn spelling(field: &str) -> String {
    field.replace('_', "").to_ascii_lowercase()
}
