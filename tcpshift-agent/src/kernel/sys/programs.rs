//! Loading a program with the verifier's log asked for at once, which aya does only after a failure.

use std::ffi::CStr;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use aya_obj::generated::bpf_insn;

use super::{address, bpf_fd, number};

const PROG_LOAD: u32 = 5;

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
    let mut attributes = Attributes {
        kind: program.kind,
        instructions: program.instructions.len() as u32,
        instructions_at: address(program.instructions),
        license: address(program.license),
        log_level: level,
        log_size: log.len() as u32,
        log: log.as_mut_ptr() as u64,
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
