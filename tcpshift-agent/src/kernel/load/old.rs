//! The object as old kernels take it: they refuse some things whole, even where they are never reached.
//!
//! Atomic instructions that give a value become plain additions, which stand behind `ebpf::kernel::has` and are not reached; and
//! global functions that take pointers become static ones, which the verifier follows for each call.

use std::borrow::Cow;
use std::ops::Range;

use anyhow::{Context, Result};
use object::read::elf::ElfFile64;
use object::{Endianness, Object as _, ObjectSection as _, SectionKind};
use tcpshift_common::layout::kernel::{FETCH, POINTERS};

use crate::kernel::features::Features;
use crate::kernel::sys::code;

/// Where a section is in the object.
type Section = Range<usize>;

/// Bytes of an instruction.
const INSTRUCTION: usize = 8;

/// An object that this kernel takes, as far as it can be made so.
pub(in crate::kernel) fn fit(object: &[u8], features: Features) -> Result<Cow<'_, [u8]>> {
    if features.has(FETCH) && features.has(POINTERS) {
        return Ok(Cow::Borrowed(object));
    }
    let (code, types) = sections(object).context("it is no object of programs, or a damaged one")?;
    let mut fitted = object.to_vec();
    if !features.has(FETCH) {
        for section in code {
            fitted.get_mut(section).map(without_fetch);
        }
    }
    if let Some(types) = types.filter(|_| !features.has(POINTERS)).and_then(|section| fitted.get_mut(section)) {
        without_pointers(types).context("its types cannot be read")?;
    }
    Ok(Cow::Owned(fitted))
}

/// Where the sections are that have instructions, and the one that has types.
fn sections(object: &[u8]) -> Result<(Vec<Section>, Option<Section>)> {
    let file = ElfFile64::<Endianness>::parse(object)?;
    let range = |section: &object::read::elf::ElfSection64<'_, '_>| {
        let (start, size) = section.file_range()?;
        let start = usize::try_from(start).ok()?;
        Some(start..start.checked_add(usize::try_from(size).ok()?)?)
    };
    let code = file.sections().filter(|section| section.kind() == SectionKind::Text);
    let types = file.sections().find(|section| section.name() == Ok(".BTF"));
    Ok((code.filter_map(|section| range(&section)).collect(), types.and_then(|section| range(&section))))
}

/// Makes plain additions of atomic instructions.
fn without_fetch(instructions: &mut [u8]) {
    let (all, _) = instructions.as_chunks_mut::<INSTRUCTION>();
    let mut all = all.iter_mut();
    while let Some(instruction) = all.next() {
        match instruction[0] {
            // The number after it is an address.
            code::ADDRESS => drop(all.next()),
            code::ATOMIC | code::ATOMIC_HALF => instruction[4..].fill(0),
            _ => {}
        }
    }
}

/// Makes static functions of global ones that take a pointer. Fails if the types are cut off.
fn without_pointers(types: &mut [u8]) -> Option<()> {
    const POINTER: u32 = 2;
    const FUNCTION: u32 = 12;
    let word = |types: &[u8], at: usize| Some(u32::from_ne_bytes(*types.get(at..)?.first_chunk()?));
    let header = word(types, 4)? as usize;
    let first = header.checked_add(word(types, 8)? as usize)?;
    let end = first.checked_add(word(types, 12)? as usize)?;
    // Numbers of types count from 1.
    let (mut all, mut at) = (vec![0], first);
    while at < end {
        all.push(at);
        let info = word(types, at + 4)?;
        let fields = (info & 0xffff) as usize;
        at += 12
            + match info >> 24 & 0x1f {
                // Numbers, variables, tags of declarations.
                1 | 14 | 17 => 4,
                // Arrays.
                3 => 12,
                // Structs, unions, sections, enumerations of 64 bits.
                4 | 5 | 15 | 19 => fields * 12,
                // Enumerations, arguments.
                6 | 13 => fields * 8,
                _ => 0,
            };
    }
    let kind = |types: &[u8], number: u32| {
        let at = *all.get(number as usize)?;
        if at == 0 { Some(0) } else { Some(word(types, at + 4)? >> 24 & 0x1f) }
    };
    for at in all.iter().copied().skip(1) {
        let info = word(types, at + 4)?;
        if info >> 24 & 0x1f != FUNCTION {
            continue;
        }
        let arguments = *all.get(word(types, at + 8)? as usize)?;
        let count = (word(types, arguments + 4)? & 0xffff) as usize;
        let takes = |argument: usize| kind(types, word(types, arguments + 12 + 8 * argument + 4)?);
        let pointers: Option<Vec<bool>> = (0..count).map(|one| Some(takes(one)? == POINTER)).collect();
        if pointers?.contains(&true) {
            types.get_mut(at + 4..at + 8)?.copy_from_slice(&(info & !0xffff).to_ne_bytes());
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::kernel::load::built_in;

    const NOTHING: Features = Features::NOTHING;

    /// Instructions that are atomic and give a value.
    fn fetching(object: &[u8]) -> usize {
        let sections = sections(object).unwrap().0.into_iter().map(|section| &object[section]);
        let counted = sections.map(|section| {
            let (all, rest) = section.as_chunks::<INSTRUCTION>();
            assert!(rest.is_empty());
            let mut all = all.iter();
            let mut count = 0;
            while let Some(instruction) = all.next() {
                match instruction[0] {
                    code::ADDRESS => drop(all.next()),
                    code::ATOMIC | code::ATOMIC_HALF => count += usize::from(instruction[4..] != [0; 4]),
                    _ => {}
                }
            }
            count
        });
        counted.sum()
    }

    /// Functions by their names, each with whether it is global: as types have them, a name, a kind and a prototype.
    fn functions(object: &[u8]) -> HashMap<String, bool> {
        let section = &object[sections(object).unwrap().1.unwrap()];
        let word = |at: usize| u32::from_ne_bytes(*section[at..].first_chunk().unwrap());
        let names = (word(4) + word(16)) as usize;
        let words = (word(4) as usize..names).step_by(4);
        let functions = words.filter(|at| matches!(word(at + 4), 0x0c00_0000 | 0x0c00_0001)).map(|at| {
            let name = &section[names + word(at) as usize..];
            let end = name.iter().position(|byte| *byte == 0).unwrap();
            (String::from_utf8_lossy(&name[..end]).into_owned(), word(at + 4) & 1 == 1)
        });
        functions.collect()
    }

    #[test]
    fn what_old_kernels_refuse_whole_is_taken_out() {
        // A build without programs has nothing to take out.
        let Some(object) = built_in() else { return };
        assert!(fetching(object) > 0);
        assert!(matches!(fit(object, Features::EVERYTHING).unwrap(), Cow::Borrowed(_)));
        let fitted = fit(object, NOTHING).unwrap();
        assert_eq!((fetching(&fitted), fitted.len()), (0, object.len()));
        let (before, after) = (functions(object), functions(&fitted));
        for name in ["settle", "hand_over", "hand_to"] {
            assert_eq!((before[name], after[name]), (true, false), "{name}");
        }
        // It takes numbers alone.
        assert_eq!((before["find"], after["find"]), (true, true));
        assert_eq!(before.len(), after.len());
    }

    #[test]
    fn a_damaged_object_is_an_error() {
        assert!(fit(b"", NOTHING).is_err() && fit(&[0x7f; 4096], NOTHING).is_err());
        let Some(object) = built_in() else { return };
        let types = sections(object).unwrap().1.unwrap();
        let (mut cut, mut odd) = (object.to_vec(), object.to_vec());
        cut.truncate(types.end - 1);
        assert!(fit(&cut, NOTHING).is_err());
        odd[types.start + 4..types.start + 8].fill(0xff);
        assert!(fit(&odd, NOTHING).is_err());
    }
}
