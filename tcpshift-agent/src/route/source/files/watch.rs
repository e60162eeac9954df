//! Tells when to look at the user's files again: at once when the kernel reports a change (inotify), and at intervals, since
//! links and network file systems change without a report.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;

/// Time from a report to the look, so that files that are written together are read together.
pub const SETTLE: Duration = Duration::from_millis(20);

/// Shortest interval between two looks without a report; longer if a look takes long.
pub const SHORTEST_ROUND: Duration = Duration::from_millis(500);

fn identities(paths: &[PathBuf]) -> Vec<Option<(u64, u64)>> {
    let identity = |path: &PathBuf| std::fs::metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()));
    paths.iter().map(identity).collect()
}

/// A running watch.
#[derive(Debug)]
pub struct FilesWatch {
    paths: Vec<PathBuf>,
    /// Device and inode of each path when the watch began.
    identities: Vec<Option<(u64, u64)>>,
    reports: mpsc::Receiver<()>,
    _watcher: Option<RecommendedWatcher>,
}

impl FilesWatch {
    /// Watches the paths, and the folders they lie in, since editors replace files rather than write them.
    /// Where the kernel refuses a watch, only the looks at intervals are left.
    pub fn new(paths: Vec<PathBuf>) -> Self {
        let identities = identities(&paths);
        let (sender, reports) = mpsc::channel(1);
        let handler = move |event: notify::Result<notify::Event>| {
            // Reading is no change. A full channel holds a report already.
            if !event.is_ok_and(|event| event.kind.is_access()) {
                sender.try_send(()).ok();
            }
        };
        let mut watcher = match notify::recommended_watcher(handler) {
            Ok(watcher) => watcher,
            Err(error) => {
                log::warn!("the kernel reports no changes of files ({error}); looking every half second instead");
                return Self { paths, identities, reports, _watcher: None };
            }
        };
        for path in &paths {
            let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
            let folder = path.is_dir().then_some((path.as_path(), RecursiveMode::Recursive));
            for (folder, mode) in folder.into_iter().chain([(parent, RecursiveMode::NonRecursive)]) {
                if let Err(error) = watcher.watch(folder, mode) {
                    log::warn!("cannot watch {} ({error}); looking every half second instead", folder.display());
                }
            }
        }
        Self { paths, identities, reports, _watcher: Some(watcher) }
    }

    /// Begins again if a path leads to another file or folder now: the kernel still watches the one before.
    pub fn renew(&mut self) {
        if identities(&self.paths) != self.identities {
            *self = Self::new(std::mem::take(&mut self.paths));
        }
    }

    /// Waits for a report. Without a watcher this waits for ever.
    pub async fn changed(&mut self) {
        if self.reports.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
    }
}
