//! From the bytes of a file to its text, as kubectl does it: UTF-8, or UTF-16 with a byte order mark.
//!
//! kubectl reads U+FFFD where bytes are not UTF-8. Here that is taken in comments alone, since a name or a host would be
//! another one than what the file shows.

/// The text, or why there is none.
pub(super) fn decode(bytes: Vec<u8>) -> Result<String, String> {
    match bytes.as_slice() {
        [0xFF, 0xFE, rest @ ..] => return Ok(utf16(rest, u16::from_le_bytes)),
        [0xFE, 0xFF, rest @ ..] => return Ok(utf16(rest, u16::from_be_bytes)),
        _ => {}
    }
    String::from_utf8(bytes).or_else(|error| lossy(error.as_bytes()))
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> String {
    let (pairs, rest) = bytes.as_chunks::<2>();
    let mut text: String = char::decode_utf16(pairs.iter().map(|pair| unit(*pair)))
        .map(|letter| letter.unwrap_or(char::REPLACEMENT_CHARACTER))
        .collect();
    text.extend(rest.iter().map(|_| char::REPLACEMENT_CHARACTER));
    text
}

fn lossy(bytes: &[u8]) -> Result<String, String> {
    for (index, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        let Err(error) = str::from_utf8(line) else { continue };
        let before = &line[..error.valid_up_to()];
        if !ends_in_comment(before) {
            let (line, byte) = (index + 1, line[before.len()]);
            return Err(format!(
                "is no text: line {line} holds bytes that are not UTF-8 (0x{byte:02X}); save it as UTF-8, or write ASCII"
            ));
        }
    }
    Ok(String::from_utf8_lossy(bytes).into_owned())
}

/// Whether what follows this beginning of a line is a comment for certain.
fn ends_in_comment(before: &[u8]) -> bool {
    let text = before.trim_ascii_start();
    let has_quote = text.iter().any(|byte| matches!(byte, b'"' | b'\''));
    text.starts_with(b"#") || (!has_quote && before.windows(2).any(|pair| pair == b" #"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn utf16_with_a_mark_is_read() {
        let le: Vec<u8> = "\u{feff}a: é😀\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let be: Vec<u8> = "\u{feff}a: é😀\n".encode_utf16().flat_map(u16::to_be_bytes).collect();
        assert_eq!(decode(le).as_deref(), Ok("a: é😀\n"));
        assert_eq!(decode(be).as_deref(), Ok("a: é😀\n"));
    }

    #[test]
    fn bytes_of_another_encoding_may_stand_in_comments_alone() {
        let taken = ["# Z\u{fffd}rich\na: b # \u{fffd}\n"];
        assert_eq!(decode(b"# Z\xfcrich\na: b # \xfc\n".to_vec()).as_deref(), Ok(taken[0]));
        for bytes in [&b"a\nb: \xfc\n"[..], b"a\nb: '#' # '\xfc\n", b"a\nb: \"x # \xfc\"\n"] {
            let refused = decode(bytes.to_vec()).unwrap_err();
            assert!(refused.contains("line 2 holds bytes") && refused.contains("0xFC"), "{refused}");
        }
    }
}
