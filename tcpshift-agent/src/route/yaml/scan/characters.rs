//! Which characters YAML may hold.

use super::{Mark, SyntaxFault, SyntaxProblem};

/// Finds the first character of a text that no YAML may hold: a control character, a surrogate, or U+FFFE and U+FFFF.
pub(in super::super) fn check(text: &str, first: usize) -> Result<(), SyntaxFault> {
    let bytes = text.as_bytes();
    let offset = bytes.iter().enumerate().position(|(at, byte)| match byte {
        b'\t' | b'\n' | b'\r' | 0x20..=0x7E => false,
        0x00..=0x1F | 0x7F => true,
        // U+0080 to U+009F but U+0085.
        0xC2 => matches!(bytes.get(at + 1), Some(0x80..=0x84 | 0x86..=0x9F)),
        0xEF => matches!(bytes.get(at + 1..at + 3), Some([0xBF, 0xBE | 0xBF])),
        _ => false,
    });
    let Some(offset) = offset else { return Ok(()) };
    let line = first + text[..offset].matches('\n').count();
    let mark = Mark { offset, line };
    SyntaxFault::new(SyntaxProblem::Control(text[offset..].chars().next().unwrap_or_default()), mark, mark)
}
