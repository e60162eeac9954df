//! `unload`: removes what an agent that was killed has left in the kernel.

use clap::Args;

use super::defaults::{self, AdminAddress};
use super::stop::{Done, Stop};
use super::{quantity, screen};
use crate::kernel::{self, FOLDER, Unloaded};

const AFTER: &str = "\
Example:
  sudo tcpshift-agent unload

An agent that ends removes what it has by itself; one that starts takes over what another has left. So this is for \
an agent that was killed and is not to come back. While one runs, nothing is removed, and the exit code is 1.";

/// Detach programs that no agent has any more, and remove what is pinned
#[derive(Args, Debug)]
#[command(after_help = AFTER)]
pub(super) struct UnloadArguments {
    // Accepted as by every command; there is nothing to ask an agent here.
    #[arg(long, hide = true, value_parser = defaults::admin_address)]
    admin: Option<AdminAddress>,
}

pub(super) fn execute(_: &UnloadArguments) -> Result<Done, Stop> {
    let unloaded = kernel::unload().map_err(|error| Stop::Failed(format!("cannot unload: {error:#}")))?;
    screen::print(&format!("{}\n", text(unloaded)))?;
    Ok(Done::Well)
}

fn text(Unloaded { links, pins }: Unloaded) -> String {
    if links == 0 && pins == 0 {
        return format!("nothing of tcpshift's is under {FOLDER}");
    }
    let count = |count: usize, noun| quantity::count(count as u64, noun);
    format!("detached {}, removed {} under {FOLDER}", count(links, "link"), count(links + pins, "name"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_removed_is_counted() {
        let text = |links, pins| text(Unloaded { links, pins });
        assert_eq!(text(0, 0), "nothing of tcpshift's is under /sys/fs/bpf/tcpshift");
        assert_eq!(text(1, 23), "detached 1 link, removed 24 names under /sys/fs/bpf/tcpshift");
    }
}
