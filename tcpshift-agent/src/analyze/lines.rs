//! The lines of fields. An object has only the line of its beginning, so its text is read again for the line of a field. Only
//! texts with findings are.

use super::finding::Finding;
use super::texts::Texts;
use crate::route::node::{Node, Step, Value, camel_case};

/// Moves findings to the line of their field, or of the innermost field around it that the text has.
pub(super) fn refine(findings: &mut [Finding], texts: &mut Texts<'_>) {
    for finding in findings.iter_mut().filter(|finding| !finding.field.is_empty()) {
        let Some(key) = &finding.key else { continue };
        let Some(object) = texts.find(&finding.file, finding.line, key) else { continue };
        finding.line = object.line_of(&steps(object, &finding.field));
    }
}

/// The steps to a field, as far as the text has them. Names of labels and ports may contain dots.
fn steps(object: &Node, field: &str) -> Vec<Step> {
    let (mut node, mut rest, mut steps) = (object, field, Vec::new());
    loop {
        rest = rest.strip_prefix('.').unwrap_or(rest);
        match &node.value {
            Value::Map(fields) => {
                let fits = fields.iter().filter_map(|field| Some((field, after(rest, &field.name)?)));
                let Some((field, behind)) = fits.min_by_key(|(_, behind)| behind.len()) else { return steps };
                steps.push(Step::Name(field.name.clone()));
                (node, rest) = (&field.node, behind);
            }
            Value::List(items) => {
                let index = rest.strip_prefix('[').and_then(|rest| rest.split_once(']'));
                let found = index.and_then(|(index, behind)| Some((index.parse::<usize>().ok()?, behind)));
                let Some((index, behind)) = found else { return steps };
                let Some(item) = items.get(index) else { return steps };
                steps.push(Step::Index(index));
                (node, rest) = (item, behind);
            }
            _ => return steps,
        }
        if rest.is_empty() {
            return steps;
        }
    }
}

/// The rest of a path behind a name at its front. Istio takes both spellings of a field.
fn after<'p>(path: &'p str, name: &str) -> Option<&'p str> {
    let spelled = camel_case(name);
    let behind = path.strip_prefix(name).or_else(|| path.strip_prefix(spelled.as_str()))?;
    (behind.is_empty() || behind.starts_with(['.', '['])).then_some(behind)
}
