//! Programs that the demonstration starts, and ends by their own process ids.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// How long a program may take to end before it is killed.
const PATIENCE: Duration = Duration::from_secs(5);

/// A program under way. It is killed when dropped.
pub(super) struct Child {
    shown: String,
    process: std::process::Child,
    log: PathBuf,
}

impl Child {
    /// Starts a command whose output goes to a file.
    pub(super) fn start(shown: &str, mut command: Command, log: &Path) -> Result<Self> {
        let file = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        let other = file.try_clone().with_context(|| format!("cannot write {}", log.display()))?;
        command.stdin(Stdio::null()).stdout(file).stderr(other);
        let process = command.spawn().with_context(|| format!("cannot start `{shown}`"))?;
        let mut child = Self { shown: shown.to_owned(), process, log: log.to_owned() };
        // What cannot work fails at once: a port that is taken, a word that is wrong.
        std::thread::sleep(Duration::from_millis(150));
        child.check()?;
        Ok(child)
    }

    /// Fails if it has ended.
    pub(super) fn check(&mut self) -> Result<()> {
        match self.process.try_wait().with_context(|| format!("cannot wait for `{}`", self.shown))? {
            Some(status) => bail!("`{}` ended with {status}:\n{}", self.shown, self.log()),
            None => Ok(()),
        }
    }

    /// What it said until now.
    pub(super) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Asks it to end by SIGTERM, and kills it if it does not.
    pub(super) fn stop(&mut self) -> Result<()> {
        let pid = self.process.id().to_string();
        println!("$ kill {pid}");
        let asked = Command::new("kill").arg(&pid).status().context("cannot run `kill`")?;
        let begin = Instant::now();
        while asked.success() && begin.elapsed() < PATIENCE {
            if self.process.try_wait().context("cannot wait")?.is_some() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        bail!("`{}` does not end when asked to", self.shown)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // It may have ended already, which is as well.
        let _ended = self.process.kill().is_err() || self.process.wait().is_err();
    }
}
