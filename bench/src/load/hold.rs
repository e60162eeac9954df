//! Connections that said something once and then are idle, for the memory they cost.

use anyhow::{Context, Result};

use super::{Load, LoadReport, Span, ask, connected};

/// Opens them, says so, and closes them when told to go on.
pub(super) fn hold(load: &Load, start: &mut dyn FnMut() -> Result<()>) -> Result<LoadReport> {
    let mut sockets = Vec::with_capacity(load.connections);
    for number in 0..load.connections {
        let socket = connected(load.to)?;
        ask(&socket).with_context(|| format!("connection {} of {}", number + 1, load.connections))?;
        sockets.push(socket);
    }
    let span = Span::begin(load, start)?;
    Ok(LoadReport { count: sockets.len() as u64, ..span.report(Vec::new()) })
}
