//! `cargo xtask setup`: what a fresh Debian machine needs. It installs as root, and otherwise prints what to type.
//!
//! Quick and silent about everything that is there already, so that other commands call it first. [`mod@kernel`] sees
//! to what is no package.

mod kernel;

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};

use crate::cargo::run;
pub(crate) use kernel::kernel;

/// How long to wait before what needs the network is tried again.
const PAUSES: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(5)];

/// A program that is needed, the Debian package that has it, and what it is for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tool {
    /// In PATH, or a file by its path.
    program: &'static str,
    package: &'static str,
    purpose: &'static str,
}

/// What building needs.
pub(crate) const BUILD: [Tool; 1] = [Tool { program: "cc", package: "gcc libc6-dev", purpose: "Rust links by it" }];

const IP: Tool = Tool { program: "ip", package: "iproute2", purpose: "each test has a network namespace of its own" };
const SETPRIV: Tool = Tool { program: "setpriv", package: "util-linux", purpose: "processes of a test end with it" };
const BPFTOOL: Tool =
    Tool { program: "bpftool", package: "bpftool", purpose: "what the kernel holds is looked at by a stranger" };
const QEMU: Tool =
    Tool { program: "qemu-system-x86_64", package: "qemu-system-x86", purpose: "other kernels run in it" };
const BUSYBOX: Tool =
    Tool { program: "busybox", package: "busybox-static", purpose: "it begins and ends the system on other kernels" };
const CPIO: Tool = Tool { program: "cpio", package: "cpio", purpose: "it packs that system" };
const XZ: Tool = Tool { program: "xz", package: "xz-utils", purpose: "kernels have their modules packed" };
const OBJCOPY: Tool = Tool { program: "objcopy", package: "binutils", purpose: "it makes programs small" };

/// What building and testing need.
pub(crate) const ALL: [Tool; 19] = [
    BUILD[0],
    IP,
    SETPRIV,
    Tool { program: "nc", package: "netcat-openbsd", purpose: "the task is tried with its own client" },
    Tool { program: "curl", package: "curl", purpose: "the admin API is tried by a stranger" },
    Tool { program: "python3", package: "python3", purpose: "real programs are carried" },
    BPFTOOL,
    Tool { program: "strace", package: "strace", purpose: "it kills the agent at a step of its start" },
    Tool { program: "hping3", package: "hping3", purpose: "it sends packets that no client sends" },
    Tool { program: "redis-server", package: "redis-server", purpose: "a real server is steered to" },
    Tool { program: "redis-benchmark", package: "redis-tools", purpose: "it loads that server" },
    Tool { program: "postgres", package: "postgresql", purpose: "a real server is steered to" },
    Tool { program: "nginx", package: "nginx", purpose: "a real server is steered to" },
    Tool { program: "wrk", package: "wrk", purpose: "it loads that server" },
    QEMU,
    BUSYBOX,
    CPIO,
    XZ,
    OBJCOPY,
];

/// What measuring datapaths beside their peers needs, and `test` does not.
pub(crate) const BENCH: [Tool; 7] = [
    BUILD[0],
    IP,
    SETPRIV,
    Tool { program: "haproxy", package: "haproxy", purpose: "a peer in the bench" },
    Tool { program: "nginx", package: "nginx", purpose: "a peer in the bench" },
    // Its programs come without it.
    Tool {
        program: "/usr/lib/nginx/modules/ngx_stream_module.so",
        package: "libnginx-mod-stream",
        purpose: "by it that peer carries TCP",
    },
    Tool { program: "nft", package: "nftables", purpose: "a peer in the bench" },
];

/// What measuring datapaths that steer needs.
pub(crate) const STEER: [Tool; 3] = [BENCH[0], BENCH[1], BENCH[2]];

/// What machines with other kernels need.
pub(crate) const KERNELS: [Tool; 9] = [BUILD[0], IP, SETPRIV, BPFTOOL, QEMU, BUSYBOX, CPIO, XZ, OBJCOPY];

/// Sees to it that the tools are there.
pub(crate) fn setup(tools: &[Tool]) -> Result<()> {
    crate::step("what the machine needs");
    let missing: Vec<&Tool> = tools.iter().filter(|tool| !present(tool.program)).collect();
    if missing.is_empty() {
        println!("everything is there: {}", tools.iter().map(|tool| tool.program).collect::<Vec<_>>().join(", "));
        return Ok(());
    }
    for Tool { program, package, purpose } in &missing {
        println!("missing: {program} (Debian package {package}): {purpose}");
    }
    install(&missing.iter().flat_map(|tool| tool.package.split(' ')).collect::<Vec<_>>(), "")?;
    let still: Vec<&str> = missing.iter().map(|tool| tool.program).filter(|program| !present(program)).collect();
    ensure!(still.is_empty(), "installed, and still not in PATH: {}", still.join(", "));
    Ok(())
}

/// Installs Debian packages, or says how to.
fn install(packages: &[&str], options: &str) -> Result<()> {
    let install = format!("apt-get install -y --no-install-recommends {options}{}", packages.join(" "));
    if !present("apt-get") {
        bail!("there is no apt-get here; install by your own means: {}", packages.join(" "));
    }
    let typed = format!("type:\n    sudo apt-get update && sudo {install}");
    ensure!(root()?, "only root may install; {typed}");
    let done = tried(&PAUSES, || {
        run(Command::new("apt-get").args(["update", "-q"]), "apt-get update")?;
        let mut command = Command::new("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive").args(install.split(' ').skip(1));
        let _quiet = NoServices::begin()?;
        run(&mut command, &install)
    });
    done.map_err(|error| anyhow!("{error:#}; when the network is there, {typed}"))
}

/// Does what needs the network, and again after each of the pauses if it fails.
fn tried(pauses: &[Duration], step: impl Fn() -> Result<()>) -> Result<()> {
    for pause in pauses {
        let Err(error) = step() else { return Ok(()) };
        println!("{error:#}; again in {} s", pause.as_secs());
        std::thread::sleep(*pause);
    }
    step()
}

/// While it lives, packages that are installed start no services: Debian asks this file first.
struct NoServices(Option<&'static Path>);

impl NoServices {
    fn begin() -> Result<Self> {
        let policy = Path::new("/usr/sbin/policy-rc.d");
        if policy.exists() {
            // Somebody's own policy stands.
            return Ok(Self(None));
        }
        let text = "#!/bin/sh\n# Of cargo xtask setup, and gone when it is done: start nothing.\nexit 101\n";
        std::fs::write(policy, text).with_context(|| format!("cannot write {}", policy.display()))?;
        let made = Self(Some(policy));
        std::fs::set_permissions(policy, std::fs::Permissions::from_mode(0o755))
            .with_context(|| format!("cannot make {} a program", policy.display()))?;
        Ok(made)
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if let Some(policy) = self.0
            && let Err(error) = std::fs::remove_file(policy)
        {
            println!("{} stays, and keeps services from starting; remove it: {error}", policy.display());
        }
    }
}

/// Where a program is: in the folders of PATH, in those of the administrator, or in those of `PostgreSQL`, which Debian keeps
/// out of PATH, one for each version.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let postgresql = versions.map(|version| version.path().join("bin"));
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]).chain(postgresql);
    folders.map(|folder| folder.join(OsStr::new(program))).find(|file| file.is_file())
}

fn present(program: &str) -> bool {
    find(program).is_some()
}

/// Whether this process acts as root.
pub(crate) fn root() -> Result<bool> {
    let status = std::fs::read_to_string("/proc/self/status").context("cannot read /proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:")).context("/proc/self/status has no Uid")?;
    Ok(line.split_whitespace().nth(1) == Some("0"))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn a_failure_is_tried_again_as_often_as_there_are_pauses() {
        let times = Cell::new(0);
        let step = |good: u32| {
            times.set(times.get() + 1);
            ensure!(times.get() >= good, "failed {} times", times.get());
            Ok(())
        };
        tried(&[Duration::ZERO; 2], || step(3)).unwrap();
        assert_eq!(times.replace(0), 3);
        let error = tried(&[Duration::ZERO; 2], || step(4)).unwrap_err();
        assert_eq!(error.to_string(), "failed 3 times");
    }

    #[test]
    fn programs_are_found_in_path_or_by_their_own() {
        assert!(present("sh") && present("/bin/sh"));
        assert!(!present("no-such-program") && !present("/no/such/program"));
    }
}
