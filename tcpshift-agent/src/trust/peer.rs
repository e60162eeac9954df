//! Checks which user answers at a unix socket.
//!
//! A user who could put a socket at the path that a command of root opens would receive root's requests and could answer them.
//! So the other end must be root, this process's user, or the user who started it by sudo; or the socket is in a folder that
//! root made for it, as systemd does for a service of another user.

use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::Mode;
use rustix::net::sockopt::socket_peercred;

use super::owners::Owners;
use super::{path, text};

/// Only root makes folders in this one, each for one service.
const RUNTIME: [&str; 2] = ["/run", "/var/run"];

/// Checks the other end of a socket that is connected to `path`. The error is a message for people.
pub fn check(stream: impl AsFd, path: &Path) -> Result<(), String> {
    let shown = text::shown(path);
    // The credentials are those of the call of listen(2), as unix(7) says of SO_PEERCRED.
    let peer =
        socket_peercred(stream).map_err(|error| format!("cannot tell which user listens at {shown}: {error}"))?;
    let (uid, owners) = (peer.uid.as_raw(), Owners::of_this_process());
    if owners.contain(uid) || is_in_folder_of_root(path) {
        return Ok(());
    }
    let own = rustix::process::geteuid().as_raw();
    Err(format!(
        "a process of user {uid} listens at {shown}, and this command is of user {own}: nothing was sent; run it as user \
         {uid}, or name the socket of an agent of yours or of root's by --admin unix:PATH or TCPSHIFT_ADMIN"
    ))
}

/// Whether only root, and the user that root made the folder for, can have put a socket there.
fn is_in_folder_of_root(socket: &Path) -> bool {
    let owners = Owners::root_alone();
    let Some(folder) = std::path::absolute(socket).ok().and_then(|socket| Some(socket.parent()?.to_owned())) else {
        return false;
    };
    path::walk(&folder, &owners, false).is_ok_and(|found| {
        let is_made_here = found.path.parent().is_some_and(|above| RUNTIME.iter().any(|run| above == Path::new(run)));
        let is_for_all = Mode::from_raw_mode(found.stat.st_mode).contains(Mode::WOTH);
        !is_for_all && (found.stat.st_uid == 0 || is_made_here)
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::*;

    #[test]
    fn an_agent_of_this_user_is_talked_to() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin.sock");
        let _listener = UnixListener::bind(&path).unwrap();
        assert_eq!(check(UnixStream::connect(&path).unwrap(), &path), Ok(()));
    }
}
