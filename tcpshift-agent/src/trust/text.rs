//! Cleans texts of other programs before they are printed: names of files and processes, and messages.
//!
//! A cleaned text moves no cursor, begins no line and reverses no text, so that it cannot forge a line of a log or a table.

use std::path::Path;

/// Longest name of a process or a file that is printed, in characters.
const LONGEST: usize = 256;

/// The text with control characters replaced, except line breaks, and the characters of Unicode that reverse or hide others.
pub fn clean(text: &str) -> String {
    text.chars().map(|letter| if acts(letter) && letter != '\n' { '\u{fffd}' } else { letter }).collect()
}

/// As [`clean`], with line breaks replaced too.
pub fn clean_line(text: &str) -> String {
    clean(text).replace('\n', "\u{fffd}")
}

/// A name that another program chose, such as one of a process, on one line and cut after a limit.
pub fn name(name: &str) -> String {
    let mut cleaned: String = clean_line(name.trim()).chars().take(LONGEST).collect();
    if name.trim().chars().count() > LONGEST {
        cleaned.push('…');
    }
    cleaned
}

/// A path as it is printed, on one line.
pub fn shown(path: &Path) -> String {
    clean_line(&path.display().to_string())
}

fn acts(letter: char) -> bool {
    letter.is_control()
        || matches!(letter,
            // Line and paragraph separators, and what sets the direction of text (Unicode Annex 9).
            '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{61c}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
            // Invisible characters. Joiners are a part of scripts and emoji, so they stay.
            | '\u{200b}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_do_not_reach_the_terminal() {
        assert_eq!(clean("a\x1b[2Jb\rc\u{9b}d"), "a\u{fffd}[2Jb\u{fffd}c\u{fffd}d");
        assert_eq!(clean("a\nb"), "a\nb");
        assert_eq!(clean_line("a\nb\u{2028}c\u{202e}d"), "a\u{fffd}b\u{fffd}c\u{fffd}d");
        assert_eq!(clean("größe 日本 👩‍🔧"), "größe 日本 👩‍🔧");
    }

    #[test]
    fn a_name_stays_on_its_line_and_ends() {
        assert_eq!(name("evil\nERROR all is lost\n"), "evil\u{fffd}ERROR all is lost");
        assert_eq!(name(&"x".repeat(1_000)).chars().count(), LONGEST + 1);
        assert_eq!(name("haproxy"), "haproxy");
    }
}
