//! What the kernel has of what programs can do without, each found by a program of some instructions that the kernel takes or
//! refuses: a version says little, since distributions bring parts of later ones.

use std::fmt;
use std::io;
use std::os::fd::AsFd;

use anyhow::{Context, Result};
use aya_obj::generated::{bpf_insn, bpf_prog_type};
use rustix::io::Errno;
use tcpshift_common::layout::kernel;

use super::locked_memory;
use super::sys::{self, ProgramToLoad, code, hook};

/// What a kernel may lack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Feature {
    /// One of `layout::kernel`.
    pub(super) bit: u64,
    /// What it is.
    pub(super) name: &'static str,
    /// The first Linux that has it.
    pub(super) since: &'static str,
    /// What a person notices where it is missing.
    pub(super) without: &'static str,
}

impl fmt::Display for Feature {
    /// One line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no {} (Linux {}): {}", self.name, self.since, self.without)
    }
}

/// All that is looked for, in the order of the versions that have it.
pub(super) const FEATURES: [Feature; 5] = [
    Feature {
        bit: kernel::FETCH,
        name: "atomic additions that return a value",
        since: "5.12",
        without: "two connections at one moment may get one number of a sequence or turn; a steered connection costs more",
    },
    Feature {
        bit: kernel::POINTERS,
        name: "global functions with pointers",
        since: "5.12",
        without: "`lookup` offers a connection to 8 endpoints at most, and to 8 of the sockets that share an endpoint",
    },
    Feature {
        bit: kernel::SOCKETS_NETNS,
        name: "bpf_get_netns_cookie at sockets",
        since: "5.15",
        without: "the agent, not a program, keeps sockets that begin to listen: `lookup` has them some moments later, and not while no agent runs",
    },
    Feature {
        bit: kernel::RETVAL,
        name: "bpf_set_retval",
        since: "5.18",
        without: "a client whose connect(2) is refused has EPERM and not ECONNREFUSED",
    },
    Feature {
        bit: kernel::MPTCP,
        name: "bpf_skc_to_mptcp_sock",
        since: "5.19",
        without: "getpeername(2) of a steered MPTCP client names the endpoint",
    },
];

/// What this kernel has of [`FEATURES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Features(u64);

impl Features {
    /// A kernel that has none.
    #[cfg(test)]
    pub(super) const NOTHING: Self = Self(0);
    /// A kernel that has all.
    #[cfg(test)]
    pub(super) const EVERYTHING: Self = Self(u64::MAX);

    /// Tries all of them. Needs the rights that loading programs needs.
    pub(super) fn probe() -> Result<Self> {
        locked_memory::lift();
        let mut bits = 0;
        for feature in FEATURES {
            let has = takes(feature.bit).with_context(|| format!("cannot try {}", feature.name))?;
            bits |= if has { feature.bit } else { 0 };
        }
        Ok(Self(bits))
    }

    /// Whether the kernel has what a bit stands for.
    pub(super) fn has(self, bit: u64) -> bool {
        self.0 & bit != 0
    }

    /// What programs are told.
    pub(super) fn of_programs(self) -> u64 {
        self.0 & kernel::ALL
    }

    /// What the kernel lacks.
    pub(super) fn missing(self) -> impl Iterator<Item = Feature> {
        FEATURES.into_iter().filter(move |feature| !self.has(feature.bit))
    }
}

/// An instruction.
pub(super) fn instruction(code: u8, to: u8, from: u8, offset: i16, number: i32) -> bpf_insn {
    bpf_insn { code, _bitfield_align_1: [], _bitfield_1: bpf_insn::new_bitfield_1(to, from), off: offset, imm: number }
}

/// Whether the kernel takes a program that uses a feature.
fn takes(bit: u64) -> io::Result<bool> {
    /// Where `struct bpf_sock_ops` has its socket.
    const SOCKET: i16 = 184;
    /// The frame's end.
    const FRAME: u8 = 10;
    let (set, call, end) = (
        |to, number| instruction(code::MOVE, to, 0, 0, number),
        |helper| instruction(code::CALL, 0, 0, 0, helper),
        instruction(code::EXIT, 0, 0, 0, 0),
    );
    let filter = bpf_prog_type::BPF_PROG_TYPE_SOCKET_FILTER;
    let sockets = bpf_prog_type::BPF_PROG_TYPE_SOCK_OPS;
    let clients = bpf_prog_type::BPF_PROG_TYPE_CGROUP_SOCK_ADDR;
    let (kind, at, instructions) = match bit {
        kernel::FETCH => (
            filter,
            0,
            vec![
                instruction(code::STORE_NUMBER, FRAME, 0, -8, 0),
                set(1, 1),
                instruction(code::ATOMIC, FRAME, 1, -8, code::FETCH_ADD),
                set(0, 0),
                end,
            ],
        ),
        // Calls the function after its end with a null pointer.
        kernel::POINTERS => (
            filter,
            0,
            vec![set(1, 0), instruction(code::CALL, 0, code::FUNCTION, 0, 2), set(0, 0), end, set(0, 0), end],
        ),
        kernel::SOCKETS_NETNS => (sockets, hook::SOCK_OPS, vec![call(122), set(0, 1), end]),
        kernel::RETVAL => (clients, hook::CONNECT4, vec![set(1, -111), call(187), set(0, 0), end]),
        _ => (
            sockets,
            hook::SOCK_OPS,
            vec![
                instruction(code::LOAD, 1, 1, SOCKET, 0),
                instruction(code::SKIP_IF, 1, 0, 1, 0),
                call(196),
                set(0, 1),
                end,
            ],
        ),
    };
    let types = if bit == kernel::POINTERS { Some(sys::load_types(&types())?) } else { None };
    // Which function begins at which instruction, by the numbers of their types.
    let functions: Vec<u8> = [0_u32, 7, 4, 5].into_iter().flat_map(u32::to_ne_bytes).collect();
    let program = ProgramToLoad {
        kind: kind as u32,
        hook: at,
        name: "probe",
        instructions: &instructions,
        license: c"GPL",
        types: types.as_ref().map(AsFd::as_fd),
        functions: if types.is_some() { (&functions, 8) } else { (&[], 0) },
        lines: (&[], 0),
    };
    match sys::load_program(&program, 0, &mut []) {
        Ok(_) => Ok(true),
        // What verifiers say of what they do not know.
        Err(error) if matches!(Errno::from_io_error(&error), Some(Errno::INVAL | Errno::ACCESS | Errno::NOTSUP)) => {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// Types of a program and of a global function that takes a pointer, in the form of BTF
/// (<https://docs.kernel.org/bpf/btf.html>).
fn types() -> Vec<u8> {
    const NAMES: &[u8] = b"\0int\0row\0pointer\0function\0program\0";
    let (int, row, pointer, function, program) = (1_u32, 5_u32, 9_u32, 17_u32, 26_u32);
    // The kind, and a number: of fields, of arguments, or whether a function is global.
    let kind = |kind: u32, number: u32| kind << 24 | number;
    let words: Vec<u32> = [
        // 1: a number of four bytes, 32 bits, with a sign.
        &[int, kind(1, 0), 4, 1 << 24 | 32][..],
        // 2: a struct of one number.
        &[row, kind(4, 1), 4, int, 1, 0],
        // 3: a pointer to it.
        &[0, kind(2, 0), 2],
        // 4 and 5: what takes the pointer, and gives a number.
        &[0, kind(13, 1), 1, pointer, 3],
        &[function, kind(12, 1), 4],
        // 6 and 7: what takes nothing, and gives a number.
        &[0, kind(13, 0), 1],
        &[program, kind(12, 0), 6],
    ]
    .concat();
    let bytes = (words.len() * 4) as u32;
    // The header: a magic number, version 1 and flags, its length, and where types and names are.
    let header = [0x0001_eb9f, 24, 0, bytes, bytes, NAMES.len() as u32];
    let words = header.into_iter().chain(words).flat_map(u32::to_ne_bytes);
    words.chain(NAMES.iter().copied()).collect()
}
