//! Trust: files, links, sockets and names of other users of the host are not obeyed, followed or printed unescaped.

mod admin;
mod files;
mod names;
mod state;

use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::Command;

use tcpshift_tests::process::command;

/// Another user of the host, who has no rights: nobody.
const STRANGER: u32 = 65_534;

/// A command of the other user.
fn stranger(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut as_stranger = command("setpriv");
    let uid = STRANGER.to_string();
    as_stranger.args(["--reuid", &uid, "--regid", &uid, "--clear-groups", "--"]).arg(program);
    as_stranger
}

fn set_mode(path: impl AsRef<Path>, mode: u32) {
    std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
}

fn give_away(path: impl AsRef<Path>) {
    chown(path, Some(STRANGER), Some(STRANGER)).unwrap();
}
