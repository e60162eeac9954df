//! The binary: reads the command line, begins to log, and does what is asked.

use std::process::ExitCode;

fn main() -> ExitCode {
    let command_line = tcpshift_agent::cli::read();
    let level = env_logger::Env::default().default_filter_or(command_line.log_level());
    env_logger::Builder::from_env(level).init();
    command_line.execute()
}
