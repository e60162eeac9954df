//! Damage: changes of a document after which it may not be one any more.

use super::Generator;
use crate::corpus::style::PIECES;

impl Generator {
    /// Puts something in, takes something out, or indents a line otherwise.
    pub(super) fn damage(&mut self, mut text: String) -> String {
        for _ in 0..=self.random.below(3) / 2 {
            // The beginning of an object stays: it is not what is tried.
            let first = text.find("data").map_or(0, |at| at + 6).min(text.len());
            let mut at = first + self.random.below(text.len() - first + 1);
            while !text.is_char_boundary(at) {
                at -= 1;
            }
            match self.random.below(6) {
                0..=2 => text.insert_str(at, self.random.pick(&PIECES)),
                3 => {
                    if let Some(letter) = text[at..].chars().next() {
                        text.replace_range(at..at + letter.len_utf8(), "");
                    }
                }
                4 => {
                    let line = text[..at].rfind('\n').map_or(at, |newline| newline + 1);
                    match self.random.below(3) {
                        0 => text.insert(line, ' '),
                        1 => text.insert(line, '\t'),
                        _ if text[line..].starts_with(' ') => text.replace_range(line..=line, ""),
                        _ => {}
                    }
                }
                _ => {
                    let line = text[at..].find('\n').map_or(text.len(), |newline| at + newline + 1);
                    if line > at {
                        let copy = text[at..line].to_owned();
                        text.insert_str(line, &copy);
                    }
                }
            }
        }
        text
    }
}
