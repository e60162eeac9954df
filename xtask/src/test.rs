//! `cargo xtask test`: everything that a change must pass, in the order of what fails quickest.

use std::time::Instant;

use anyhow::{Context, Result, ensure};

use crate::cargo::{cargo, cargo_told};
use crate::kernels::Kernels;
use crate::{build_ebpf, setup, step};

/// Promises about connections that are kept whether or not an agent carries them. Others are about what only a relay does,
/// as ending what is idle, or are not about connections.
const STEERED: [&str; 7] = ["bytes::", "empty::", "live::", "matching::", "names::", "shares::", "task::"];

/// Runs everything, and stops at the first failure.
pub(crate) fn test() -> Result<()> {
    ensure!(
        setup::root()?,
        "the tests make namespaces, which needs root; type:\n    sudo env \"PATH=$PATH\" cargo xtask test"
    );
    setup::setup(&setup::ALL)?;
    setup::kernel()?;
    step("format");
    cargo(&["fmt", "--all", "--check"], &[])?;
    step("which room knows whom");
    crate::tidy::tidy()?;
    build_ebpf::build_ebpf()?;
    step("lints of the kernel's programs");
    build_ebpf::clippy()?;
    step("lints");
    cargo(&["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"], &[])?;
    step("documentation");
    cargo(
        &["doc", "--quiet", "--workspace", "--no-deps", "--document-private-items"],
        &[("RUSTDOCFLAGS", "-D warnings")],
    )?;
    step("build: the tests start the programs themselves");
    cargo(&["build", "--quiet", "--workspace"], &[])?;
    step("tests");
    cargo(&["test", "--quiet", "--workspace", "--no-run"], &[])?;
    let began = Instant::now();
    let mut count = Count::default();
    let all = ["test", "--workspace", "--no-fail-fast"];
    // All of the workspace, of which one test program: for a package alone, cargo would build libraries anew.
    // Those of `kernel` and `steer` always say themselves who assigns: once is enough.
    let promises = ["test", "--workspace", "--no-fail-fast", "--test", "promises", "--"];
    let not_again = ["--skip", "kernel::", "--skip", "steer::"];
    let result = cargo_told(&all, &[("TCPSHIFT_ASSIGN", "kernel")], |line| count.add(line))
        .and_then(|()| {
            step("the promises once more: the agent assigns connections, not the kernel");
            let words = [&promises[..], &not_again].concat();
            cargo_told(&words, &[("TCPSHIFT_ASSIGN", "agent")], |line| count.add(line))
        })
        .and_then(|()| {
            step("promises once more: the kernel hands connections to the endpoints' own sockets");
            let words = [&promises[..], &not_again, &STEERED].concat();
            let environment = [("TCPSHIFT_ASSIGN", "kernel"), ("TCPSHIFT_DATAPATH", "auto")];
            cargo_told(&words, &environment, |line| count.add(line))
        });
    let Count { passed, failed, ignored } = count;
    let seconds = began.elapsed().as_secs();
    result.with_context(|| format!("{failed} of {} tests failed in {seconds} s", failed + passed))?;
    Kernels::short().run()?;
    let ignored = if ignored > 0 { format!(", {ignored} ignored") } else { String::new() };
    println!("\nDone: {passed} tests passed in {seconds} s{ignored}");
    Ok(())
}

/// Tests by what became of them, over all test programs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Count {
    passed: u64,
    failed: u64,
    ignored: u64,
}

impl Count {
    /// Adds a line of a test program if it is the one that sums it up:
    /// `test result: ok. 12 passed; 0 failed; 1 ignored; …`
    fn add(&mut self, line: &str) {
        let Some(sums) = line.trim_start().strip_prefix("test result: ") else { return };
        for sum in sums.split(['.', ';']) {
            let Some((number, what)) = sum.trim().split_once(' ') else { continue };
            let Ok(number) = number.parse::<u64>() else { continue };
            match what {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" => self.ignored += number,
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_summed() {
        let mut count = Count::default();
        for line in [
            "running 3 tests",
            "test a ... ok",
            "test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 4 filtered out; finished in 7.25s",
            "test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s",
        ] {
            count.add(line);
        }
        assert_eq!(count, Count { passed: 15, failed: 2, ignored: 1 });
    }
}
