//! The system of a machine of the matrix: an initramfs with busybox, the agent, what tries it, and a kernel's own modules.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use object::{Object, ObjectSection};
use serde_json::Value;

use crate::cargo::said;
use crate::setup;

/// What scenarios need to be there, as `scenarios needs` prints it.
#[derive(Clone, Debug)]
pub(crate) struct Needs {
    /// Of the workspace.
    programs: Vec<String>,
    /// Of the system. What busybox has beside them is used by the first process alone.
    tools: Vec<String>,
    /// Of the kernel, where it does not have them built in.
    modules: Vec<String>,
}

impl Needs {
    pub(crate) fn read(json: &str) -> Result<Self> {
        let needs: Value = serde_json::from_str(json).context("`scenarios needs` prints no JSON")?;
        let list = |name: &str| {
            let words = needs[name].as_array().with_context(|| format!("`scenarios needs` prints no {name}"))?;
            Ok::<_, anyhow::Error>(words.iter().filter_map(Value::as_str).map(str::to_owned).collect())
        };
        Ok(Self { programs: list("programs")?, tools: list("tools")?, modules: list("modules")? })
    }
}

/// What all machines have in common.
#[derive(Debug)]
pub(crate) struct System {
    folder: PathBuf,
    needs: Needs,
}

impl System {
    /// Lays it out in a folder, from programs that cargo has put into another.
    pub(crate) fn build(folder: &Path, built: &Path, needs: Needs, scenarios: &[String]) -> Result<Self> {
        let root = folder.join("root");
        remove(&root)?;
        for name in ["bin", "dev", "modules", "proc", "run", "sys", "tcpshift", "tmp"] {
            create(&root.join(name))?;
        }
        write(&root.join("init"), include_str!("init.sh"), true)?;
        write(&root.join("scenarios"), scenarios.join("\n") + "\n", false)?;
        for tool in ["busybox"].into_iter().chain(needs.tools.iter().map(String::as_str)) {
            let path = setup::find(tool)
                .with_context(|| format!("there is no {tool} in PATH; `cargo xtask setup` installs what is needed"))?;
            add(&root, &path, &Path::new("bin").join(tool))?;
        }
        for name in &needs.programs {
            add(&root, &built.join(name), &Path::new("tcpshift").join(name))?;
        }
        pack(&root, &folder.join("base.cpio"))?;
        remove(&root)?;
        Ok(Self { folder: folder.to_owned(), needs })
    }

    /// The whole initramfs for the kernel whose files are in a folder: the common part, and its modules behind it.
    pub(crate) fn with_modules(&self, kernel: &Path, name: &str) -> Result<PathBuf> {
        let root = self.folder.join(format!("{name}-modules"));
        remove(&root)?;
        create(&root.join("modules"))?;
        for (number, module) in modules(kernel, &self.needs.modules)?.into_iter().enumerate() {
            write(&root.join(format!("modules/{number:02}-{}.ko", module.name)), module.content, false)?;
        }
        let (own, whole) = (self.folder.join(format!("{name}-modules.cpio")), self.folder.join(format!("{name}.cpio")));
        pack(&root, &own)?;
        remove(&root)?;
        // The kernel unpacks archives that follow one another (Documentation/driver-api/early-userspace/buffer-format.rst).
        fs::copy(self.folder.join("base.cpio"), &whole).with_context(|| format!("cannot write {}", whole.display()))?;
        let mut file = fs::OpenOptions::new().append(true).open(&whole)?;
        file.write_all(&fs::read(&own)?).with_context(|| format!("cannot write {}", whole.display()))?;
        fs::remove_file(&own)?;
        Ok(whole)
    }
}

/// A module, with its content as the kernel wants it.
#[derive(Debug)]
struct Module {
    name: String,
    content: Vec<u8>,
}

/// Modules that are needed, each after those that it depends on.
fn modules(kernel: &Path, names: &[String]) -> Result<Vec<Module>> {
    let mut files = BTreeMap::new();
    for folder in ["lib/modules", "usr/lib/modules"] {
        collect(&kernel.join(folder), &mut files)?;
    }
    let mut found = Vec::new();
    for name in names {
        require(name, &files, &mut found)?;
    }
    Ok(found)
}

/// All files of modules, by their names, in which `-` and `_` are the same.
fn collect(folder: &Path, files: &mut BTreeMap<String, PathBuf>) -> Result<()> {
    let Ok(entries) = fs::read_dir(folder) else { return Ok(()) };
    for entry in entries {
        let entry = entry?;
        let path = entry.path();
        // A link, as `build`, leads to files of this machine.
        if entry.file_type()?.is_dir() {
            collect(&path, files)?;
        } else if let Some((name, _)) =
            path.file_name().and_then(|name| name.to_str()).and_then(|it| it.split_once(".ko"))
        {
            files.insert(name.replace('-', "_"), path.clone());
        }
    }
    Ok(())
}

fn require(name: &str, files: &BTreeMap<String, PathBuf>, found: &mut Vec<Module>) -> Result<()> {
    // What is no file is built in, or the scenario that needs it says so.
    let Some(path) = files.get(name).filter(|_| found.iter().all(|module| module.name != name)) else { return Ok(()) };
    let content = match path.extension().and_then(|it| it.to_str()) {
        Some("xz") => unpacked(Command::new("xz").arg("--decompress").arg("--stdout").arg(path))?,
        _ => fs::read(path).with_context(|| format!("cannot read {}", path.display()))?,
    };
    for depends in depends(&content).with_context(|| format!("cannot read {}", path.display()))? {
        require(&depends, files, found)?;
    }
    found.push(Module { name: name.to_owned(), content });
    Ok(())
}

/// Whom a module says that it depends on (`MODULE_INFO(depends, …)`, scripts/mod/modpost.c).
fn depends(module: &[u8]) -> Result<Vec<String>> {
    let file = object::File::parse(module)?;
    let information = file.section_by_name(".modinfo").context("it has no section .modinfo")?.data()?;
    let mut fields = information.split(|byte| *byte == 0).map(String::from_utf8_lossy);
    let depends = fields.find_map(|field| field.strip_prefix("depends=").map(str::to_owned)).unwrap_or_default();
    Ok(depends.split(',').filter(|name| !name.is_empty()).map(|name| name.replace('-', "_")).collect())
}

fn unpacked(command: &mut Command) -> Result<Vec<u8>> {
    let output = command.output().with_context(|| format!("cannot run {command:?}"))?;
    ensure!(output.status.success(), "{command:?} ended with {}", output.status);
    Ok(output.stdout)
}

/// Puts a program into the system, without what is for debuggers alone, and the libraries that it is linked to.
fn add(root: &Path, program: &Path, at: &Path) -> Result<()> {
    let to = root.join(at);
    said(Command::new("objcopy").arg("--strip-debug").arg(program).arg(&to))?;
    // Of one that is linked to nothing, ldd says so and fails.
    let output = Command::new("ldd").arg(program).output().context("cannot run ldd")?;
    for library in String::from_utf8_lossy(&output.stdout).split_whitespace().filter(|word| word.starts_with('/')) {
        let path = root.join(library.trim_start_matches('/'));
        if !path.exists() {
            create(path.parent().context("a library is in a folder")?)?;
            fs::copy(library, &path).with_context(|| format!("cannot copy {library}"))?;
        }
    }
    Ok(())
}

/// Packs a folder as the kernel reads it.
fn pack(root: &Path, archive: &Path) -> Result<()> {
    let names = said(Command::new("find").arg(".").current_dir(root))?;
    let file = fs::File::create(archive).with_context(|| format!("cannot write {}", archive.display()))?;
    let mut child = Command::new("cpio")
        .args(["--create", "--format=newc", "--owner=0:0", "--quiet"])
        .current_dir(root)
        .stdin(Stdio::piped())
        .stdout(file)
        .spawn()
        .context("cannot run cpio; `cargo xtask setup` installs it")?;
    child.stdin.take().context("cpio has no input")?.write_all(names.as_bytes())?;
    let status = child.wait()?;
    ensure!(status.success(), "cpio ended with {status}");
    Ok(())
}

pub(super) fn create(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))
}

pub(super) fn remove(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    Ok(())
}

fn write(path: &Path, content: impl AsRef<[u8]>, is_program: bool) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let mode = fs::Permissions::from_mode(if is_program { 0o755 } else { 0o644 });
    let written = fs::write(path, content).and_then(|()| fs::set_permissions(path, mode));
    written.with_context(|| format!("cannot write {}", path.display()))
}
