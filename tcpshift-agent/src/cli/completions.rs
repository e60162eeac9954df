//! `completions`: a script by which a shell completes this program's words.

use clap::Args;
use clap_complete::Shell;

use super::screen;
use super::stop::{Done, Stop};

const AFTER: &str = "\
Examples:
  tcpshift-agent completions bash > /etc/bash_completion.d/tcpshift-agent
  tcpshift-agent completions zsh > /usr/local/share/zsh/site-functions/_tcpshift-agent
  tcpshift-agent completions fish > /etc/fish/completions/tcpshift-agent.fish

The script knows commands, options and their fixed values. It asks no agent.";

/// Print a script that completes the words of this program in a shell
#[derive(Args, Debug)]
#[command(after_help = AFTER)]
pub(super) struct CompletionsArguments {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

pub(super) fn execute(arguments: &CompletionsArguments) -> Result<Done, Stop> {
    let mut command = super::command();
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut command, name, &mut script);
    screen::print(&String::from_utf8_lossy(&script))?;
    Ok(Done::Well)
}
