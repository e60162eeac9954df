//! Texts in double quotes, and their escapes.

use super::{Read, Reader};

impl Reader<'_> {
    pub(super) fn string(&mut self) -> Read<String> {
        self.at += 1;
        let mut text = String::new();
        let mut start = self.at;
        loop {
            match self.byte() {
                Some(b'"') => {
                    text.push_str(&self.text[start..self.at]);
                    self.at += 1;
                    return Ok(text);
                }
                Some(b'\\') => {
                    text.push_str(&self.text[start..self.at]);
                    text.push(self.escape()?);
                    start = self.at;
                }
                None | Some(b'\n') => {
                    return self.wrong("the text that begins in this line has no end", "close it with a double quote");
                }
                Some(control @ 0..=0x1F) => {
                    let cure = format!("write `\\u{control:04x}` for it, or remove it");
                    return self.wrong("a control character stands in a text", &cure);
                }
                Some(_) => self.at += 1,
            }
        }
    }

    pub(super) fn escape(&mut self) -> Read<char> {
        self.at += 1;
        let letter = self.text[self.at..].chars().next();
        let character = match letter {
            Some(same @ ('"' | '\\' | '/')) => same,
            Some('b') => '\u{8}',
            Some('f') => '\u{c}',
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some('u') => return self.unicode(),
            _ => {
                let letter = letter.unwrap_or(' ');
                let message = format!("`\\{letter}` means nothing in a text of JSON");
                return self.wrong(&message, "write two backslashes for one");
            }
        };
        self.at += 1;
        Ok(character)
    }

    /// A character by its number. One half of a pair alone is none, and Go reads U+FFFD.
    pub(super) fn unicode(&mut self) -> Read<char> {
        let Some(first) = self.digits(self.at + 1) else {
            let cure = "write four hexadecimal digits of a character, or the character itself";
            return self.wrong("four hexadecimal digits are expected behind `\\u`", cure);
        };
        self.at += 5;
        if let Some(character) = char::from_u32(first) {
            return Ok(character);
        }
        if self.text[self.at..].starts_with("\\u")
            && let Some(second) = self.digits(self.at + 2)
            && let (0xD800..0xDC00, 0xDC00..0xE000) = (first, second)
        {
            self.at += 6;
            let code = 0x1_0000 + ((first - 0xD800) << 10) + (second - 0xDC00);
            return Ok(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
        }
        Ok(char::REPLACEMENT_CHARACTER)
    }

    pub(super) fn digits(&self, at: usize) -> Option<u32> {
        let digits = self.text.get(at..at + 4)?;
        digits.bytes().all(|digit| digit.is_ascii_hexdigit()).then(|| u32::from_str_radix(digits, 16).ok())?
    }
}
