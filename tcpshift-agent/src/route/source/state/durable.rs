//! One file of a state directory, replaced or removed durably. Several at once are `journal`'s.

use std::path::Path;

use anyhow::{Context, anyhow};

use super::paths::WRITING;
use crate::trust;
use crate::trust::folder::Folder;

/// Replaces a file, or removes it without a text. After an error the file is as it was, now and after a restart; where that
/// is not certain the error says it. A warning is returned if the change is made and the disk did not confirm it.
pub(super) fn change(root: &Folder, path: &Path, text: Option<&[u8]>) -> anyhow::Result<Option<String>> {
    let shown = || root.path().join(path).display().to_string();
    let nothing = || format!("cannot write {}; nothing is changed", shown());
    let before = root.read(path, u64::MAX - 1).with_context(nothing)?;
    let is_new = path.parent().is_some_and(|folder| !root.has_folder(folder));
    put(root, path, text, true).with_context(nothing)?;
    let synced = match path.parent() {
        Some(folder) if is_new => folder.ancestors().try_for_each(|folder| root.sync(folder)),
        folder => root.sync(folder.unwrap_or(Path::new(""))),
    };
    let Err(error) = synced else { return Ok(None) };
    // A renamed file is read by every later start, though the disk has not confirmed it, so the change is undone.
    if let Err(second) = put(root, path, before.as_deref(), false) {
        let warning = format!(
            "stored, but the disk has not confirmed it: {}: {error}, and it could not be taken back: {second}; after \
             a power failure it may be gone",
            shown()
        );
        log::error!("{warning}");
        return Ok(Some(warning));
    }
    let unsure = match root.sync(path.parent().unwrap_or(Path::new(""))) {
        Ok(()) => "",
        Err(_) => "; the disk confirms that neither, so after a power failure the change may be there",
    };
    Err(anyhow!("cannot write {}: {error}; nothing is changed{unsure}", shown()))
}

fn put(root: &Folder, path: &Path, text: Option<&[u8]>, durable: bool) -> Result<(), trust::OpenError> {
    match text {
        Some(text) => root.replace(path, text, WRITING, durable),
        None => root.remove(path).map(drop),
    }
}
