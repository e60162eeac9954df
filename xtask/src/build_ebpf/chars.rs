//! Tells the object's readers that `i8` is the type of letters.
//!
//! Names in maps are `[i8; N]`, as C's strings are. Rust has no type that debug information calls a character, so that
//! bpftool would print a name as a list of numbers; BTF knows how an integer is meant to be read, and this file
//! changes that one mark. It knows BTF and the section it is in, and nothing of what the object is for.

use anyhow::{Context, Result, bail, ensure};
use object::{Object, ObjectSection};

/// How an integer is read, in the four bits above its sizes: as a character.
const CHAR: u32 = 2 << 24;
const READING: u32 = 0xf << 24;

/// Marks `i8` as a character in an ELF file with BTF.
pub(crate) fn mark(object: &mut [u8]) -> Result<()> {
    let file = object::File::parse(&*object).context("is no ELF file")?;
    let little = file.is_little_endian();
    let section = file.section_by_name(".BTF").context("has no section .BTF: was it linked with --btf?")?;
    let (begin, length) = section.file_range().context("has an empty section .BTF")?;
    let begin = usize::try_from(begin)?;
    let btf = object.get_mut(begin..begin + usize::try_from(length)?).context("ends within its section .BTF")?;
    Btf { bytes: btf, little }.mark("i8").context("in section .BTF")
}

/// BTF as bytes: a header, types one after the other, and their names.
struct Btf<'a> {
    bytes: &'a mut [u8],
    little: bool,
}

impl Btf<'_> {
    /// Marks the integer of this name as a character.
    fn mark(&mut self, name: &str) -> Result<()> {
        let magic = self.word(0)?;
        ensure!(if self.little { magic & 0xffff } else { magic >> 16 } == 0xeb9f, "there is no BTF");
        let header = self.word(4)?;
        let types = header + self.word(8)?;
        let end = types + self.word(12)?;
        let names = header + self.word(16)?;
        let mut at = types;
        while at < end {
            let (word, info) = (self.word(at)?, self.word(at + 4)?);
            let (kind, members) = (info >> 24 & 0x1f, info & 0xffff);
            at += 12;
            if kind == 1 && self.named(names + word, name) {
                let meaning = self.word(at)?;
                return self.set(at, meaning & !READING | CHAR);
            }
            at += match kind {
                // An integer, a variable, a tag of a declaration.
                1 | 14 | 17 => 4,
                // An array.
                3 => 12,
                // A structure, a union, a section of data, an enumeration of 64 bits.
                4 | 5 | 15 | 19 => 12 * members,
                // An enumeration, a prototype.
                6 | 13 => 8 * members,
                // What refers to one other type, or to none.
                2 | 7..=12 | 16 | 18 => 0,
                _ => bail!("a type is of an unknown kind, {kind}"),
            };
        }
        bail!("there is no integer type {name}: does no map have a name in it?")
    }

    fn named(&self, at: u32, name: &str) -> bool {
        let rest = self.bytes.get(at as usize..).unwrap_or_default();
        rest.strip_prefix(name.as_bytes()).is_some_and(|rest| rest.first() == Some(&0))
    }

    fn word(&self, at: u32) -> Result<u32> {
        let bytes = self.bytes.get(at as usize..).and_then(<[u8]>::first_chunk).context("it ends too early")?;
        Ok(if self.little { u32::from_le_bytes(*bytes) } else { u32::from_be_bytes(*bytes) })
    }

    fn set(&mut self, at: u32, word: u32) -> Result<()> {
        let bytes = self.bytes.get_mut(at as usize..).and_then(<[u8]>::first_chunk_mut).context("it ends too early")?;
        *bytes = if self.little { word.to_le_bytes() } else { word.to_be_bytes() };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A structure of two members, and the integers `i88` and `i8`, both signed.
    fn example(little: bool) -> Vec<u8> {
        let names = b"\0i88\0i8\0\0";
        let signed = 1 << 24 | 8;
        let types = [0, 4 << 24 | 2, 2, 0, 2, 0, 0, 3, 8, 1, 1 << 24, 1, signed, 5, 1 << 24, 1, signed];
        let size = u32::try_from(types.len()).unwrap() * 4;
        let header = [24, 0, size, size, u32::try_from(names.len()).unwrap()];
        let words = header.iter().chain(&types);
        let words = words.flat_map(|word: &u32| if little { word.to_le_bytes() } else { word.to_be_bytes() });
        let magic = if little { [0x9f, 0xeb] } else { [0xeb, 0x9f] };
        magic.into_iter().chain([1, 0]).chain(words).chain(*names).collect()
    }

    #[test]
    fn one_integer_becomes_a_character() {
        for little in [true, false] {
            let before = example(little);
            let mut after = before.clone();
            Btf { bytes: &mut after, little }.mark("i8").unwrap();
            let changed: Vec<usize> = (0..before.len()).filter(|at| before[*at] != after[*at]).collect();
            // The last word of the types, in its highest byte.
            let word = 24 + 16 * 4;
            assert_eq!(changed, [if little { word + 3 } else { word }]);
            assert_eq!(after[changed[0]], 2);
        }
    }

    #[test]
    fn what_is_missing_is_said() {
        let mut bytes = example(true);
        let error = Btf { bytes: &mut bytes, little: true }.mark("u16").unwrap_err();
        assert!(error.to_string().contains("no integer type u16"), "{error}");
        let error = Btf { bytes: &mut bytes[..50], little: true }.mark("i8").unwrap_err();
        assert!(error.to_string().contains("too early"), "{error}");
        let error = Btf { bytes: &mut [0; 24], little: true }.mark("i8").unwrap_err();
        assert!(error.to_string().contains("no BTF"), "{error}");
        let error = mark(&mut b"no object".to_vec()).unwrap_err();
        assert!(error.to_string().contains("no ELF file"), "{error}");
    }
}
