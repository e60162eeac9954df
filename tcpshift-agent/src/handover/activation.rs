//! Socket activation: the listening sockets that systemd opened before the agent started.
//!
//! What it takes is told by `LISTEN_FDS` and `LISTEN_PID`; names in `LISTEN_FDNAMES` are not looked at. Where it takes
//! them, both are removed from the environment; this process starts no other.

use std::env;

use listenfd::ListenFd;

use super::{ListeningSocket, listening};

/// More sockets than any unit file has. A larger `LISTEN_FDS` is a mistake: it is refused, not walked through.
const MOST: usize = 4096;

/// Takes what systemd handed over, and says what of it is of no use. Has to be called once, at start, before
/// there is another thread.
pub fn take() -> Vec<ListeningSocket> {
    let count = number("LISTEN_FDS");
    // LISTEN_PID must be this process (sd_listen_fds(3)): the variables may have been meant for a parent.
    let is_ours = number("LISTEN_PID") == usize::try_from(std::process::id()).ok();
    if count.is_none() || !is_ours {
        return Vec::new();
    }
    if count.is_some_and(|count| count > MOST) {
        log::error!("LISTEN_FDS is more than {MOST}; no socket is taken from it");
        return Vec::new();
    }
    let mut inherited = ListenFd::from_env();
    let mut sockets = Vec::new();
    for number in 0..inherited.len() {
        let socket = match inherited.take_tcp_listener(number) {
            Ok(Some(socket)) => socket,
            Ok(None) => continue,
            Err(error) => {
                log::warn!(
                    "socket {number} of LISTEN_FDS is passed over: {error}; ListenStream= with a port makes one"
                );
                continue;
            }
        };
        let checked = socket.local_addr().map_err(|error| error.to_string()).and_then(|address| {
            let socket = listening(socket.into())?;
            socket.set_nonblocking(true).map_err(|error| error.to_string())?;
            Ok((address, socket))
        });
        match checked {
            Ok(socket) => sockets.push(socket),
            Err(reason) => log::warn!("socket {number} of LISTEN_FDS is passed over: {reason}"),
        }
    }
    sockets
}

fn number(variable: &str) -> Option<usize> {
    env::var(variable).ok()?.parse().ok()
}
