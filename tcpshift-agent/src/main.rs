//! The binary: reads the command line, and does what is asked.

use std::process::ExitCode;

fn main() -> ExitCode {
    tcpshift_agent::cli::read().execute()
}
