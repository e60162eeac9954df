//! What the machine has of what programs need. Nothing is tried here but what the kernel can, which needs the rights of
//! loading programs.

use std::path::Path;

use super::super::cgroup::Cgroup;
use super::super::features::Features;
use super::super::pins::{self, PinnedFolder};
use super::super::{capabilities, load};
use super::{FindingState, MachineFinding};

/// All that is looked at, in the order of what needs what.
pub(super) fn findings() -> Vec<MachineFinding> {
    let mut all = vec![kernel(), object(), capability()];
    all.extend(features());
    all.extend([cgroup(), bpffs(), btf(), pinned()]);
    all
}

fn ok(what: &'static str, found: impl Into<String>) -> MachineFinding {
    MachineFinding { what, state: FindingState::Ok, found: found.into(), cure: String::new() }
}

fn note(what: &'static str, found: impl Into<String>, cure: impl Into<String>) -> MachineFinding {
    MachineFinding { what, state: FindingState::Note, found: found.into(), cure: cure.into() }
}

fn missing(what: &'static str, found: impl Into<String>, cure: impl Into<String>) -> MachineFinding {
    MachineFinding { what, state: FindingState::Missing, found: found.into(), cure: cure.into() }
}

fn kernel() -> MachineFinding {
    match std::fs::read_to_string("/proc/sys/kernel/osrelease") {
        Ok(release) => series(release.trim()),
        Err(error) => note("kernel", format!("cannot read /proc/sys/kernel/osrelease: {error}"), ""),
    }
}

/// What is known of a kernel by its number: from 6.6.128, 6.12.75, 6.18.14 and 6.19 on, FIONREAD of a socket in a sockmap
/// may be 0 though data waits, and wake-ups may be lost. Repairs do not show in the number, so this forbids nothing.
fn series(release: &str) -> MachineFinding {
    let mut numbers = release.split(|letter: char| !letter.is_ascii_digit()).map(|number| number.parse().unwrap_or(0));
    let mut next = || numbers.next().unwrap_or(0_u32);
    let suspect = match (next(), next(), next()) {
        (6, 6, patch) => patch >= 128,
        (6, 12, patch) => patch >= 75,
        (6, 18, patch) => patch >= 14,
        version => version >= (6, 19, 0),
    };
    if suspect {
        let found = format!(
            "{release}: of a series bad for connected sockets in a sockmap until repaired; `lookup` keeps listening ones alone"
        );
        note("kernel", found, "")
    } else {
        ok("kernel", release)
    }
}

fn object() -> MachineFinding {
    if load::built_in().is_some() {
        ok("object", "built in")
    } else {
        missing("object", "built without the kernel's programs", "build again after `cargo xtask build-ebpf`")
    }
}

fn capability() -> MachineFinding {
    let what = "capabilities";
    match capabilities::missing() {
        Ok(lacking) if lacking.is_empty() => ok(what, capabilities::needed().join(", ")),
        Ok(lacking) => {
            let cure = "run it as root, or by a unit that gives them";
            missing(what, format!("this process lacks {}", lacking.join(", ")), cure)
        }
        Err(error) => missing(what, format!("{error:#}"), ""),
    }
}

/// What this kernel lacks, one by one; all is there if nothing is.
fn features() -> Vec<MachineFinding> {
    let what = "features";
    if !capabilities::missing().is_ok_and(|lacking| lacking.is_empty()) {
        return Vec::new();
    }
    match Features::probe() {
        Ok(features) => {
            let lacking: Vec<_> = features.missing().map(|feature| note(what, feature.to_string(), "")).collect();
            if lacking.is_empty() { vec![ok(what, "all that programs use")] } else { lacking }
        }
        Err(error) => vec![note(what, format!("{error:#}"), "")],
    }
}

fn cgroup() -> MachineFinding {
    match Cgroup::own() {
        Ok(cgroup) => ok("cgroup2", cgroup.path.display().to_string()),
        Err(error) => missing("cgroup2", format!("{error:#}"), ""),
    }
}

fn bpffs() -> MachineFinding {
    let path = pins::BPFFS;
    match pins::is_bpffs() {
        Ok(true) => ok("bpffs", format!("mounted at {path}")),
        Ok(false) if Path::new(path).is_dir() => {
            note("bpffs", "not mounted", format!("the agent mounts it at {path} when it starts"))
        }
        Ok(false) => missing("bpffs", format!("there is no {path}"), "mount sysfs at /sys"),
        Err(error) => missing("bpffs", format!("{error:#}"), ""),
    }
}

fn btf() -> MachineFinding {
    let path = "/sys/kernel/btf/vmlinux";
    if Path::new(path).exists() {
        ok("kernel BTF", path)
    } else {
        note("kernel BTF", format!("no {path}; the programs of this version are loaded without"), "")
    }
}

fn pinned() -> MachineFinding {
    let what = "pinned";
    let found = match pins::found() {
        Ok(found) => found,
        Err(error) => return note(what, format!("{error:#}"), "look as root"),
    };
    let said: Vec<_> = found.iter().map(said).collect();
    let said = said.join("; ");
    if found.is_empty() {
        ok(what, format!("nothing under {}", pins::FOLDER))
    } else if found.iter().any(PinnedFolder::is_foreign) {
        missing(
            what,
            format!("of another layout: {said}"),
            "end its agent; `tcpshift-agent unload` removes what is left",
        )
    } else if found.iter().all(|found| found.holder.is_none()) {
        note(what, said, "the next agent takes it over, or `tcpshift-agent unload` removes it")
    } else {
        ok(what, said)
    }
}

fn said(PinnedFolder { folder, links, pins, holder }: &PinnedFolder) -> String {
    let holder = match holder {
        Some(pid) => {
            let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            format!("held by process {pid} ({})", name.trim())
        }
        None => "held by no process".to_owned(),
    };
    let s = if *links == 1 { "" } else { "s" };
    format!("{}: {links} link{s}, {pins} other names, {holder}", folder.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suspect_series_are_known_by_their_number() {
        let suspect = |release| series(release).state == FindingState::Note;
        for release in ["6.6.128", "6.12.75-1-amd64", "6.18.14", "6.19.0-rc1", "7.0.3"] {
            assert!(suspect(release), "{release}");
        }
        for release in ["5.10.0-28-amd64", "6.1.170", "6.6.127", "6.12.74+deb13", "6.17.9", "6.18.2", "odd"] {
            assert!(!suspect(release), "{release}");
        }
    }

    #[test]
    fn who_holds_what_is_pinned_is_said() {
        let found = PinnedFolder { folder: "/a/1".into(), links: 1, pins: 9, holder: None };
        assert_eq!(said(&found), "/a/1: 1 link, 9 other names, held by no process");
        let own = PinnedFolder { holder: Some(std::process::id()), links: 2, ..found };
        assert!(
            said(&own).starts_with(&format!("/a/1: 2 links, 9 other names, held by process {} (", std::process::id()))
        );
    }
}
