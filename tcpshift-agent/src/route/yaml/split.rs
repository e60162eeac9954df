//! Splits a text into documents at lines that begin with `---`, as kubectl does before anything is read.

use super::Malformed;

/// A document of a text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct DocumentText<'t> {
    /// Its first line, from 1.
    pub(super) line: usize,
    /// Its text, or why the separator before it is refused.
    pub(super) text: Result<&'t str, Malformed>,
}

/// The documents of a text. A line of `---` before which there is nothing belongs to the document that follows.
pub(super) fn documents(text: &str) -> Vec<DocumentText<'_>> {
    let mut parts = Vec::new();
    let (mut begin, mut first) = (0, 1);
    // Whether what follows belongs to a separator that is refused.
    let mut is_passed_over = false;
    let push = |parts: &mut Vec<_>, begin: usize, end: usize, line, is_passed_over: bool| {
        if end > begin && !is_passed_over {
            parts.push(DocumentText { line, text: Ok(&text[begin..end]) });
        }
    };
    let mut at = 0;
    for (index, line) in text.split_inclusive('\n').enumerate() {
        let next = at + line.len();
        if let Some(behind) = line.strip_prefix("---") {
            let behind = behind.trim();
            let is_refused = !behind.is_empty() && !behind.starts_with('#');
            if is_refused || at > begin || is_passed_over {
                push(&mut parts, begin, at, first, is_passed_over);
                (begin, first) = (next, index + 2);
                is_passed_over = false;
            }
            if is_refused {
                // A line of dashes is a separator that is too long; else the document begins in this line.
                is_passed_over = !behind.chars().all(|letter| letter == '-');
                parts.push(DocumentText { line: index + 1, text: Err(refused(index + 1, behind)) });
            }
        }
        at = next;
    }
    push(&mut parts, begin, text.len(), first, is_passed_over);
    parts
}

fn refused(line: usize, behind: &str) -> Malformed {
    let (message, cure) = if behind.chars().all(|letter| letter == '-') {
        ("a line of more than three dashes separates no documents", "write `---`, or begin the line with `#`")
    } else {
        ("kubectl takes nothing behind `---` but a comment", "begin a new line behind the `---`")
    };
    Malformed::new(line, message, cure)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> Vec<(usize, Option<&str>)> {
        documents(text).into_iter().map(|part| (part.line, part.text.ok())).collect()
    }

    #[test]
    fn lines_of_three_dashes_separate() {
        assert_eq!(parts("a: 1\n---\nb: 2\n"), [(1, Some("a: 1\n")), (3, Some("b: 2\n"))]);
        assert_eq!(parts("a: 1\n--- # and\n\n---\t \nb"), [(1, Some("a: 1\n")), (3, Some("\n")), (5, Some("b"))]);
        assert_eq!(parts("a: |\n  ---\n ---\n"), [(1, Some("a: |\n  ---\n ---\n"))]);
        assert_eq!(parts("---\na\n---\n---\nb\n---"), [(1, Some("---\na\n")), (4, Some("---\nb\n"))]);
        assert_eq!(parts(""), []);
    }

    #[test]
    fn what_stands_behind_the_dashes_is_refused() {
        assert_eq!(parts("a\n--- b\nc\n---\nd\n"), [(1, Some("a\n")), (2, None), (5, Some("d\n"))]);
        assert_eq!(parts("a\n-----\nb\n"), [(1, Some("a\n")), (2, None), (3, Some("b\n"))]);
        assert_eq!(parts("---x: 1\n"), [(1, None)]);
        assert_eq!(parts("--- a\n---\nb\n"), [(1, None), (3, Some("b\n"))]);
    }
}
