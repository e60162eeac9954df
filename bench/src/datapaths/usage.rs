//! What processes cost: processor time and memory, as the kernel counts them.

use std::path::Path;

use anyhow::{Context, Result};

/// Nanoseconds of processor time of processes until now, with the interrupts that hit them.
pub(super) fn processor(pids: &[u32]) -> Result<u64> {
    let mut sum = 0;
    for pid in pids {
        let threads = format!("/proc/{pid}/task");
        for thread in std::fs::read_dir(&threads).with_context(|| format!("cannot read {threads}"))? {
            let path = thread.with_context(|| format!("cannot read {threads}"))?.path().join("schedstat");
            // A thread may end meanwhile.
            sum += std::fs::read_to_string(path).ok().as_deref().and_then(first).unwrap_or(0);
        }
    }
    Ok(sum)
}

/// Processes of the kernel that do the network's work of some cores when it is too much for interrupts.
pub(super) fn kernel_threads(cores: &[usize]) -> Vec<u32> {
    let names: Vec<String> = cores.iter().map(|core| format!("ksoftirqd/{core}")).collect();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let name = std::fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
        if names.iter().any(|wanted| wanted == name.trim_end()) {
            found.push(pid);
        }
    }
    found
}

/// Bytes of memory that processes have, each shared page divided among those that share it.
pub(super) fn memory(pids: &[u32]) -> Result<u64> {
    let mut sum = 0;
    for pid in pids {
        let path = format!("/proc/{pid}/smaps_rollup");
        let text = std::fs::read_to_string(Path::new(&path)).with_context(|| format!("cannot read {path}"))?;
        sum += proportional(&text).with_context(|| format!("{path} has no Pss"))? * 1024;
    }
    Ok(sum)
}

fn first(text: &str) -> Option<u64> {
    text.split_whitespace().next()?.parse().ok()
}

/// Kilobytes of the line `Pss:`.
fn proportional(text: &str) -> Option<u64> {
    first(text.lines().find_map(|line| line.strip_prefix("Pss:"))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_proportional_share_is_read() {
        assert_eq!(proportional("55-7f [rollup]\nRss:    1756 kB\nPss:     160 kB\nPss_Dirty:  84 kB\n"), Some(160));
        assert_eq!(proportional("Pss_Dirty:  84 kB\n"), None);
    }

    #[test]
    fn work_costs_time_and_memory_is_there() {
        let me = [std::process::id()];
        let before = processor(&me).unwrap();
        let begin = crate::clock::processor();
        while crate::clock::processor() - begin < 20_000_000 {}
        assert!(processor(&me).unwrap() - before >= 10_000_000);
        assert!(memory(&me).unwrap() > 100_000);
    }
}
