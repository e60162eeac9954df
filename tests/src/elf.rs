//! Objects of kernel programs that are made by hand: an ELF file of BPF with a few instructions, which a verifier refuses for a
//! reason that the test knows.
//!
//! Layout: System V ABI (<https://refspecs.linuxfoundation.org/elf/gabi4+/contents.html>); `EM_BPF` and the instructions:
//! RFC 9669.

/// `r0 = 0; exit`: any kernel takes it.
pub const SMALL: &[u64] = &[instruction(0xb7, 0, 0, 0), EXIT];

/// Counts to two million in a loop of two instructions, which is more than the million that a verifier follows.
pub const TOO_COMPLEX: &[u64] = &[
    instruction(0xb7, 6, 0, 0),
    instruction(0x07, 6, 0, 1),
    instruction(0xa5, 6, -2, 2_000_000),
    instruction(0xb7, 0, 0, 0),
    EXIT,
];

/// Calls a helper that no kernel has.
pub const UNKNOWN_HELPER: &[u64] = &[instruction(0x85, 0, 0, 99_999), EXIT];

const EXIT: u64 = instruction(0x95, 0, 0, 0);

/// An instruction as it is in a word of a little-endian machine.
const fn instruction(code: u8, register: u8, offset: i16, immediate: i32) -> u64 {
    code as u64
        | (register as u64) << 8
        | (offset.cast_unsigned() as u64) << 16
        | (immediate.cast_unsigned() as u64) << 32
}

/// An object with these programs for `sched_cls`, by their names.
pub fn object(programs: &[(&str, &[u64])]) -> Vec<u8> {
    const HEADER: usize = 64;
    // Names of sections and of symbols, each ended by a 0.
    let mut names = b"\0classifier\0license\0.symtab\0.strtab\0".to_vec();
    let offset = |names: &[u8], name: &str| {
        names
            .windows(name.len() + 1)
            .position(|at| at[..name.len()] == *name.as_bytes() && at[name.len()] == 0)
            .expect("the names of sections are written above")
    };
    let (mut text, mut symbols) = (Vec::new(), vec![0; 24]);
    for (name, instructions) in programs {
        let begin = text.len() as u64;
        instructions.iter().for_each(|word| text.extend(word.to_le_bytes()));
        // STB_GLOBAL and STT_FUNC, in the first section.
        symbols.extend((names.len() as u32).to_le_bytes());
        symbols.extend([0x12, 0, 1, 0]);
        symbols.extend(begin.to_le_bytes());
        symbols.extend((text.len() as u64 - begin).to_le_bytes());
        names.extend(name.as_bytes());
        names.push(0);
    }
    // Name, type, flags, what it is linked to, its information, bytes of an entry, content.
    let sections = [
        ("classifier", 1_u32, 6_u64, 0_u32, 0_u32, 0_u64, &text[..]),
        ("license", 1, 3, 0, 0, 0, b"GPL\0"),
        (".symtab", 2, 0, 4, 1, 24, &symbols),
        (".strtab", 3, 0, 0, 0, 0, &names),
    ];
    let (mut content, mut table) = (Vec::new(), vec![0; HEADER]);
    for (name, kind, flags, link, information, entry, bytes) in sections {
        table.extend((offset(&names, name) as u32).to_le_bytes());
        table.extend(kind.to_le_bytes());
        for word in [flags, 0, (HEADER + content.len()) as u64, bytes.len() as u64] {
            table.extend(word.to_le_bytes());
        }
        table.extend(link.to_le_bytes());
        table.extend(information.to_le_bytes());
        table.extend(8_u64.to_le_bytes());
        table.extend(entry.to_le_bytes());
        content.extend(bytes);
        content.resize(content.len().next_multiple_of(8), 0);
    }
    // 64 bits, little-endian, ELF 1; relocatable, for BPF.
    let mut object = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    object.extend([1, 0, 247, 0, 1, 0, 0, 0]);
    for word in [0, 0, (HEADER + content.len()) as u64] {
        object.extend(word.to_le_bytes());
    }
    object.extend(0_u32.to_le_bytes());
    for half in [HEADER as u16, 0, 0, 64, 5, 4] {
        object.extend(half.to_le_bytes());
    }
    object.extend(content);
    object.extend(table);
    object
}
