//! Debian's archive: which kernels it has, and their packages, unpacked and not installed.
//!
//! apt does the work, with a configuration, lists and a cache of its own, so that nothing of the machine's changes; what it
//! downloads is signed by Debian's keys. The archive's address is the one that the machine's own apt has.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};

use super::system::{create, remove};
use super::version::Version;
use crate::cargo::said;

/// Suites that kernels are taken from, oldest first; each has others, and security suites are at an address of their own.
const SUITES: [&str; 6] = ["bullseye", "bookworm", "bookworm-backports", "trixie", "trixie-backports", "sid"];
const SECURITY: [&str; 3] = ["bullseye-security", "bookworm-security", "trixie-security"];

/// Debian's keys, which sign all of its suites.
const KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// The packages of kernels for virtual machines: small, and quick to boot.
const FLAVOUR: &str = "-cloud-amd64";

/// How long lists of packages are not asked for anew.
const FRESH: Duration = Duration::from_hours(12);

/// What is as old as they are.
const FRESH_FILE: &str = "fresh";

/// The archive, as far as it is known here.
#[derive(Debug)]
pub(crate) struct Archive {
    folder: PathBuf,
}

/// A kernel that the archive has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ArchivedKernel {
    pub(crate) version: Version,
    /// Packages that have its files, each as `NAME=VERSION`.
    pub(crate) packages: Vec<String>,
}

impl Archive {
    /// The archive, with its lists in a folder; they are asked for if they are old. Without the network, those that are there
    /// are used, and that is said.
    pub(crate) fn open(folder: PathBuf) -> Result<Self> {
        let archive = Self { folder };
        for part in ["state/lists/partial", "cache/archives/partial"] {
            create(&archive.folder.join(part))?;
        }
        ensure!(Path::new(KEYS).exists(), "there is no {KEYS}; install the package debian-archive-keyring");
        archive.write("status", "")?;
        let sources = sources(&addresses()?);
        let is_new = fs::read_to_string(archive.folder.join("sources.list")).is_ok_and(|there| there == sources);
        if is_new && archive.is_fresh() {
            return Ok(archive);
        }
        archive.write("sources.list", &sources)?;
        println!("lists of Debian's packages, some 40 MB");
        let status = archive.apt("apt-get").args(["-q", "update"]).status().context("cannot run apt-get")?;
        if status.success() {
            archive.write(FRESH_FILE, "")?;
        } else {
            println!("apt-get update ended with {status}: what is here of lists and kernels is used");
        }
        Ok(archive)
    }

    fn is_fresh(&self) -> bool {
        let written = fs::metadata(self.folder.join(FRESH_FILE)).and_then(|it| it.modified());
        written.is_ok_and(|at| SystemTime::now().duration_since(at).is_ok_and(|age| age < FRESH))
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.folder.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    /// A program of apt that knows this archive and no other.
    fn apt(&self, program: &str) -> Command {
        let at = |name: &str| self.folder.join(name).display().to_string();
        let mut command = Command::new(program);
        for (option, value) in [
            ("Dir::Etc::sourcelist", at("sources.list")),
            ("Dir::Etc::sourceparts", "-".to_owned()),
            ("Dir::State", at("state")),
            ("Dir::State::status", at("status")),
            ("Dir::Cache", at("cache")),
            ("APT::Architecture", "amd64".to_owned()),
            // The folder is of who runs this, and apt's own user may not be let in.
            ("APT::Sandbox::User", "root".to_owned()),
            ("Acquire::Languages", "none".to_owned()),
            // Icons and descriptions, which machines with a desktop ask for.
            ("Acquire::IndexTargets::deb::DEP-11::DefaultEnabled", "false".to_owned()),
            ("Acquire::Retries", "3".to_owned()),
            // Else `update` ends with 0 without the network.
            ("APT::Update::Error-Mode", "any".to_owned()),
        ] {
            command.arg("-o").arg(format!("{option}={value}"));
        }
        command
    }

    /// All kernels that it has, by version; of a version that several suites have, the package that is named last.
    pub(crate) fn kernels(&self) -> Result<BTreeMap<Version, ArchivedKernel>> {
        let names = said(self.apt("apt-cache").args(["pkgnames", "linux-image-"]))?;
        let mut names: Vec<&str> = names.lines().filter(|name| name.ends_with(FLAVOUR)).collect();
        names.sort_unstable();
        ensure!(!names.is_empty(), "the lists of packages name no kernel; is the archive reached?");
        let shown = said(self.apt("apt-cache").arg("show").args(names))?;
        let kernels: Vec<ArchivedKernel> = shown.split("\n\n").filter_map(kernel).collect();
        Ok(kernels.into_iter().map(|kernel| (kernel.version, kernel)).collect())
    }

    /// Downloads a kernel's packages, and unpacks them into a folder.
    pub(crate) fn unpack(&self, kernel: &ArchivedKernel, to: &Path) -> Result<()> {
        let packages = self.folder.join("packages");
        // A run that was interrupted may have left another kernel's, or half of one.
        remove(&packages)?;
        create(&packages)?;
        create(to)?;
        for package in &kernel.packages {
            println!("download: {package}");
            let downloaded = said(self.apt("apt-get").args(["-q", "download", package]).current_dir(&packages));
            if downloaded.is_err() {
                // The lists may name what the archive has no more: the next run asks for them anew.
                remove_file(&self.folder.join(FRESH_FILE))?;
            }
            downloaded?;
        }
        let files = fs::read_dir(&packages).with_context(|| format!("cannot read {}", packages.display()))?;
        for file in files {
            let path = file?.path();
            said(Command::new("dpkg-deb").arg("--extract").arg(&path).arg(to))?;
            remove_file(&path)?;
        }
        Ok(())
    }
}

/// Removes a file, if it is there.
fn remove_file(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// Where the machine's own apt has Debian's archive, and that of security updates.
fn addresses() -> Result<[String; 2]> {
    let targets = |which: &str| {
        let words = ["indextargets", which, "--format", "$(REPO_URI) $(RELEASE)", "Created-By: Packages"];
        said(Command::new("apt-get").args(words))
    };
    // Who makes an archive is known from its lists alone, and others than Debian have suites of the same names. Most containers
    // have no lists.
    let known = targets("Origin: Debian")?;
    let targets = if known.is_empty() { targets("--no-release-info")? } else { known };
    let found = of_debian(&targets);
    found.context(
        "the machine's apt has no archive of Debian; its sources must name one, with the suite of this release",
    )
}

/// Of lines `ADDRESS SUITE`. Where no security suite is named, it is beside the archive, as on every mirror of both.
fn of_debian(targets: &str) -> Option<[String; 2]> {
    let targets = || targets.lines().filter_map(|line| line.split_once(' '));
    let is_of_debian = |suite: &str| {
        let release = suite.split('-').next().unwrap_or_default();
        SUITES.contains(&release) || matches!(release, "stable" | "oldstable" | "testing" | "forky" | "unstable")
    };
    let is_security = |suite: &str| suite.ends_with("-security");
    let main = targets().find(|(_, suite)| is_of_debian(suite) && !is_security(suite))?.0.trim_end_matches('/');
    let security = targets().find(|(_, suite)| is_of_debian(suite) && is_security(suite)).map(|(address, _)| address);
    let security =
        security.map_or_else(|| format!("{main}-security"), |address| address.trim_end_matches('/').to_owned());
    Some([main.to_owned(), security])
}

fn sources([main, security]: &[String; 2]) -> String {
    let line = |address: &str, suite: &str| format!("deb [arch=amd64 signed-by={KEYS}] {address} {suite} main\n");
    let suites = SUITES.iter().map(|suite| line(main, suite));
    suites.chain(SECURITY.iter().map(|suite| line(security, suite))).collect()
}

/// Reads what `apt-cache show` says of one package. Others that it depends on in its own version have the files where it is
/// empty, as since 7.2.
fn kernel(shown: &str) -> Option<ArchivedKernel> {
    let field = |name: &str| {
        let mut lines = shown.lines();
        lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    };
    let (name, number) = (field("Package")?, field("Version")?);
    // Names of series, as linux-image-6.12-cloud-amd64, depend on a kernel and are none.
    let named = name.strip_prefix("linux-image-")?.strip_suffix(FLAVOUR)?;
    named.parse::<Version>().ok()?;
    let version = number.parse().ok()?;
    let with_files = |depends: &&str| depends.starts_with("linux-binary-") || depends.starts_with("linux-modules-");
    let depends = field("Depends").unwrap_or_default().split(", ").filter(with_files);
    let depends: Vec<String> = depends.filter_map(|one| Some(format!("{}={number}", one.split(' ').next()?))).collect();
    let packages = if depends.is_empty() { vec![format!("{name}={number}")] } else { depends };
    Some(ArchivedKernel { version, packages })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_the_machines_own() {
        let targets = "https://packages.example/tools tools\nhttp://mirror.example/debian/ bookworm\n\
                       http://mirror.example/debian/ bookworm-updates\nhttp://safe.example/ds/ bookworm-security\n";
        let both = ["http://mirror.example/debian", "http://safe.example/ds"].map(str::to_owned);
        assert_eq!(of_debian(targets), Some(both));
        let beside = ["http://mirror.example/debian", "http://mirror.example/debian-security"].map(str::to_owned);
        assert_eq!(of_debian("http://mirror.example/debian/ trixie"), Some(beside));
        assert_eq!(
            of_debian("http://archive.example/ubuntu noble\nhttp://security.example/ubuntu noble-security"),
            None
        );
    }

    #[test]
    fn a_package_that_is_split_is_its_parts() {
        let whole =
            "Package: linux-image-6.12.43+deb12-cloud-amd64\nVersion: 6.12.43-1~bpo12+1\nDepends: kmod, x | y\n";
        let found = kernel(whole).unwrap();
        assert_eq!(found.packages, ["linux-image-6.12.43+deb12-cloud-amd64=6.12.43-1~bpo12+1"]);
        // The name has the number of the interface of modules, and the version is another.
        let old = "Package: linux-image-5.10.0-46-cloud-amd64\nVersion: 5.10.262-1\n";
        assert_eq!(kernel(old).unwrap().version, Version::new(5, 10, 262));
        let split = "Package: linux-image-7.3.4+deb13-cloud-amd64\nVersion: 7.3.4-1\n\
                     Depends: dracut | z, linux-base-7.3.4+deb13-cloud-amd64 (= 7.3.4-1), \
                     linux-binary-7.3.4+deb13-cloud-amd64 (= 7.3.4-1), linux-modules-7.3.4+deb13-cloud-amd64 (= 7.3.4-1)\n";
        let parts = ["linux-binary-7.3.4+deb13-cloud-amd64=7.3.4-1", "linux-modules-7.3.4+deb13-cloud-amd64=7.3.4-1"];
        assert_eq!(kernel(split).unwrap().packages, parts);
        assert_eq!(kernel("Package: linux-image-6.12-cloud-amd64\nVersion: 6.12.118-1\n"), None);
    }
}
