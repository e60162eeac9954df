//! The limit of locked memory, in which kernels before 5.11 count maps and programs; later ones count them in the memory cgroup
//! (`bpf_charge_memlock` of 5.10, <https://elixir.bootlin.com/linux/v5.10/source/kernel/bpf/syscall.c>).

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// `RLIMIT_MEMLOCK` in bytes, if there is one and this kernel counts maps and programs in it.
pub(super) fn limit() -> Option<u64> {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    getrlimit(Resource::Memlock).current.filter(|_| counts(&release))
}

/// Lifts the limit where this kernel counts in it. Without the right to (`CAP_SYS_RESOURCE`) it stays, and what is refused by it
/// says so.
pub(super) fn lift() {
    if limit().is_some()
        && let Err(error) = setrlimit(Resource::Memlock, Rlimit { current: None, maximum: None })
    {
        log::debug!("the limit of locked memory stays: {error}");
    }
}

/// Whether a kernel counts the memory of maps and programs in `RLIMIT_MEMLOCK`.
pub(super) fn counts(release: &str) -> bool {
    let mut numbers = release.split('.').map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) < (5, 11),
        _ => false,
    }
}
