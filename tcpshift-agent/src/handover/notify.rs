//! Tells systemd that the agent is ready, and which process it is.
//!
//! One datagram to the socket that `NOTIFY_SOCKET` names, and nothing where it names none.

use std::env;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Says that this process is the unit's main one and serves. An agent that took over is another process than
/// the one that systemd started, so it has to say so each time.
pub fn ready() {
    let Some(path) = env::var_os("NOTIFY_SOCKET").filter(|path| !path.is_empty()) else { return };
    let told = || {
        let address = match path.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
            _ => SocketAddr::from_pathname(&path)?,
        };
        let text = format!("MAINPID={}\nREADY=1", std::process::id());
        UnixDatagram::unbound()?.send_to_addr(text.as_bytes(), &address)?;
        Ok::<_, io::Error>(())
    };
    if let Err(error) = told() {
        log::warn!("cannot tell systemd that the agent is ready, at {} (NOTIFY_SOCKET): {error}", path.display());
    }
}
