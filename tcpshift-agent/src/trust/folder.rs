//! A folder of this process, held by its descriptor. Its files are opened relative to the descriptor, no link is followed, and
//! a file that another user made or could write is an error.
//!
//! Every change of a file is atomic: [`Folder::replace`] replaces a whole file. The caller makes changes durable by
//! [`Folder::sync`].

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, fstat, fsync, mkdirat, openat, renameat, syncfs, unlinkat};
use rustix::io::Errno;

use super::owners::Owners;
use super::{Doubt, OpenError, Untrusted, path};

/// Opens without following a link or waiting for the other end of a pipe.
const PLAIN: OFlags = OFlags::NOFOLLOW.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK).union(OFlags::NOCTTY);

/// A folder of this process's user or of root that no other user may write.
#[derive(Debug)]
pub struct Folder {
    descriptor: OwnedFd,
    /// For messages.
    path: PathBuf,
    owners: Owners,
}

impl Folder {
    /// Opens a folder. It is made (mode 0700), with its parents, if it is missing. Links above it are followed.
    /// Errors: the system refuses, it is no folder, or another user may write or replace it.
    pub fn make(path: &Path) -> Result<Self, OpenError> {
        let owners = Owners::of_this_process();
        let found = path::walk(path, &owners, true)?;
        // The path could lead elsewhere now, so the folder is not opened by its name again.
        let descriptor =
            openat(&found.descriptor, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let folder = Self { descriptor, path: path.to_owned(), owners: owners.without_sudo() };
        folder.check(&folder.path, &folder.descriptor)?;
        Ok(folder)
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens a file of the folder to be locked. It is made (mode 0600) if it is missing.
    pub fn lock_file(&self, name: &str) -> Result<File, OpenError> {
        let file = self.plain(&self.descriptor, name, OFlags::RDWR | OFlags::CREATE, Path::new(name))?;
        Ok(file)
    }

    /// The bytes of a file; none if there is no file. Of a file of more than `most` bytes, the first `most + 1`.
    pub fn read(&self, name: &Path, most: u64) -> Result<Option<Vec<u8>>, OpenError> {
        let opened = self
            .parent(name, false)
            .and_then(|(folder, last)| self.plain(self.or_this(folder.as_ref()), last, OFlags::RDONLY, name));
        match opened {
            Ok(file) => {
                let mut bytes = Vec::new();
                file.take(most + 1).read_to_end(&mut bytes)?;
                Ok(Some(bytes))
            }
            Err(OpenError::System(error)) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Replaces a file (mode 0600), by a file `beside` in this folder; with `durable` its bytes
    /// are on the disk before. Makes folders on the way. After an error the file is as it was.
    pub fn replace(&self, name: &Path, text: &[u8], beside: &str, durable: bool) -> Result<(), OpenError> {
        let (folder, last) = self.parent(name, true)?;
        // A file that a crash left may have any owner or mode.
        remove_at(self.descriptor.as_fd(), beside)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
        let mut file = self.plain(&self.descriptor, beside, flags, Path::new(beside))?;
        let written = file.write_all(text).and_then(|()| if durable { file.sync_all() } else { Ok(()) });
        let folder = self.or_this(folder.as_ref());
        if let Err(error) = written {
            // An incomplete file is of no use.
            remove_at(self.descriptor.as_fd(), beside).ok();
            return Err(error.into());
        }
        match renameat(&self.descriptor, beside, folder, last) {
            Ok(()) => Ok(()),
            // A network file system may rename the file and lose the answer.
            Err(_) if remove_at(self.descriptor.as_fd(), beside).is_ok_and(|was_there| !was_there) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes a file; returns whether there was one.
    pub fn remove(&self, name: &Path) -> Result<bool, OpenError> {
        match self.parent(name, false) {
            Ok((folder, last)) => Ok(remove_at(self.or_this(folder.as_ref()), last)?),
            Err(OpenError::System(error)) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Makes the new, renamed and removed files of this folder, or of a folder inside it, durable.
    pub fn sync(&self, name: &Path) -> Result<(), OpenError> {
        match self.inside(name, false) {
            Ok(Some(folder)) => Ok(fsync(folder)?),
            Ok(None) => Ok(fsync(&self.descriptor)?),
            Err(OpenError::System(error)) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Makes a folder inside (mode 0700), and its parents, if they are missing.
    pub fn make_inside(&self, inside: &Path) -> Result<(), OpenError> {
        self.inside(inside, true).map(drop)
    }

    /// Whether there is a folder inside.
    pub fn has_folder(&self, inside: &Path) -> bool {
        self.inside(inside, false).is_ok()
    }

    /// Makes all changes of its file system durable.
    pub fn sync_all(&self) -> io::Result<()> {
        Ok(syncfs(&self.descriptor)?)
    }

    /// The files below a folder inside whose names are `wanted`, sorted, relative to this folder. Hidden files are left out.
    pub fn files(&self, inside: &Path, wanted: impl Fn(&Path) -> bool) -> Result<Vec<PathBuf>, OpenError> {
        let (mut found, mut left) = (Vec::new(), vec![inside.to_owned()]);
        while let Some(folder) = left.pop() {
            let Some(opened) = self.inside(&folder, false)? else { continue };
            for entry in Dir::read_from(&opened)? {
                let entry = entry?;
                let name = OsStr::from_bytes(entry.file_name().to_bytes());
                if name.as_bytes().starts_with(b".") {
                    continue;
                }
                let path = folder.join(name);
                let stat = rustix::fs::statat(&opened, name, AtFlags::SYMLINK_NOFOLLOW)?;
                match FileType::from_raw_mode(stat.st_mode) {
                    FileType::Directory => left.push(path),
                    // Leaving a link out would hide its files.
                    FileType::Symlink => return Err(Untrusted::new(&self.path.join(path), Doubt::Link).into()),
                    _ if wanted(&path) => found.push(path),
                    _ => {}
                }
            }
        }
        found.sort();
        Ok(found)
    }

    /// The folder that a file is in, none for this one, and the file's name in it.
    fn parent<'a>(&self, name: &'a Path, make: bool) -> Result<(Option<OwnedFd>, &'a OsStr), OpenError> {
        let last = name.file_name().ok_or(Errno::INVAL)?;
        Ok((self.inside(name.parent().unwrap_or(Path::new("")), make)?, last))
    }

    /// A folder inside; none for this one.
    fn inside(&self, inside: &Path, make: bool) -> Result<Option<OwnedFd>, OpenError> {
        let mut folder: Option<OwnedFd> = None;
        let mut so_far = PathBuf::new();
        for part in inside.components() {
            // A path with `..` or from the root leads out of the folder.
            let Component::Normal(name) = part else { return Err(Errno::INVAL.into()) };
            so_far.push(name);
            let at = self.or_this(folder.as_ref());
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | PLAIN;
            let opened = match openat(at, name, flags, Mode::empty()) {
                Err(Errno::NOENT) if make => {
                    mkdirat(at, name, Mode::RWXU)?;
                    openat(at, name, flags, Mode::empty())
                }
                opened => opened,
            };
            let next = opened.map_err(|error| self.refusal(error, &so_far))?;
            self.check(&self.path.join(&so_far), &next)?;
            folder = Some(next);
        }
        Ok(folder)
    }

    /// Opens a regular file of a trusted user.
    fn plain(
        &self,
        folder: impl AsFd,
        name: impl AsRef<OsStr>,
        flags: OFlags,
        shown: &Path,
    ) -> Result<File, OpenError> {
        let opened = openat(folder, name.as_ref(), flags | PLAIN, Mode::RUSR | Mode::WUSR);
        let file = opened.map_err(|error| self.refusal(error, shown))?;
        let path = self.path.join(shown);
        if FileType::from_raw_mode(fstat(&file)?.st_mode) != FileType::RegularFile {
            return Err(Untrusted::new(&path, Doubt::Link).into());
        }
        self.check(&path, &file)?;
        Ok(file.into())
    }

    fn or_this<'a>(&'a self, inside: Option<&'a OwnedFd>) -> BorrowedFd<'a> {
        inside.map_or(self.descriptor.as_fd(), AsFd::as_fd)
    }

    fn check(&self, path: &Path, descriptor: impl AsFd) -> Result<(), OpenError> {
        match self.owners.doubt(&fstat(&descriptor)?, descriptor) {
            Some(doubt) => Err(Untrusted::new(path, doubt).into()),
            None => Ok(()),
        }
    }

    /// A link is refused by the kernel: ELOOP, or ENOTDIR where a folder is wanted.
    fn refusal(&self, error: Errno, inside: &Path) -> OpenError {
        match error {
            Errno::LOOP | Errno::NOTDIR | Errno::NXIO | Errno::ISDIR => {
                Untrusted::new(&self.path.join(inside), Doubt::Link).into()
            }
            error => error.into(),
        }
    }
}

/// Removes a file of a folder; returns whether there was one.
fn remove_at(folder: BorrowedFd<'_>, name: impl AsRef<OsStr>) -> io::Result<bool> {
    match unlinkat(folder, name.as_ref(), AtFlags::empty()) {
        Ok(()) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
