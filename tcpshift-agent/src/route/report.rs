//! Collects the problems of one file, object by object, each with its line and field.
//!
//! A problem is reported with the path of its field. The line is looked up in the document afterwards, so that both always
//! agree.

#[cfg(test)]
pub(crate) mod tests;

use std::ops::Range;

use super::names::NameFault;
use super::node::{Node, Step};
use super::problem::{Problem, Severity};
use super::variable::{UNFILLED, is_variable};

/// The path of a value in an object. Built on the stack, and rendered only for a problem.
#[derive(Clone, Copy, Debug)]
pub struct Path<'a> {
    parent: Option<&'a Self>,
    part: Part<'a>,
}

#[derive(Clone, Copy, Debug)]
enum Part<'a> {
    Root,
    Name(&'a str),
    Index(usize),
}

impl<'a> Path<'a> {
    /// The object itself.
    pub const ROOT: Path<'static> = Path { parent: None, part: Part::Root };

    /// A field of it.
    #[must_use]
    pub const fn name(&'a self, name: &'a str) -> Self {
        Self { parent: Some(self), part: Part::Name(name) }
    }

    /// An item of it.
    #[must_use]
    pub const fn index(&'a self, index: usize) -> Self {
        Self { parent: Some(self), part: Part::Index(index) }
    }

    fn render(&self) -> String {
        let mut path = self.parent.map(Path::render).unwrap_or_default();
        match self.part {
            Part::Root => {}
            Part::Name(name) => {
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(name);
            }
            Part::Index(index) => path = format!("{path}[{index}]"),
        }
        path
    }

    fn steps(&self) -> Vec<Step> {
        let mut steps = self.parent.map(Path::steps).unwrap_or_default();
        match self.part {
            Part::Root => {}
            Part::Name(name) => steps.push(Step::Name(name.to_owned())),
            Part::Index(index) => steps.push(Step::Index(index)),
        }
        steps
    }
}

#[cfg(test)]
thread_local! {
    /// The files and lines that have reported a problem in this thread.
    static REACHED: std::cell::RefCell<std::collections::BTreeSet<(&'static str, u32)>> =
        const { std::cell::RefCell::new(std::collections::BTreeSet::new()) };
}

/// Collects problems.
#[derive(Debug)]
pub struct Report<'a> {
    file: &'a str,
    /// The object of the next problems: `VirtualService default/tcp-echo`.
    pub object: String,
    problems: Vec<Problem>,
    /// The steps to the fields of the last problems, whose lines are not looked up yet.
    unplaced: Vec<Vec<Step>>,
    errors: usize,
}

impl<'a> Report<'a> {
    /// Problems of one file.
    pub const fn new(file: &'a str) -> Self {
        Self { file, object: String::new(), problems: Vec::new(), unplaced: Vec::new(), errors: 0 }
    }

    /// Reports a part of the text that is no document. The lines of all problems before must be looked up.
    #[cfg_attr(test, track_caller)]
    pub fn unreadable(&mut self, line: usize, message: impl Into<String>, cure: impl Into<String>) {
        self.at_line(Severity::Error, line, message.into(), cure.into());
    }

    /// Reports that a document is not read from this line on. The lines of all problems before must be looked up.
    #[cfg_attr(test, track_caller)]
    pub fn unread(&mut self, line: usize, message: impl Into<String>, cure: impl Into<String>) {
        self.at_line(Severity::Warning, line, message.into(), cure.into());
    }

    #[cfg_attr(test, track_caller)]
    fn at_line(&mut self, severity: Severity, line: usize, message: String, cure: String) {
        self.push(severity, &Path::ROOT, message, cure);
        self.unplaced.pop();
        if let Some(problem) = self.problems.last_mut() {
            problem.line = line;
        }
    }

    /// Reports an error: the object is not taken.
    #[cfg_attr(test, track_caller)]
    pub fn error(&mut self, path: &Path<'_>, message: impl Into<String>, cure: impl Into<String>) {
        self.push(Severity::Error, path, message.into(), cure.into());
    }

    /// Reports the error of a name: the object is not taken.
    #[cfg_attr(test, track_caller)]
    pub fn fault(&mut self, path: &Path<'_>, fault: NameFault) {
        self.error(path, fault.problem, fault.cure);
    }

    /// Reports a warning.
    #[cfg_attr(test, track_caller)]
    pub fn warning(&mut self, path: &Path<'_>, message: impl Into<String>, cure: impl Into<String>) {
        self.push(Severity::Warning, path, message.into(), cure.into());
    }

    #[cfg_attr(test, track_caller)]
    fn push(&mut self, severity: Severity, path: &Path<'_>, message: String, cure: String) {
        #[cfg(test)]
        {
            let caller = std::panic::Location::caller();
            REACHED.with_borrow_mut(|reached| reached.insert((caller.file(), caller.line())));
        }
        self.errors += usize::from(severity == Severity::Error);
        let (file, object) = (self.file.to_owned(), self.object.clone());
        self.problems.push(Problem { severity, file, line: 0, object, field: path.render(), message, cure });
        self.unplaced.push(path.steps());
    }

    /// Looks up the lines of the problems that were reported since the last call; all are of this document.
    pub fn locate(&mut self, document: &Node) {
        let first = self.problems.len() - self.unplaced.len();
        for (problem, steps) in self.problems[first..].iter_mut().zip(self.unplaced.drain(..)) {
            problem.line = document.line_of(&steps);
            let is_unfilled = || document.find(&steps).and_then(Node::as_str).is_some_and(is_variable);
            if problem.severity == Severity::Error && is_unfilled() {
                UNFILLED.clone_into(&mut problem.cure);
            }
        }
    }

    /// Errors so far.
    pub fn errors(&self) -> usize {
        self.errors
    }

    /// Problems so far, warnings included.
    pub fn count(&self) -> usize {
        self.problems.len()
    }

    /// Removes the problems after `causes` that follow from an error among the causes: those of fields around or beside a field
    /// that is unknown or of the wrong type.
    pub fn forget_consequences(&mut self, causes: Range<usize>) {
        let errors = |problem: &&Problem| problem.severity == Severity::Error;
        let end = causes.end;
        let causes: Vec<String> =
            self.problems[causes].iter().filter(errors).map(|cause| cause.field.clone()).collect();
        if causes.is_empty() {
            return;
        }
        let others = self.problems.split_off(end);
        self.errors -= others.iter().filter(errors).count();
        let steps = self.unplaced.split_off(self.unplaced.len() - others.len());
        let kept = |problem: &Problem| !causes.iter().any(|cause| is_consequence(&problem.field, cause));
        for (problem, steps) in others.into_iter().zip(steps).filter(|(problem, _)| kept(problem)) {
            self.errors += usize::from(problem.severity == Severity::Error);
            self.problems.push(problem);
            self.unplaced.push(steps);
        }
    }

    /// All problems, in the order in which they were reported.
    pub fn finish(self) -> Vec<Problem> {
        self.problems
    }
}

/// Whether a field is the wrong one, or around it, inside it or beside it.
fn is_consequence(field: &str, wrong: &str) -> bool {
    let includes = |outer: &str, inner: &str| {
        inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    };
    let parent = |field: &str| field.rfind(['.', '[']).map(|at| field[..at].to_owned());
    includes(field, wrong) || includes(wrong, field) || parent(field) == parent(wrong)
}
