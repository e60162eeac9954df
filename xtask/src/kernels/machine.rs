//! A machine: qemu, that emulates a processor in software, with a kernel and a system. It says what its first process says.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// How long a kernel may take until its first process runs, and how often it is tried.
const TO_INIT: Duration = Duration::from_mins(2);
const BOOTS: u32 = 4;

/// How long a machine may take in all.
const TO_END: Duration = Duration::from_mins(15);

/// The processor that is emulated: a plain one that every qemu knows.
const PROCESSOR: &str = "Nehalem";

/// What the kernel is told. Before its first process it tries whether the timer's interrupt comes within ten ticks, and panics
/// if not (`timer_irq_works`, 6.1, <https://elixir.bootlin.com/linux/v6.1/source/arch/x86/kernel/apic/io_apic.c>): of a machine
/// that is emulated on busy processors it does not always, so it is told not to try. What is done against faults of processors
/// costs much where they are emulated, as another page table for each system call does.
const COMMAND_LINE: &str = "console=ttyS0 quiet panic=-1 no_timer_check mitigations=off";

/// Megabytes.
const MEMORY: u32 = 1_280;

/// How long a kernel may take until its first process runs, where hardware runs it.
const TO_INIT_BY_HARDWARE: Duration = Duration::from_secs(20);

/// Who runs the machine's instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Accelerator {
    /// The processor itself, by KVM.
    Hardware,
    /// qemu, which translates them: ten to thirty times slower.
    Software,
}

impl Accelerator {
    /// The processor itself if this machine comes to its first process so. That `/dev/kvm` can be opened is not enough: in a
    /// machine that is virtual itself, its instructions may be emulated only in part.
    pub(crate) fn find(machine: &VirtualMachine) -> Result<Self> {
        if fs::File::options().read(true).write(true).open("/dev/kvm").is_err() {
            return Ok(Self::Software);
        }
        let begin = Instant::now();
        let mut emulator = machine.start(Self::Hardware)?;
        let lines = emulator.lines()?;
        loop {
            match lines.recv_timeout(Duration::from_millis(100)) {
                Ok(line) if line.starts_with(INIT) => return Ok(Self::Hardware),
                Ok(_) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(Self::Software),
                // Of an instruction that it cannot run, qemu complains, and stands still.
                Err(RecvTimeoutError::Timeout) => {
                    let complains = fs::metadata(machine.complaints()).is_ok_and(|file| file.len() > 0);
                    if complains || begin.elapsed() > TO_INIT_BY_HARDWARE {
                        return Ok(Self::Software);
                    }
                }
            }
        }
    }

    fn words(self) -> [&'static str; 4] {
        match self {
            Self::Hardware => ["-accel", "kvm", "-cpu", "host"],
            Self::Software => ["-accel", "tcg,thread=multi", "-cpu", PROCESSOR],
        }
    }
}

/// What the first process says first, with the kernel's name behind it, and last, with the exit code of the scenarios.
const INIT: &str = "init ";
const END: &str = "end ";

/// What is started.
#[derive(Debug)]
pub(crate) struct VirtualMachine {
    pub(crate) kernel: PathBuf,
    pub(crate) system: PathBuf,
    /// Where its console is written to.
    pub(crate) console: PathBuf,
    /// Processors that it has. Where those of all machines are more than this machine's own, they wait for each other, and all of
    /// it takes several times longer.
    pub(crate) processors: usize,
}

/// A machine that has ended.
#[derive(Debug)]
pub(crate) struct MachineEnd {
    /// The kernel's own name for itself; empty if its first process never ran.
    pub(crate) release: String,
    /// How often it was started until its first process ran.
    pub(crate) boots: u32,
    /// Seconds from that start to the first process, and to the end.
    pub(crate) booted: f64,
    pub(crate) seconds: f64,
    /// Why not all scenarios were tried, if they were not.
    pub(crate) fault: Option<String>,
}

impl VirtualMachine {
    /// Starts it, and hands out what its first process says, line by line; again if that never runs.
    pub(crate) fn run(&self, accelerator: Accelerator, mut told: impl FnMut(&str)) -> Result<MachineEnd> {
        let started = Instant::now();
        for boots in 1..=BOOTS {
            let begin = Instant::now();
            let mut emulator = self.start(accelerator)?;
            let lines = emulator.lines()?;
            let Some(release) = first(&lines, begin) else { continue };
            let booted = begin.elapsed().as_secs_f64();
            let mut code = None;
            let end = loop {
                match lines.recv_timeout(TO_END.saturating_sub(begin.elapsed())) {
                    Ok(line) => match line.strip_prefix(END) {
                        Some(said) => code = Some(said.to_owned()),
                        None => told(&line),
                    },
                    Err(end) => break end,
                }
            };
            let fault = unfinished(code.as_deref(), end).map(|why| self.fault(&why));
            return Ok(MachineEnd { release, boots, booted, seconds: begin.elapsed().as_secs_f64(), fault });
        }
        let seconds = started.elapsed().as_secs_f64();
        let fault = Some(self.fault(&format!("its first process never ran, of {BOOTS} boots")));
        Ok(MachineEnd { release: String::new(), boots: BOOTS, booted: seconds, seconds, fault })
    }

    /// Why it failed, with what the kernel and qemu said last.
    fn fault(&self, why: &str) -> String {
        format!("{why}; it said last:\n{}", self.last_lines())
    }

    /// What qemu itself says.
    fn complaints(&self) -> PathBuf {
        self.console.with_extension("qemu")
    }

    fn start(&self, accelerator: Accelerator) -> Result<Emulator> {
        let complaints = self.complaints();
        let complaints =
            fs::File::create(&complaints).with_context(|| format!("cannot write {}", complaints.display()))?;
        // It ends with this command, whatever happens.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--", "qemu-system-x86_64"]).args(accelerator.words());
        command.args(["-smp", &self.processors.to_string(), "-m", &MEMORY.to_string()]);
        command.args(["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-monitor", "none"]);
        command.arg("-serial").arg(format!("file:{}", self.console.display()));
        command.args(["-serial", "stdio"]);
        command.arg("-kernel").arg(&self.kernel).arg("-initrd").arg(&self.system);
        command.args(["-append", COMMAND_LINE]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(complaints);
        let child = command.spawn().context("cannot run setpriv; `cargo xtask setup` installs it")?;
        Ok(Emulator(child))
    }

    /// What the kernel and qemu said last.
    fn last_lines(&self) -> String {
        let said = [&self.console, &self.complaints()].map(|path| fs::read(path).unwrap_or_default());
        let said = said.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).join("\n");
        let lines: Vec<&str> = said.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

/// What its first process says first: the kernel's name. None if it is not there in time.
fn first(lines: &Receiver<String>, begin: Instant) -> Option<String> {
    loop {
        let line = lines.recv_timeout(TO_INIT.saturating_sub(begin.elapsed())).ok()?;
        if let Some(release) = line.strip_prefix(INIT) {
            return Some(release.to_owned());
        }
    }
}

/// Why scenarios were not all tried, if they were not. They end with 0 if all are right and with 1 if some are not; other codes
/// are of a program that could not start, or was killed, which may have said nothing at all.
fn unfinished(code: Option<&str>, end: RecvTimeoutError) -> Option<String> {
    match (code, end) {
        (Some("0" | "1"), _) => None,
        (Some(code), _) => Some(format!("its scenarios ended with the exit code {code}")),
        (None, RecvTimeoutError::Disconnected) => Some("it ended before its scenarios did".to_owned()),
        (None, RecvTimeoutError::Timeout) => {
            Some(format!("its scenarios did not end within {} minutes", TO_END.as_secs() / 60))
        }
    }
}

/// A running qemu, which is killed when it is dropped.
struct Emulator(Child);

impl Emulator {
    fn lines(&mut self) -> Result<Receiver<String>> {
        let output = self.0.stdout.take().context("qemu has no output")?;
        let (to, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).trim_end_matches('\r').to_owned();
                if to.send(line).is_err() {
                    break;
                }
            }
        });
        Ok(lines)
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        let _already_ended = self.0.kill().is_err() || self.0.wait().is_err();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scenarios_that_were_not_tried_are_a_fault() {
        for code in ["0", "1"] {
            assert_eq!(unfinished(Some(code), RecvTimeoutError::Disconnected), None);
        }
        // Usage, a panic, not found, killed.
        for code in ["2", "101", "127", "137", ""] {
            assert!(unfinished(Some(code), RecvTimeoutError::Disconnected).is_some(), "{code}");
        }
        for end in [RecvTimeoutError::Disconnected, RecvTimeoutError::Timeout] {
            assert!(unfinished(None, end).is_some(), "{end}");
        }
    }
}
