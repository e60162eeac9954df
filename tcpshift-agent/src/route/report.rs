//! Collects the problems of one file, object by object, each with its line and field.

use std::ops::Range;

use super::problem::{Problem, Severity};

/// Where in an object a value stands. Built on the stack and rendered only for a problem.
#[derive(Clone, Copy, Debug)]
pub struct Path<'a> {
    parent: Option<&'a Self>,
    step: Step<'a>,
}

#[derive(Clone, Copy, Debug)]
enum Step<'a> {
    Root,
    Name(&'a str),
    Index(usize),
}

impl<'a> Path<'a> {
    /// The object itself.
    pub const ROOT: Path<'static> = Path { parent: None, step: Step::Root };

    /// A field of it.
    #[must_use]
    pub const fn name(&'a self, name: &'a str) -> Self {
        Self { parent: Some(self), step: Step::Name(name) }
    }

    /// An item of it.
    #[must_use]
    pub const fn index(&'a self, index: usize) -> Self {
        Self { parent: Some(self), step: Step::Index(index) }
    }

    fn render(&self) -> String {
        let mut path = self.parent.map(Path::render).unwrap_or_default();
        match self.step {
            Step::Root => {}
            Step::Name(name) => {
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(name);
            }
            Step::Index(index) => path = format!("{path}[{index}]"),
        }
        path
    }
}

/// Problems as they are found.
#[derive(Debug)]
pub struct Report<'a> {
    file: &'a str,
    /// What the next problems are about: `VirtualService default/tcp-echo`.
    pub object: String,
    problems: Vec<Problem>,
    errors: usize,
}

impl<'a> Report<'a> {
    /// Problems of one file.
    pub const fn new(file: &'a str) -> Self {
        Self { file, object: String::new(), problems: Vec::new(), errors: 0 }
    }

    /// The object cannot be taken.
    pub fn error(&mut self, line: usize, path: &Path<'_>, message: impl Into<String>, cure: impl Into<String>) {
        self.push(Severity::Error, line, path, message.into(), cure.into());
    }

    /// The user has to know.
    pub fn warning(&mut self, line: usize, path: &Path<'_>, message: impl Into<String>, cure: impl Into<String>) {
        self.push(Severity::Warning, line, path, message.into(), cure.into());
    }

    fn push(&mut self, severity: Severity, line: usize, path: &Path<'_>, message: String, cure: String) {
        self.errors += usize::from(severity == Severity::Error);
        let (file, object) = (self.file.to_owned(), self.object.clone());
        self.problems.push(Problem { severity, file, line, object, field: path.render(), message, cure });
    }

    /// Errors so far.
    pub fn errors(&self) -> usize {
        self.errors
    }

    /// Problems so far, warnings included.
    pub fn count(&self) -> usize {
        self.problems.len()
    }

    /// Forgets those problems found after `causes` that only say in other words what an error among the causes
    /// has said: what stands around a field that is unknown or of the wrong type, or beside it.
    pub fn forget_consequences(&mut self, causes: Range<usize>) {
        let errors = |problem: &&Problem| problem.severity == Severity::Error;
        let end = causes.end;
        let causes: Vec<String> =
            self.problems[causes].iter().filter(errors).map(|cause| cause.field.clone()).collect();
        if causes.is_empty() {
            return;
        }
        let mut others = self.problems.split_off(end);
        self.errors -= others.iter().filter(errors).count();
        others.retain(|problem| !causes.iter().any(|cause| is_consequence(&problem.field, cause)));
        self.errors += others.iter().filter(errors).count();
        self.problems.append(&mut others);
    }

    /// All of them, in the order found.
    pub fn finish(self) -> Vec<Problem> {
        self.problems
    }
}

/// Whether a field is the same as the one that is wrong, or around it, or beside it.
fn is_consequence(field: &str, wrong: &str) -> bool {
    let around = wrong.strip_prefix(field).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']));
    let parent = |field: &str| field.rfind(['.', '[']).map(|at| field[..at].to_owned());
    around || parent(field) == parent(wrong)
}
