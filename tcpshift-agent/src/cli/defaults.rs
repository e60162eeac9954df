//! Default paths: the agent's socket and its state directory.

use std::env;
use std::path::{Path, PathBuf};

use super::stop::Stop;

const ROOT_STATE: &str = "/var/lib/tcpshift";
const ROOT_RUN: &str = "/run/tcpshift";
const SOCKET: &str = "admin.sock";

/// An agent's address: the path of its socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AdminAddress(PathBuf);

/// Reads `unix:PATH`.
pub(super) fn admin_address(text: &str) -> Result<AdminAddress, String> {
    match text.strip_prefix("unix:") {
        Some(path) if !path.is_empty() && !path.contains('\0') => Ok(AdminAddress(PathBuf::from(path))),
        _ => Err("an agent's address is unix:PATH, as unix:/run/tcpshift/admin.sock".to_owned()),
    }
}

/// The agent's socket: the one named, else the default.
pub(super) fn admin(named: Option<AdminAddress>) -> Result<PathBuf, Stop> {
    if let Some(AdminAddress(path)) = named {
        return Ok(path);
    }
    if is_root() {
        return Ok(Path::new(ROOT_RUN).join(SOCKET));
    }
    if let Some(folder) = folder("XDG_RUNTIME_DIR") {
        return Ok(folder.join("tcpshift").join(SOCKET));
    }
    // Without XDG_RUNTIME_DIR the socket is in the state directory, where no other user can write either.
    state(None, "--admin unix:PATH").map(|state| state.join("run").join(SOCKET))
}

/// The state directory: the one named, else the default.
pub(super) fn state_dir(named: Option<PathBuf>) -> Result<PathBuf, Stop> {
    state(named, "--state-dir")
}

fn state(named: Option<PathBuf>, option: &str) -> Result<PathBuf, Stop> {
    if let Some(path) = named {
        return Ok(path);
    }
    if is_root() {
        return Ok(PathBuf::from(ROOT_STATE));
    }
    folder("XDG_STATE_HOME")
        .or_else(|| folder("HOME").map(|home| home.join(".local/state")))
        .map(|folder| folder.join("tcpshift"))
        .ok_or_else(|| Stop::Usage(format!("neither XDG_STATE_HOME nor HOME says where your files are: give {option}")))
}

/// A hint for a user who finds no agent while root seems to run one.
pub(super) fn hint() -> Option<String> {
    (!is_root() && Path::new(ROOT_RUN).exists())
        .then(|| format!("hint: root's agent has its socket in {ROOT_RUN}: use sudo to talk to that one"))
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A folder that the environment names; relative ones do not count (XDG Base Directory Specification).
fn folder(variable: &str) -> Option<PathBuf> {
    env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_says_what_it_is() {
        assert_eq!(admin_address("unix:/a/b").unwrap(), AdminAddress("/a/b".into()));
        for malformed in ["", "/a/b", "unix:", "tcp:1.2.3.4", "UNIX:/a"] {
            assert!(admin_address(malformed).is_err(), "{malformed}");
        }
    }
}
