//! What an agent does before anything is changed: it refuses what is not to be trusted, and makes its own folders, which may
//! lie in those of another user, while it has the right to.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::bail;

use super::{App, Options};
use crate::admin::server;
use crate::plan::{EndpointAddress, Plan};
use crate::route::files::Files;
use crate::route::state::StateFolder;
use crate::trust::text;

/// Fails if a file could have been written by others, or the state directory may not be used.
pub(super) fn prepare(options: &Options) -> anyhow::Result<()> {
    let files = Files::new(options.paths.clone(), options.state_dir.clone()).trusting_all(options.trust_files);
    let distrusted = files.would_distrust();
    distrusted.iter().for_each(super::say);
    if !distrusted.is_empty() {
        let s = if distrusted.len() == 1 { "" } else { "s" };
        bail!(
            "others could have written {} path{s} above, and an agent obeys what it reads: nothing was started",
            distrusted.len()
        );
    }
    StateFolder::prepare(&options.state_dir)?;
    if let Err(error) = server::prepare(&options.admin) {
        // Whoever binds the socket is told again, unless it is taken over.
        log::debug!("{error:#}");
    }
    Ok(())
}

impl App {
    /// Adds to a plan's notes which of its endpoints lead to the admin socket, by whatever name: the proxy refuses them.
    pub(super) fn note_own_socket(&self, plan: &mut Plan) {
        let identity = |path: &Path| std::fs::metadata(path).ok().map(|found| (found.dev(), found.ino()));
        let Some(own) = identity(&self.admin) else { return };
        let endpoints = plan.routes().flat_map(|route| &route.destinations).flat_map(|to| &*to.endpoints);
        let mut paths: Vec<&str> = endpoints
            .filter_map(|endpoint| match &endpoint.address {
                EndpointAddress::Unix(path) if identity(Path::new(&**path)) == Some(own) => Some(&**path),
                _ => None,
            })
            .collect();
        paths.sort_unstable();
        paths.dedup();
        let notes = paths.into_iter().map(|path| {
            let path = text::clean_line(path);
            format!("the endpoint unix://{path} is this agent's own admin socket: connections to it are refused")
        });
        let notes: Vec<String> = notes.collect();
        plan.notes.extend(notes);
    }
}
