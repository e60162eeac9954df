//! Why the kernel refuses a program: what bpf(2) returned and what the verifier said, as a value and in words.
//!
//! The reason is told from the verifier's log; the version of the kernel is looked at only where the error alone has two causes
//! (`EPERM`). All of it is bounded, whatever the kernel writes.

use std::fmt;
use std::io;

use rustix::io::Errno;

/// Last lines of the verifier that are kept, and how long each may be, in characters.
const LINES: usize = 6;
const LENGTH: usize = 200;

/// A program that the kernel refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramRefusal {
    /// Name of the program.
    pub program: String,
    /// Name of the error of bpf(2), such as `EINVAL`.
    pub errno: String,
    /// Instructions that the verifier had followed, if it says so.
    pub processed: Option<u32>,
    /// What the verifier said last, without its statistics: six lines at most of 200 characters at most.
    pub said: Vec<String>,
    /// Why, as far as it is known.
    pub reason: RefusalReason,
}

/// Why the kernel refuses a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RefusalReason {
    /// The verifier gave up before it had followed all of it.
    TooComplex,
    /// The kernel lacks what the program uses, and the first Linux that has it, where that is known.
    Lacks(String, Option<&'static str>),
    /// This process may not load it.
    Right,
    /// This process may not load it, or its `RLIMIT_MEMLOCK`, in bytes, is reached: Linux before 5.11 counts maps and
    /// programs in that limit, and the error is the same.
    LockedMemory(u64),
    /// Anything else.
    Other,
}

impl ProgramRefusal {
    /// What became of loading a program: `error` is of bpf(2), `log` what the verifier wrote.
    pub(super) fn new(program: &str, error: &io::Error, log: &str) -> Self {
        let lines = || log.lines().map(str::trim).filter(|line| !line.is_empty());
        let said: Vec<_> = lines().filter(|line| !is_statistics(line)).map(|line| cut(line, LENGTH)).collect();
        let said = said[said.len().saturating_sub(LINES)..].to_vec();
        Self {
            program: cut(program, 64),
            errno: name(error),
            processed: processed(log),
            reason: reason(error, &said, super::locked_memory::limit()),
            said,
        }
    }

    /// The same of aya's error; None if it was not the kernel that refused.
    pub(super) fn of(program: &str, error: &aya::programs::ProgramError) -> Option<Self> {
        match error {
            aya::programs::ProgramError::LoadError { io_error, verifier_log } => {
                Some(Self::new(program, io_error, &verifier_log.to_string()))
            }
            _ => None,
        }
    }

    /// What can be done; empty if nothing is known.
    pub fn cure(&self) -> String {
        match &self.reason {
            RefusalReason::TooComplex => {
                "a newer kernel, whose verifier follows less; please report what `doctor --log DIR` writes".to_owned()
            }
            RefusalReason::Lacks(_, Some(since)) => format!("run Linux {since} or later; else the agent decides"),
            RefusalReason::Lacks(_, None) => "run a newer kernel; else the agent decides".to_owned(),
            RefusalReason::Right => {
                "run it as root, or by a unit that gives CAP_BPF, CAP_NET_ADMIN and CAP_SYS_ADMIN; if it is root, a \
                 security module or the kernel's lockdown forbids it"
                    .to_owned()
            }
            RefusalReason::LockedMemory(_) => {
                "LimitMEMLOCK=infinity in the unit, or `ulimit -l unlimited` as root".to_owned()
            }
            RefusalReason::Other => "please report what `doctor --log DIR` writes".to_owned(),
        }
    }
}

impl fmt::Display for RefusalReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooComplex => f.write_str("it is too complex for this kernel's verifier"),
            Self::Lacks(what, Some(since)) => write!(f, "this kernel lacks {what}; Linux has that from {since} on"),
            Self::Lacks(what, None) => write!(f, "this kernel lacks {what}"),
            Self::Right => f.write_str("this process may not load it"),
            Self::LockedMemory(bytes) => write!(
                f,
                "this process may not load it, or its locked memory ({} KiB, RLIMIT_MEMLOCK) is used up, which counts \
                 before Linux 5.11",
                bytes / 1024
            ),
            Self::Other => f.write_str("the reason is not known here"),
        }
    }
}

impl fmt::Display for ProgramRefusal {
    /// One line of bounded length.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { program, errno, processed, said, reason } = self;
        write!(f, "the kernel refuses the program `{program}`: {reason} ({errno}")?;
        if let Some(processed) = processed {
            write!(f, " after {processed} instructions")?;
        }
        match said.last() {
            Some(last) => write!(f, ": {last})"),
            None => f.write_str(")"),
        }
    }
}

impl std::error::Error for ProgramRefusal {}

/// A text on a line of so many characters at most, cut at its end if it is longer.
pub(super) fn cut(text: &str, most: usize) -> String {
    let clean = crate::trust::text::clean_line(text);
    if clean.chars().count() <= most {
        return clean;
    }
    clean.chars().take(most - 3).chain("...".chars()).collect()
}

/// Instructions that were followed, of the statistics of a log (`print_verification_stats`, 5.2 to 6.18,
/// <https://elixir.bootlin.com/linux/v6.18/source/kernel/bpf/verifier.c>).
pub(super) fn processed(log: &str) -> Option<u32> {
    log.lines().rev().find_map(|line| line.strip_prefix("processed ")?.split(' ').next()?.parse().ok())
}

fn is_statistics(line: &str) -> bool {
    let begins = |words: &[&str]| words.iter().any(|word| line.starts_with(word));
    begins(&["processed ", "verification time ", "stack depth ", "mark_precise: "])
}

/// The error's name in C, which is what manuals and bug reports have.
fn name(error: &io::Error) -> String {
    let Some(number) = error.raw_os_error() else { return error.to_string() };
    let named = [
        (Errno::PERM, "EPERM"),
        (Errno::TOOBIG, "E2BIG"),
        (Errno::AGAIN, "EAGAIN"),
        (Errno::NOMEM, "ENOMEM"),
        (Errno::ACCESS, "EACCES"),
        (Errno::FAULT, "EFAULT"),
        (Errno::INVAL, "EINVAL"),
        (Errno::MFILE, "EMFILE"),
        (Errno::NOSPC, "ENOSPC"),
        (Errno::OPNOTSUPP, "EOPNOTSUPP"),
        (Errno::NOSYS, "ENOSYS"),
        (Errno::NOENT, "ENOENT"),
    ];
    let found = named.into_iter().find(|(errno, _)| errno.raw_os_error() == number);
    // Of the kernel alone (`include/linux/errno.h`).
    let own = (number == 524).then_some("ENOTSUPP");
    found.map(|(_, name)| name).or(own).map_or_else(|| format!("error {number}"), str::to_owned)
}

/// What a verifier says that gives up: the ends of `bpf_check`, `do_check` and `push_stack`, 5.10 to 6.18,
/// <https://elixir.bootlin.com/linux/v6.18/source/kernel/bpf/verifier.c>.
const TOO_COMPLEX: [&str; 2] = ["program is too large", "is too complex"];

/// What a verifier says of what it does not know, what that is, and which Linux has it.
const LACKS: [(&str, &str, Option<&str>); 6] = [
    // `check_atomic`; before, `resolve_pseudo_ldimm64` refuses it even where it is never reached (5ca419f2864a).
    ("BPF_STX uses reserved fields", "atomic additions that return a value", Some("5.12")),
    ("uses reserved fields", "an instruction that is used", None),
    ("unknown opcode", "an instruction that is used", None),
    ("unknown insn", "an instruction that is used", None),
    // `btf_prepare_func_args` (e5069b9c23b3).
    ("is not supported yet", "pointers as arguments of global functions", Some("5.12")),
    ("doesn't point to known type", "pointers as arguments of global functions", Some("5.12")),
];

/// Helpers that programs of ours call and that came late, by number (`include/uapi/linux/bpf.h`), with the Linux that lets
/// programs of these types call them (`sock_ops_func_proto`, `cg_sock_addr_func_proto`).
const HELPERS: [(u32, &str, &str); 4] = [
    (122, "bpf_get_netns_cookie", "5.15"),
    (181, "bpf_loop", "5.17"),
    (187, "bpf_set_retval", "5.18"),
    (196, "bpf_skc_to_mptcp_sock", "5.19"),
];

fn reason(error: &io::Error, said: &[String], locked_memory: Option<u64>) -> RefusalReason {
    let errno = Errno::from_io_error(error);
    let says = |words: &str| said.iter().any(|line| line.contains(words));
    if TOO_COMPLEX.iter().any(|words| says(words)) || (errno == Some(Errno::TOOBIG) && said.is_empty()) {
        return RefusalReason::TooComplex;
    }
    if let Some(lack) = said.iter().rev().find_map(|line| helper(line)) {
        return lack;
    }
    if let Some((_, what, since)) = LACKS.iter().find(|(words, ..)| says(words)) {
        return RefusalReason::Lacks((*what).to_owned(), *since);
    }
    match (errno, locked_memory) {
        (Some(Errno::PERM), Some(bytes)) => RefusalReason::LockedMemory(bytes),
        (Some(Errno::PERM), None) => RefusalReason::Right,
        _ => RefusalReason::Other,
    }
}

/// The helper that a line says is unknown, or not for programs of this type (`check_helper_call`, `invalid func` and `unknown
/// func` until 6.7, `program of this type cannot use helper` after).
fn helper(line: &str) -> Option<RefusalReason> {
    let says = ["invalid func ", "unknown func ", "cannot use helper "].iter().any(|words| line.contains(words));
    if !says {
        return None;
    }
    let number = line.rsplit_once('#')?.1;
    let number: u32 = number.split(|letter: char| !letter.is_ascii_digit()).next()?.parse().ok()?;
    let known = HELPERS.into_iter().find(|(helper, ..)| *helper == number);
    Some(match known {
        Some((_, name, since)) => RefusalReason::Lacks(format!("the helper {name} for such a program"), Some(since)),
        None => RefusalReason::Lacks(format!("the helper with the number {number} for such a program"), None),
    })
}

#[cfg(test)]
mod tests;
