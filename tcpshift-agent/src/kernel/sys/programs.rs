//! Loading a program with the verifier's log asked for at once, which aya does only after a failure.

use std::ffi::CStr;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use aya_obj::generated::bpf_insn;

use super::{address, bpf_fd, number};

const PROG_LOAD: u32 = 5;
const BTF_LOAD: u32 = 18;

/// Parts of instructions (`include/uapi/linux/bpf.h` and `bpf_common.h`).
pub(in crate::kernel) mod code {
    /// `BPF_ALU64 | BPF_MOV | BPF_K`
    pub(in crate::kernel) const MOVE: u8 = 0xb7;
    /// `BPF_ALU64 | BPF_MOV | BPF_X`
    pub(in crate::kernel) const COPY: u8 = 0xbf;
    /// `BPF_ALU64 | BPF_RSH | BPF_K`
    pub(in crate::kernel) const SHIFT_RIGHT: u8 = 0x77;
    /// `BPF_LDX | BPF_DW | BPF_MEM`
    pub(in crate::kernel) const LOAD: u8 = 0x79;
    /// `BPF_STX | BPF_DW | BPF_MEM`
    pub(in crate::kernel) const STORE: u8 = 0x7b;
    /// `BPF_ST | BPF_DW | BPF_MEM`
    pub(in crate::kernel) const STORE_NUMBER: u8 = 0x7a;
    /// `BPF_LD | BPF_DW | BPF_IMM`, which has two instructions.
    pub(in crate::kernel) const ADDRESS: u8 = 0x18;
    /// `BPF_STX | BPF_DW | BPF_ATOMIC`
    pub(in crate::kernel) const ATOMIC: u8 = 0xdb;
    /// `BPF_STX | BPF_W | BPF_ATOMIC`
    pub(in crate::kernel) const ATOMIC_HALF: u8 = 0xc3;
    /// `BPF_ADD | BPF_FETCH`
    pub(in crate::kernel) const FETCH_ADD: i32 = 1;
    /// `BPF_JMP | BPF_JEQ | BPF_K`
    pub(in crate::kernel) const SKIP_IF: u8 = 0x15;
    /// `BPF_JMP | BPF_JNE | BPF_K`, of 32 bits.
    pub(in crate::kernel) const SKIP_UNLESS: u8 = 0x56;
    /// `BPF_JMP | BPF_CALL`
    pub(in crate::kernel) const CALL: u8 = 0x85;
    /// `BPF_PSEUDO_CALL`: the call is of a function of the program.
    pub(in crate::kernel) const FUNCTION: u8 = 1;
    /// `BPF_PSEUDO_MAP_VALUE`: the address is of a row of a map.
    pub(in crate::kernel) const ROW: u8 = 2;
    /// `BPF_JMP | BPF_EXIT`
    pub(in crate::kernel) const EXIT: u8 = 0x95;
}

/// A program as [`load_program`] takes it.
pub(in crate::kernel) struct ProgramToLoad<'a> {
    /// Of `enum bpf_prog_type`.
    pub(in crate::kernel) kind: u32,
    /// Of `enum bpf_attach_type`; 0 for a type that has none.
    pub(in crate::kernel) hook: u32,
    /// For `bpftool`; 15 bytes of it.
    pub(in crate::kernel) name: &'a str,
    /// All of them, with maps by their descriptors.
    pub(in crate::kernel) instructions: &'a [bpf_insn],
    /// Opens helpers.
    pub(in crate::kernel) license: &'a CStr,
    /// The types that the next two name.
    pub(in crate::kernel) types: Option<BorrowedFd<'a>>,
    /// Records of functions, and bytes of each.
    pub(in crate::kernel) functions: (&'a [u8], usize),
    /// Records of lines, and bytes of each.
    pub(in crate::kernel) lines: (&'a [u8], usize),
}

/// Has the verifier follow a program, and write what it has to say at this level into `log`, with a 0 at the end.
pub(in crate::kernel) fn load_program(program: &ProgramToLoad<'_>, level: u32, log: &mut [u8]) -> io::Result<OwnedFd> {
    #[repr(C)]
    #[derive(Default)]
    struct Attributes {
        kind: u32,
        instructions: u32,
        instructions_at: u64,
        license: u64,
        log_level: u32,
        log_size: u32,
        log: u64,
        kernel_version: u32,
        flags: u32,
        name: [u8; 16],
        interface: u32,
        hook: u32,
        types: u32,
        function_size: u32,
        functions_at: u64,
        functions: u32,
        line_size: u32,
        lines_at: u64,
        lines: u32,
        type_id: u32,
        program: u32,
        padding: u32,
    }
    // A length of 0 and an address would be refused.
    let has_log = level > 0;
    let mut attributes = Attributes {
        kind: program.kind,
        instructions: program.instructions.len() as u32,
        instructions_at: address(program.instructions),
        license: address(program.license),
        log_level: level,
        log_size: if has_log { log.len() as u32 } else { 0 },
        log: if has_log { log.as_mut_ptr() as u64 } else { 0 },
        hook: program.hook,
        ..Attributes::default()
    };
    // The kernel takes letters, digits, dots and underscores (`bpf_obj_name_cpy`, 5.10).
    let letters = program.name.bytes().filter(|byte| byte.is_ascii_alphanumeric() || b"._".contains(byte));
    attributes.name.iter_mut().take(15).zip(letters).for_each(|(to, from)| *to = from);
    if let Some(types) = program.types {
        attributes.types = number(types);
        let count = |(records, size): (&[u8], usize)| records.len().checked_div(size).unwrap_or(0) as u32;
        if program.functions.1 > 0 {
            attributes.functions = count(program.functions);
            (attributes.functions_at, attributes.function_size) =
                (address(program.functions.0), program.functions.1 as u32);
        }
        if program.lines.1 > 0 {
            attributes.lines = count(program.lines);
            (attributes.lines_at, attributes.line_size) = (address(program.lines.0), program.lines.1 as u32);
        }
    }
    // SAFETY: All pointers are to what lives as long as the call, with the lengths that are given.
    unsafe { bpf_fd(PROG_LOAD, &mut attributes) }
}

/// Has the kernel take types, in the form of BTF.
pub(in crate::kernel) fn load_types(types: &[u8]) -> io::Result<OwnedFd> {
    #[repr(C)]
    struct Attributes {
        types: u64,
        log: u64,
        size: u32,
        log_size: u32,
        log_level: u32,
        padding: u32,
    }
    let mut attributes =
        Attributes { types: address(types), log: 0, size: types.len() as u32, log_size: 0, log_level: 0, padding: 0 };
    // SAFETY: The kernel reads as many bytes there, which live as long as the call.
    unsafe { bpf_fd(BTF_LOAD, &mut attributes) }
}
