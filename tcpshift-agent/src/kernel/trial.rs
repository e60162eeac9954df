//! Programs of an object that are loaded to hear what the verifier says, and are never attached.
//!
//! aya asks for the verifier's log only after a failure, and an agent that works needs none. Here the log is asked for
//! at once, so that one call gives the verdict, the number of instructions on every kernel (program info has it from
//! Linux 5.16 on), and the whole log where that is wanted.

use std::collections::HashSet;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use anyhow::{Context, Result, bail};
use aya::Ebpf;
use aya_obj::generated::{bpf_attach_type, bpf_prog_type};
use aya_obj::{Object, ProgramSection};

use super::load;
use super::sys;
use super::verifier::{ProgramRefusal, processed};

/// Bytes of a log of errors and statistics; the kernel writes some hundred.
const BRIEF: usize = 64 << 10;

/// Bytes of a whole log. A verifier that has more to say leaves out the end (before Linux 6.4) or the beginning.
pub const WHOLE: usize = 4 << 20;

/// What the verifier is to say: `BPF_LOG_STATS`, and `BPF_LOG_LEVEL1`, by which it writes instructions, and takes those out
/// again on whose way nothing was wrong (`do_check_common`, 5.10 to 6.18,
/// <https://elixir.bootlin.com/linux/v6.18/source/kernel/bpf/verifier.c>).
const STATISTICS: u32 = 4;
const INSTRUCTIONS: u32 = 1 | STATISTICS;

/// The programs of an object, ready to be loaded.
pub(super) struct Trial {
    object: Object,
    types: Option<OwnedFd>,
    /// Instructions name maps by these.
    _maps: Vec<OwnedFd>,
}

/// What the verifier said of a program.
pub(super) struct Tried {
    /// Whether the kernel took it.
    pub(super) taken: Result<(), ProgramRefusal>,
    /// Instructions that the verifier followed, if it says so.
    pub(super) verified: Option<u32>,
}

impl Trial {
    /// The programs of the object of which `ebpf` has the maps.
    pub(super) fn new(object: &[u8], ebpf: &Ebpf) -> Result<Self> {
        let mut object = Object::parse(object).context("it is no object of programs")?;
        if let Some(features) = aya::features().btf() {
            object.fixup_and_sanitize_btf(features).context("its types cannot be read")?;
        }
        if object.has_btf_relocations() {
            bail!("its programs ask for types of the kernel, which is not supported");
        }
        let maps: Vec<_> = object.maps.drain().collect();
        let mut types = None;
        let mut found = Vec::new();
        for (name, map) in &maps {
            let fd = load::map(ebpf, name)?;
            if types.is_none() {
                types = sys::map_info(fd.as_fd()).ok().filter(|info| info.btf != 0).map(|info| info.btf);
            }
            found.push((name.as_str(), fd, map));
        }
        let text: HashSet<usize> = object.functions.keys().map(|(section, _)| *section).collect();
        let by_name = found.iter().map(|(name, fd, map)| (*name, fd.as_raw_fd(), *map));
        object.relocate_maps(by_name, &text).context("its programs name maps that it has not")?;
        object.relocate_calls(&text).context("its programs call functions that it has not")?;
        object.sanitize_functions(aya::features());
        let types = types.map(sys::types).transpose().context("the types of the maps cannot be opened")?;
        let kept = found.into_iter().map(|(_, fd, _)| fd).collect();
        Ok(Self { object, types, _maps: kept })
    }

    /// All programs, by name and type, sorted by name. A type has the name that `bpftool` has for it; None if this agent never
    /// loads such a program.
    pub(super) fn programs(&self) -> Vec<(String, Option<&'static str>)> {
        let named =
            |(name, program): (&String, &aya_obj::Program)| (name.clone(), kind(&program.section).map(|kind| kind.0));
        let mut programs: Vec<_> = self.object.programs.iter().map(named).collect();
        programs.sort();
        programs
    }

    /// Has the verifier follow a program. The kernel forgets it at once.
    pub(super) fn load(&self, name: &str) -> Result<Tried> {
        let (taken, log) = self.call(name, STATISTICS, BRIEF)?;
        Ok(Tried { taken: taken.map_err(|error| ProgramRefusal::new(name, &error, &log)), verified: processed(&log) })
    }

    /// What the verifier writes of a program, [`WHOLE`] bytes at most: of one that it refuses, each instruction on the way to
    /// where it does.
    pub(super) fn log(&self, name: &str) -> Result<String> {
        // What does not fit is an error of its own, even of a program that can be loaded.
        self.call(name, INSTRUCTIONS, WHOLE).map(|(_, log)| log)
    }

    fn call(&self, name: &str, level: u32, room: usize) -> Result<(io::Result<()>, String)> {
        let program = self.object.programs.get(name).with_context(|| format!("there is no program `{name}`"))?;
        let function = self.object.functions.get(&program.function_key());
        let function = function.with_context(|| format!("the program `{name}` has no instructions"))?;
        let (_, kind, hook) = kind(&program.section).context("it is of a type that this agent never loads")?;
        let (functions, lines) = (function.func_info.func_info_bytes(), function.line_info.line_info_bytes());
        let mut log = vec![0; room];
        let taken = sys::load_program(
            &sys::ProgramToLoad {
                kind: kind as u32,
                hook: hook.map_or(0, |hook| hook as u32),
                name,
                instructions: &function.instructions,
                license: &program.license,
                types: self.types.as_ref().map(AsFd::as_fd),
                functions: (&functions, function.func_info_rec_size),
                lines: (&lines, function.line_info_rec_size),
            },
            level,
            &mut log,
        );
        let end = log.iter().position(|byte| *byte == 0).unwrap_or(log.len());
        Ok((taken.map(drop), String::from_utf8_lossy(&log[..end]).into_owned()))
    }
}

/// The type of a program: its name, its number, and the hook that it is verified for.
fn kind(section: &ProgramSection) -> Option<(&'static str, bpf_prog_type, Option<bpf_attach_type>)> {
    use bpf_attach_type::{BPF_CGROUP_SOCK_OPS, BPF_SK_LOOKUP};
    use bpf_prog_type::{
        BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_PROG_TYPE_SCHED_CLS, BPF_PROG_TYPE_SK_LOOKUP, BPF_PROG_TYPE_SK_REUSEPORT,
        BPF_PROG_TYPE_SOCK_OPS,
    };
    Some(match section {
        ProgramSection::SockOps => ("sock_ops", BPF_PROG_TYPE_SOCK_OPS, Some(BPF_CGROUP_SOCK_OPS)),
        ProgramSection::SchedClassifier => ("sched_cls", BPF_PROG_TYPE_SCHED_CLS, None),
        ProgramSection::SkLookup => ("sk_lookup", BPF_PROG_TYPE_SK_LOOKUP, Some(BPF_SK_LOOKUP)),
        ProgramSection::SkReuseport { attach_type } => {
            ("sk_reuseport", BPF_PROG_TYPE_SK_REUSEPORT, Some((*attach_type).into()))
        }
        ProgramSection::CgroupSockAddr { attach_type } => {
            ("cgroup_sock_addr", BPF_PROG_TYPE_CGROUP_SOCK_ADDR, Some((*attach_type).into()))
        }
        _ => return None,
    })
}
