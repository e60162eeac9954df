//! A block of lines in a host file. It is replaced as a whole, so that writing it twice changes nothing.
//!
//! The file is replaced by a rename, so that no reader sees half of it. Where a rename is refused, as for `/etc/hosts` of a
//! container, which is a mount point, the file is overwritten.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::Path;

use crate::route::source::files::read_text;

const BEGIN: &str = "# BEGIN tcpshift-agent hosts";
const END: &str = "# END tcpshift-agent hosts";

/// Puts lines into the block of a file, which is made at its end if there is none. Returns whether that changed the file.
/// Errors, in words for people: the file cannot be read or written, or a block has no end; then it is as it was.
pub(super) fn write(file: &Path, lines: &str) -> Result<bool, String> {
    let shown = file.display();
    // A link stays: the file that it leads to is written.
    let file = file.canonicalize().map_err(|error| format!("cannot read {shown}: {error}"))?;
    let text = read_text(&file).map_err(|unread| format!("{shown} {unread}"))?;
    let new = replaced(&text, lines).map_err(|line| {
        format!("{shown}:{line}: `{BEGIN}` has no `{END}` behind it: remove it, or add the end; nothing is written")
    })?;
    if new == text {
        return Ok(false);
    }
    put(&file, &new).map(|()| true).map_err(|error| format!("cannot write {shown}: {error}"))
}

/// The text with these lines as its only block. Fails with the line of a block that has no end.
fn replaced(text: &str, lines: &str) -> Result<String, usize> {
    let (mut new, mut begun, mut is_placed) = (String::new(), None, false);
    let block = format!("{BEGIN}\n{lines}{END}\n");
    for (at, line) in text.split_inclusive('\n').enumerate() {
        match (line.trim_end(), begun) {
            (BEGIN, Some(begun)) => return Err(begun),
            (BEGIN, None) => begun = Some(at + 1),
            (END, Some(_)) => {
                begun = None;
                if !std::mem::replace(&mut is_placed, true) {
                    new.push_str(&block);
                }
            }
            (_, Some(_)) => {}
            (_, None) => new.push_str(line),
        }
    }
    if let Some(begun) = begun {
        return Err(begun);
    }
    if !is_placed {
        if !new.is_empty() && !new.ends_with('\n') {
            new.push('\n');
        }
        new.push_str(&block);
    }
    Ok(new)
}

/// Replaces a file by another with its mode and owner.
fn put(file: &Path, text: &str) -> io::Result<()> {
    let metadata = fs::metadata(file)?;
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let beside = file.with_file_name(name);
    let written = || {
        let mut new = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
        new.write_all(text.as_bytes())?;
        fchown(&new, Some(metadata.uid()), Some(metadata.gid()))?;
        new.set_permissions(metadata.permissions())?;
        new.sync_all()?;
        fs::rename(&beside, file)
    };
    let Err(error) = written() else { return Ok(()) };
    if error.kind() != ErrorKind::AlreadyExists {
        // The file may not exist.
        fs::remove_file(&beside).ok();
    }
    if matches!(error.kind(), ErrorKind::ResourceBusy | ErrorKind::CrossesDevices) {
        return fs::write(file, text);
    }
    Err(error)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_block_is_replaced_where_it_stands() {
        let around = |block: &str| format!("127.0.0.1 localhost\n{BEGIN}\n{block}{END}\n# the end");
        assert_eq!(replaced(&around("1.2.3.4 old\n"), "1.2.3.4 new\n").unwrap(), around("1.2.3.4 new\n"));
        assert_eq!(replaced("a", "b\n").unwrap(), format!("a\n{BEGIN}\nb\n{END}\n"));
        assert_eq!(replaced("", "b\n").unwrap(), format!("{BEGIN}\nb\n{END}\n"));
        let twice = format!("{BEGIN}\nx\n{END}\nmine\n{BEGIN}\ny\n{END}\n");
        assert_eq!(replaced(&twice, "z\n").unwrap(), format!("{BEGIN}\nz\n{END}\nmine\n"));
    }

    #[test]
    fn a_block_without_an_end_is_named() {
        assert_eq!(replaced(&format!("a\n{BEGIN}\nb\n"), "c\n"), Err(2));
        assert_eq!(replaced(&format!("{BEGIN}\n{BEGIN}\nb\n{END}\n"), "c\n"), Err(1));
    }

    #[test]
    fn a_file_keeps_its_mode_and_a_link_stays_one() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("hosts"), folder.path().join("link"));
        fs::write(&file, "127.0.0.1 localhost\n").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert_eq!(write(&link, "240.0.0.1 a\n"), Ok(true));
        assert_eq!(write(&link, "240.0.0.1 a\n"), Ok(false));
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
        assert!(fs::read_to_string(&file).unwrap().starts_with("127.0.0.1 localhost\n# BEGIN"));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "nothing is left beside it");
        assert!(write(&folder.path().join("none"), "").unwrap_err().contains("cannot read"));
    }
}
