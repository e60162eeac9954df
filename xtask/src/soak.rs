//! `cargo xtask soak`: what takes too long for every test run, in a release build.

use anyhow::Result;
use clap::{Args, ValueEnum};

use crate::cargo::cargo;
use crate::{setup, step};

/// What is tried for long.
#[derive(Args)]
pub(crate) struct Soak {
    /// What is tried
    #[arg(value_enum)]
    what: What,
}

#[derive(Clone, Copy, ValueEnum)]
enum What {
    /// Ten times 50,000 connections, each time over five takeovers, none refused or reset
    Takeover,
}

impl Soak {
    /// Builds, tries, and prints the figures of each round; fails if a promise is not kept.
    pub(crate) fn run(&self) -> Result<()> {
        let test = match self.what {
            What::Takeover => "takeover::soak_takeover",
        };
        setup::setup(&setup::ALL)?;
        step("build: the tests start the programs themselves");
        cargo(&["build", "--quiet", "--release", "--package", "tcpshift-agent", "--package", "tcpshift-tests"], &[])?;
        step(test);
        let words = ["test", "--quiet", "--release", "--package", "tcpshift-tests", "--test", "promises", "--"];
        cargo(&[&words[..], &["--ignored", "--exact", "--nocapture", test]].concat(), &[])
    }
}
