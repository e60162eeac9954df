//! Maps that outlive agents: those of an agent before, which this one goes on with.

use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use tcpshift_common::layout::PIN_LAYOUT;

use super::{FOLDER, Pins, owned};
use crate::kernel::{load, sys};

impl Pins {
    /// Where an agent has pinned maps that this one can go on with, by their names. The error is of one that is there and
    /// cannot be looked at.
    pub(in crate::kernel) fn lasting() -> io::Result<Vec<(&'static str, PathBuf)>> {
        let folder = Path::new(FOLDER).join(PIN_LAYOUT.to_string());
        let mut found = Vec::new();
        if owned(&folder).is_err() {
            return Ok(found);
        }
        for name in load::LASTING {
            let path = folder.join(name);
            match sys::pinned(&path) {
                Ok(map) if load::is_like(name, map.as_fd())? => found.push((name, path)),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }
}
