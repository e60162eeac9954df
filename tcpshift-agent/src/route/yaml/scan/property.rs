//! Anchors and tags, which stand before values, and directives.

use super::{Mark, Scanned, Scanner, SyntaxFault, SyntaxProblem, Token, TokenKind};

impl<'t> Scanner<'t> {
    pub(super) fn anchor(&mut self) -> Scanned<Token<'t>> {
        let mark = self.here();
        Ok(Token { kind: TokenKind::Anchor(self.anchor_name(false)?), mark })
    }

    pub(super) fn alias(&mut self) -> Scanned<Token<'t>> {
        let mark = self.here();
        Ok(Token { kind: TokenKind::Alias(self.anchor_name(true)?), mark })
    }

    fn anchor_name(&mut self, is_alias: bool) -> Scanned<&'t str> {
        let mark = self.here();
        self.at += 1;
        let name = self.word();
        let ends = self.is_blank_or_end(0)
            || matches!(self.byte(0), Some(b'?' | b':' | b',' | b']' | b'}' | b'%' | b'@' | b'`'));
        if name.is_empty() || !ends {
            return SyntaxFault::new(SyntaxProblem::AnchorName { is_alias }, mark, mark);
        }
        Ok(name)
    }

    /// Letters, digits, `-` and `_`.
    fn word(&mut self) -> &'t str {
        let start = self.at;
        while self.byte(0).is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_') {
            self.at += 1;
        }
        &self.text[start..self.at]
    }

    pub(super) fn tag(&mut self) -> Scanned<Token<'t>> {
        let mark = self.here();
        let kind = if self.byte(1) == Some(b'<') {
            self.at += 2;
            let suffix = self.uri("", true, mark)?;
            if self.byte(0) != Some(b'>') {
                return SyntaxFault::new(SyntaxProblem::Tag, mark, mark);
            }
            self.at += 1;
            TokenKind::Tag("", suffix)
        } else {
            let handle = self.tag_handle(mark)?;
            if handle.len() > 1 && handle.ends_with('!') {
                TokenKind::Tag(handle, self.uri("", true, mark)?)
            } else {
                let suffix = self.uri(&handle[1..], false, mark)?;
                if suffix.is_empty() { TokenKind::Tag("", "!".to_owned()) } else { TokenKind::Tag("!", suffix) }
            }
        };
        if !self.is_blank_or_end(0) {
            return SyntaxFault::new(SyntaxProblem::Tag, mark, mark);
        }
        Ok(Token { kind, mark })
    }

    /// `!`, `!name!`, or the beginning of a tag that has no handle.
    fn tag_handle(&mut self, mark: Mark) -> Scanned<&'t str> {
        let start = self.at;
        if self.byte(0) != Some(b'!') {
            return SyntaxFault::new(SyntaxProblem::Tag, mark, mark);
        }
        self.at += 1;
        self.word();
        if self.byte(0) == Some(b'!') {
            self.at += 1;
        }
        Ok(&self.text[start..self.at])
    }

    /// The rest of a tag behind its beginning.
    fn uri(&mut self, head: &str, must_have_any: bool, mark: Mark) -> Scanned<String> {
        let mut uri = head.as_bytes().to_vec();
        let start = self.at;
        while let Some(byte) = self.byte(0) {
            match byte {
                b'%' => uri.push(self.uri_octet(mark)?),
                _ if byte.is_ascii_alphanumeric() || b"-_;/?:@&=+$,.!~*'()[]".contains(&byte) => {
                    uri.push(byte);
                    self.at += 1;
                }
                _ => break,
            }
        }
        if must_have_any && self.at == start {
            return SyntaxFault::new(SyntaxProblem::Tag, mark, mark);
        }
        String::from_utf8(uri).or_else(|_| SyntaxFault::new(SyntaxProblem::Tag, mark, mark))
    }

    fn uri_octet(&mut self, mark: Mark) -> Scanned<u8> {
        let digits = self.text.get(self.at + 1..self.at + 3).filter(|digits| !digits.starts_with('+'));
        let Some(octet) = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) else {
            return SyntaxFault::new(SyntaxProblem::Tag, mark, mark);
        };
        self.at += 3;
        Ok(octet)
    }

    pub(super) fn scan_directive(&mut self) -> Scanned<Token<'t>> {
        let mark = self.here();
        self.at += 1;
        let kind = match self.word() {
            "YAML" if self.is_blank(0) => {
                self.skip_blanks();
                let major = self.version_number(mark)?;
                if self.byte(0) != Some(b'.') {
                    return SyntaxFault::new(SyntaxProblem::Directive, mark, mark);
                }
                self.at += 1;
                TokenKind::Version(major, self.version_number(mark)?)
            }
            "TAG" if self.is_blank(0) => {
                self.skip_blanks();
                let handle = self.tag_handle(mark)?;
                if !handle.ends_with('!') || !self.is_blank(0) {
                    return SyntaxFault::new(SyntaxProblem::Directive, mark, mark);
                }
                self.skip_blanks();
                let prefix = self.uri("", true, mark)?;
                if !self.is_blank_or_end(0) {
                    return SyntaxFault::new(SyntaxProblem::Directive, mark, mark);
                }
                TokenKind::TagDirective(handle, prefix)
            }
            _ => return SyntaxFault::new(SyntaxProblem::Directive, mark, mark),
        };
        self.skip_blanks();
        self.skip_comment();
        if !self.is_break_or_end(0) {
            return SyntaxFault::new(SyntaxProblem::Directive, mark, mark);
        }
        self.skip_break();
        Ok(Token { kind, mark })
    }

    fn version_number(&mut self, mark: Mark) -> Scanned<u8> {
        let start = self.at;
        while self.byte(0).is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        let digits = &self.text[start..self.at];
        if digits.len() > 2 {
            return SyntaxFault::new(SyntaxProblem::Directive, mark, mark);
        }
        digits.parse().or_else(|_| SyntaxFault::new(SyntaxProblem::Directive, mark, mark))
    }

    pub(super) fn skip_blanks(&mut self) {
        while self.is_blank(0) {
            self.at += 1;
        }
    }
}
