//! Tokens that are the name of a field if a colon follows.

use super::{Mark, Scanned, Scanner, SyntaxFault, SyntaxProblem};

/// In how many characters the colon has to follow the beginning of a name.
const MAX_KEY: usize = 1024;

/// A token that is the name of a field if a colon follows.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Candidate {
    pub(super) is_possible: bool,
    /// Nothing else could stand here.
    pub(super) is_required: bool,
    /// The number of tokens before it.
    pub(super) number: usize,
    pub(super) mark: Mark,
    pub(super) line_start: usize,
}

impl Scanner<'_> {
    pub(super) fn save_candidate(&mut self) -> Scanned<()> {
        if !self.may_be_key {
            return Ok(());
        }
        let is_required = !self.in_flow() && self.indent == self.column();
        self.drop_candidate()?;
        let number = self.taken + self.tokens.len();
        let (mark, line_start) = (self.here(), self.line_start);
        if let Some(last) = self.candidates.last_mut() {
            *last = Candidate { is_possible: true, is_required, number, mark, line_start };
        }
        Ok(())
    }

    pub(super) fn drop_candidate(&mut self) -> Scanned<()> {
        let here = self.here();
        let Some(last) = self.candidates.last_mut() else { return Ok(()) };
        if last.is_possible && last.is_required {
            return SyntaxFault::new(SyntaxProblem::NoColon, here, last.mark);
        }
        last.is_possible = false;
        Ok(())
    }

    /// Whether a candidate may still be a name: in this line, and not too long.
    pub(super) fn is_valid(&mut self, index: usize) -> Scanned<bool> {
        let Candidate { is_possible, is_required, mark, line_start, .. } = self.candidates[index];
        if !is_possible {
            return Ok(false);
        }
        let length = self.at - mark.offset;
        let is_long =
            length > MAX_KEY && (length > 4 * MAX_KEY || self.text[mark.offset..self.at].chars().count() > MAX_KEY);
        if line_start == self.line_start && !is_long {
            return Ok(true);
        }
        if is_required {
            return SyntaxFault::new(SyntaxProblem::NoColon, self.here(), mark);
        }
        self.candidates[index].is_possible = false;
        Ok(false)
    }
}
