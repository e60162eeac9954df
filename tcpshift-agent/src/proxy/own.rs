//! Keeps connections away from the agent's own admin socket: a client that reached it could change routes.
//!
//! A path says little: links and mounts lead elsewhere by the time it is used. The kernel says by which name the other end
//! of a connection was bound (getpeername(2)), and the admin socket keeps that name for life, whatever agent has it.

use std::io;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::{Once, OnceLock};

use socket2::SockRef;

use crate::connections::ConnectionFailure;

/// By which name the admin socket was bound. There is one in a process.
static ADMIN: OnceLock<PathBuf> = OnceLock::new();

/// The warning is said once.
static SAID: Once = Once::new();

/// An endpoint leads to the agent itself.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("this is the agent's own admin socket")]
struct OwnSocket;

/// From now on no connection is carried to the socket that was bound by this name.
pub fn avoid(name: &Path) {
    ADMIN.get_or_init(|| name.to_owned());
}

/// Why an endpoint is not connected to.
pub(super) fn failure(error: &io::Error) -> ConnectionFailure {
    match error.get_ref() {
        Some(inner) if inner.is::<OwnSocket>() => ConnectionFailure::OwnListener,
        _ => ConnectionFailure::from(error),
    }
}

/// Fails with [`OwnSocket`] if an endpoint, just connected to, is the admin socket. That is said the first time.
pub(super) fn refuse(endpoint: BorrowedFd<'_>, path: &str) -> io::Result<()> {
    let Some(admin) = ADMIN.get() else { return Ok(()) };
    if SockRef::from(&endpoint).peer_addr()?.as_pathname() != Some(admin) {
        return Ok(());
    }
    SAID.call_once(|| {
        log::warn!(
            "the endpoint unix://{path} leads to this agent's own admin socket {}: connections to it are refused",
            admin.display()
        );
    });
    Err(io::Error::new(io::ErrorKind::PermissionDenied, OwnSocket))
}
