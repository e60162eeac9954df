//! An agent's claim on the path of its admin socket: at most one agent has it.
//!
//! The agent that holds the lock on `PATH.lock` has the path. The socket is bound at once and listens later: until then the
//! kernel refuses clients, and the lock refuses other agents. The kernel releases the lock with the process, so that a killed
//! agent needs no clean-up. Only the socket of a dead agent is ever deleted.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, bail};
use log::{debug, info};
use rustix::fs::Mode;
use socket2::{Domain, SockAddr, SockRef, Socket, Type};

/// Clients that may wait to be accepted.
const BACKLOG: i32 = 128;

/// A claimed admin socket. Dropping it removes the file of the socket, unless the path has another file by then.
#[derive(Debug)]
pub struct AdminListener {
    path: PathBuf,
    socket: Socket,
    /// Device and inode of the socket's file.
    identity: (u64, u64),
    handed_over: Arc<AtomicBool>,
    /// Dropped last: the lock outlives the socket.
    lock: Lock,
}

/// The socket and the lock of its path, for the agent that takes over.
#[derive(Debug)]
pub struct Claim {
    path: PathBuf,
    identity: (u64, u64),
    socket: OwnedFd,
    lock: OwnedFd,
    handed_over: Arc<AtomicBool>,
}

impl Claim {
    /// Copies of both, the socket first.
    pub fn lend(&self) -> io::Result<(OwnedFd, OwnedFd)> {
        Ok((self.socket.try_clone()?, self.lock.try_clone()?))
    }

    /// Makes the socket again if its file was removed, and the lock if its file was. None if the file is there. Errors: another
    /// file is at the path by now, or another agent has the path.
    pub fn renew(&self) -> anyhow::Result<Option<AdminListener>> {
        let shown = self.path.display();
        match fs::symlink_metadata(&self.path) {
            Ok(found) if (found.dev(), found.ino()) == self.identity => return Ok(None),
            Ok(_) => bail!("{shown} is not the admin socket of this agent any more; move it away"),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| format!("cannot look at {shown}")),
        }
        // An endpoint at the admin socket is recognised by the name of the socket.
        if SockRef::from(&self.socket).local_addr()?.as_pathname() != Some(&*self.path) {
            bail!("{shown} is gone, and was made by another name: start the agent again");
        }
        prepare(&self.path)?;
        let (handed_over, path, file) = (Arc::default(), Lock::path(&self.path), File::from(self.lock.try_clone()?));
        let lock = if is_at(&path, &file) {
            Lock { path, file, handed_over: Arc::clone(&handed_over) }
        } else {
            Lock::take(&self.path, &handed_over)?
        };
        let (socket, identity) = make_socket(&self.path)?;
        Ok(Some(AdminListener { path: self.path.clone(), socket, identity, handed_over, lock }))
    }

    /// Gives socket and lock to the other agent: this one removes neither when it ends.
    pub fn hand_over(&self) {
        self.handed_over.store(true, Ordering::Release);
    }
}

impl AdminListener {
    /// Copies, for an agent that may take over.
    pub fn claim(&self) -> io::Result<Claim> {
        let (socket, lock) = (self.socket.try_clone()?.into(), self.lock.file.try_clone()?.into());
        let (path, identity) = (self.path.clone(), self.identity);
        Ok(Claim { path, identity, socket, lock, handed_over: Arc::clone(&self.handed_over) })
    }

    /// Whether another agent has socket and lock.
    pub(super) fn is_handed_over(&self) -> bool {
        self.handed_over.load(Ordering::Acquire)
    }

    /// The path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The name that the socket was bound to, which its clients see. A takeover keeps it.
    pub fn name(&self) -> io::Result<PathBuf> {
        let address = self.socket.local_addr()?;
        Ok(address.as_pathname().map_or_else(|| self.path.clone(), Path::to_owned))
    }

    /// Another socket has the path: nothing is removed when this one is dropped.
    pub(super) fn retire(&self) {
        self.handed_over.store(true, Ordering::Release);
    }

    /// The path belongs to this agent alone from now on: socket and lock are removed when it ends.
    pub(super) fn own(&self) {
        self.handed_over.store(false, Ordering::Release);
    }

    /// Listens: from now on clients wait, or the other agent that has the socket accepts them. Errors: no descriptor is left.
    pub fn listen(&self) -> anyhow::Result<tokio::net::UnixListener> {
        let listening = || {
            // A socket of another agent may be in any state.
            self.socket.set_nonblocking(true)?;
            self.socket.listen(BACKLOG)?;
            let socket = OwnedFd::from(self.socket.try_clone()?);
            tokio::net::UnixListener::from_std(std::os::unix::net::UnixListener::from(socket))
        };
        listening().with_context(|| format!("cannot listen at {}", self.path.display()))
    }
}

impl Drop for AdminListener {
    fn drop(&mut self) {
        if !self.is_handed_over()
            && fs::symlink_metadata(&self.path).is_ok_and(|found| (found.dev(), found.ino()) == self.identity)
            && let Err(error) = fs::remove_file(&self.path)
        {
            debug!("admin: {} stays behind: {error}", self.path.display());
        }
    }
}

/// See [`super::prepare`].
pub(super) fn prepare(path: &Path) -> anyhow::Result<()> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
        made.with_context(|| format!("cannot make {} for the admin socket", folder.display()))?;
    }
    Ok(())
}

/// See [`super::bind`].
pub(super) fn bind(path: &Path) -> anyhow::Result<AdminListener> {
    let shown = path.display();
    SockAddr::unix(path)
        .with_context(|| format!("{shown} cannot name a socket (107 bytes at most): choose another by --admin"))?;
    prepare(path)?;
    let handed_over = Arc::default();
    let lock = Lock::take(path, &handed_over)?;
    clear(path)?;
    let (socket, identity) = make_socket(path)?;
    Ok(AdminListener { path: path.to_owned(), socket, identity, handed_over, lock })
}

/// Makes the socket at a path; returns device and inode of its file.
fn make_socket(path: &Path) -> anyhow::Result<(Socket, (u64, u64))> {
    let made = || {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        // Before bind, so that the file never has another mode.
        rustix::fs::fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
        socket.bind(&SockAddr::unix(path)?)?;
        let file = fs::symlink_metadata(path)?;
        Ok::<_, std::io::Error>((socket, (file.dev(), file.ino())))
    };
    made().with_context(|| format!("cannot make the admin socket {}", path.display()))
}

/// Whether a path leads to a file that is open.
fn is_at(path: &Path, file: &File) -> bool {
    let there = fs::symlink_metadata(path).ok().zip(file.metadata().ok());
    there.is_some_and(|(one, other)| (one.dev(), one.ino()) == (other.dev(), other.ino()))
}

/// See [`super::adopt`].
pub(super) fn adopt(path: &Path, socket: OwnedFd, lock: OwnedFd) -> anyhow::Result<AdminListener> {
    let shown = path.display();
    let (lock, lock_path) = (File::from(lock), Lock::path(path));
    let identity = |found: &fs::Metadata| (found.dev(), found.ino());
    let there = |path: &Path| fs::symlink_metadata(path).map(|found| identity(&found)).ok();
    if there(&lock_path) != lock.metadata().ok().as_ref().map(identity) {
        bail!("the running agent has its admin socket by another name than {shown}: give the same --admin");
    }
    let socket = Socket::from(socket);
    if !socket.is_listener().is_ok_and(|listens| listens) {
        bail!("the running agent hands over an admin socket that does not listen");
    }
    let identity = there(path).with_context(|| format!("the admin socket {shown} is gone"))?;
    let handed_over = Arc::default();
    let lock = Lock { path: lock_path, file: lock, handed_over: Arc::clone(&handed_over) };
    // If the takeover fails, both still belong to the other agent.
    handed_over.store(true, Ordering::Release);
    Ok(AdminListener { path: path.to_owned(), socket, identity, handed_over, lock })
}

/// Removes the socket of a dead agent from the path.
fn clear(path: &Path) -> anyhow::Result<()> {
    let shown = path.display();
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).with_context(|| format!("cannot look at {shown}")),
    };
    if !found.file_type().is_socket() {
        bail!("{shown} is there and is no socket: move it away, or name another path by --admin unix:PATH");
    }
    let probe = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    probe.set_nonblocking(true)?;
    match probe.connect(&SockAddr::unix(path)?) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        // A full queue means that the socket listens.
        Err(error) if error.kind() != ErrorKind::WouldBlock => {
            return Err(error).with_context(|| format!("cannot tell whether an agent answers at {shown}"));
        }
        _ => bail!(taken(path)),
    }
    info!("replacing the socket of an agent that is gone, {shown}");
    fs::remove_file(path).with_context(|| format!("cannot remove the dead socket {shown}"))
}

fn taken(path: &Path) -> String {
    format!("another agent answers at {}: stop it first, or name another path by --admin unix:PATH", path.display())
}

/// The end of an error where an agent of root cannot make a file: the folder is another user's, and the agent has given up the
/// capability to write there.
fn foreign(file: &Path) -> String {
    let own = rustix::process::geteuid();
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match fs::metadata(folder).map(|found| found.uid()) {
        Ok(uid) if own.is_root() && uid != own.as_raw() => format!(
            ", whose folder belongs to user {uid}: an agent of root writes in folders of root alone; choose one by --admin \
             unix:PATH"
        ),
        _ => String::new(),
    }
}

/// The lock of a path. Dropping it removes the file.
#[derive(Debug)]
struct Lock {
    path: PathBuf,
    file: File,
    handed_over: Arc<AtomicBool>,
}

impl Lock {
    fn path(socket: &Path) -> PathBuf {
        let mut path = OsString::from(socket);
        path.push(".lock");
        PathBuf::from(path)
    }

    fn take(socket: &Path, handed_over: &Arc<AtomicBool>) -> anyhow::Result<Self> {
        let path = Self::path(socket);
        let no_follow = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
        loop {
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .custom_flags(no_follow)
                .open(&path)
                .with_context(|| format!("cannot open the lock {}{}", path.display(), foreign(&path)))?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => bail!(taken(socket)),
                Err(TryLockError::Error(error)) => {
                    return Err(error).with_context(|| format!("cannot lock {}", path.display()));
                }
            }
            // Another agent unlinked the file between open and lock; that lock protects nothing, so try again.
            let mine = file.metadata()?;
            if fs::symlink_metadata(&path).is_ok_and(|found| (found.dev(), found.ino()) == (mine.dev(), mine.ino())) {
                return Ok(Self { path, file, handed_over: Arc::clone(handed_over) });
            }
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Still locked here: the file descriptor is closed after this.
        if !self.handed_over.load(Ordering::Acquire)
            && let Err(error) = fs::remove_file(&self.path)
        {
            debug!("admin: {} stays behind: {error}", self.path.display());
        }
    }
}
