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
    /// 100,000 connections of random lengths, turning between messages and bulk: no byte lost, nothing left
    Connections,
    /// Starts after an agent that was killed, each with another call to the kernel that fails, until all have failed
    Starts,
    /// Upgrades of a running agent, each with another call to the kernel that fails, until all have failed
    Upgrades,
    /// 1,000 edits under 100,000 connections that no agent carries: none is touched
    Steer,
}

/// One promise, and what it measures.
const PROMISE: [&str; 7] = ["tcpshift-tests", "--test", "promises", "--", "--ignored", "--exact", "--nocapture"];

impl Soak {
    /// Builds, tries, and prints the figures of each round; fails if a promise is not kept.
    pub(crate) fn run(&self) -> Result<()> {
        setup::setup(&setup::ALL)?;
        step("build");
        cargo(&["build", "--quiet", "--release", "--package", "tcpshift-agent", "--package", "tcpshift-tests"], &[])?;
        let test = ["test", "--quiet", "--release", "--package"];
        match self.what {
            What::Takeover => {
                step("takeovers");
                cargo(&[&test[..], &PROMISE, &["takeover::soak_takeover"]].concat(), &[])
            }
            What::Steer => {
                step("connections that are steered");
                cargo(&[&test[..], &PROMISE, &["steer::many::soak_steer"]].concat(), &[])
            }
            What::Starts => {
                step("starts of which a call fails");
                cargo(&[&test[..], &PROMISE, &["kernel::failing::soak_starts"]].concat(), &[])
            }
            What::Upgrades => {
                step("upgrades of which a call fails");
                cargo(&[&test[..], &PROMISE, &["steer::failing::soak_upgrades"]].concat(), &[])
            }
            What::Connections => {
                step("connections");
                let words = ["tcpshift-agent", "--test", "bulk"];
                cargo(&[&test[..], &words].concat(), &[("TCPSHIFT_CONNECTIONS", "100000")])
            }
        }
    }
}
