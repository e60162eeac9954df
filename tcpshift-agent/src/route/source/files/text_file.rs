//! Reads a file, or whatever else can be read, as text.

mod encoding;

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// The largest file that is read, in bytes.
pub const LARGEST: u64 = 32 << 20;

/// Why a file has no text.
#[derive(Debug)]
pub enum Unread {
    /// The system refuses to open or read it.
    Unreadable(io::Error),
    /// It is too large or no text. The words say which.
    Unusable(String),
}

/// The predicate of a sentence whose subject is the name of the file.
impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(error) => write!(f, "cannot be read: {error}"),
            Self::Unusable(message) => f.write_str(message),
        }
    }
}

/// The text of a file. Errors: as of [`text_of`], or the file cannot be opened.
pub fn read_text(path: &Path) -> Result<String, Unread> {
    text_of(File::open(path).map_err(Unread::Unreadable)?)
}

/// The text of an input. Errors: it cannot be read, is larger than [`LARGEST`] bytes, or is neither UTF-8 nor UTF-16.
pub fn text_of(input: impl Read) -> Result<String, Unread> {
    let mut bytes = Vec::new();
    input.take(LARGEST + 1).read_to_end(&mut bytes).map_err(Unread::Unreadable)?;
    if bytes.len() as u64 > LARGEST {
        return Err(Unread::Unusable(format!("is larger than {} MiB; split it", LARGEST >> 20)));
    }
    encoding::decode(bytes).map_err(Unread::Unusable)
}
