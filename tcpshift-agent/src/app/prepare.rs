//! What an agent does before anything is changed: it refuses what is not to be trusted, and makes its own folders, which may
//! lie in those of another user, while it has the right to.

use anyhow::bail;

use super::Options;
use crate::admin::server;
use crate::route::problem::{Problem, Severity};
use crate::route::source::files::Files;
use crate::route::source::state::StateFolder;

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

/// Fails if any of these problems, which have been said, is an error.
pub(super) fn no_errors<'a>(problems: impl Iterator<Item = &'a Problem>) -> anyhow::Result<()> {
    let errors = problems.filter(|problem| problem.severity == Severity::Error).count();
    match errors {
        0 => Ok(()),
        1 => bail!("the error above is in what is to be served, and --strict does not start with it"),
        _ => bail!("the {errors} errors above are in what is to be served, and --strict does not start with them"),
    }
}
