//! The project's own commands: `cargo xtask setup`, `build-ebpf`, `demo`, `test`, `tidy`, `docs`, `kernels`, `bench`,
//! `soak`, `upgrade` and `corpus`.
//!
//! Each command is one file; what they say is for the person who typed the command. `demo` uses tcpshift by its command
//! line, and `tidy` reads source as text.
#![allow(clippy::print_stdout, reason = "these are commands for people: what they print is what they are for")]

mod bench;
mod build_ebpf;
mod cargo;
mod corpus;
mod demo;
mod docs;
mod ebpf_object;
mod kernels;
mod setup;
mod soak;
mod source;
mod test;
mod tidy;
mod toolchain;
mod upgrade;

use std::process::ExitCode;

use clap::Parser;

/// The project's own commands.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
enum Command {
    /// Install, or name, what a fresh Debian machine needs to build and to test
    Setup {
        /// What `bench datapaths` needs instead; no service is started
        #[arg(long)]
        bench: bool,
    },
    /// Build the kernel's programs into the object that the agent embeds; quick if nothing has changed
    BuildEbpf,
    /// The whole task for a newcomer: build, start two servers and the agent, shift a fifth, measure
    Demo(demo::Demo),
    /// Everything that a change must pass: setup, format, lints, documentation, tidiness, build, tests
    Test,
    /// Measure: the promises of decisions and of 10,000 routes, and datapaths beside their peers; all, or one of them
    Bench(bench::Bench),
    /// Try for long what a test run tries for a moment
    Soak(soak::Soak),
    /// Try tcpshift on other kernels, in machines that are emulated; all of the usual ones, or some
    Kernels(kernels::Kernels),
    /// Build the release before, and have its agent and this one follow each other under load
    Upgrade(upgrade::Upgrade),
    /// Make documents in every style, and write down what kubectl takes them for
    Corpus(corpus::Corpus),
    /// Check that the rooms of the house know only whom they may know, and that links in documents lead somewhere
    Tidy,
    /// Write anew what is generated: docs/cli.md, the messages in docs/analyze.md, and man pages in target/man
    Docs,
}

fn main() -> ExitCode {
    let result = match Command::parse() {
        Command::Setup { bench: true } => setup::setup(&setup::BENCH),
        Command::Setup { bench: false } => setup::setup(&setup::ALL).and_then(|()| setup::kernel()),
        Command::BuildEbpf => build_ebpf::build_ebpf(),
        Command::Demo(demo) => demo.run(),
        Command::Test => test::test(),
        Command::Bench(bench) => bench.run(),
        Command::Soak(soak) => soak.run(),
        Command::Kernels(kernels) => kernels.run(),
        Command::Upgrade(upgrade) => upgrade.run(),
        Command::Corpus(corpus) => corpus.run(),
        Command::Tidy => tidy::tidy(),
        Command::Docs => docs::docs(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("\nfailed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Says what is done next.
fn step(text: &str) {
    println!("\n==> {text}");
}
