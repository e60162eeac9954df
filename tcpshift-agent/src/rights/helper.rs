//! The helper as a process: what it gives up and takes on before it answers, and its threads.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::process::{
    DumpableBehavior, Pid, Resource, Rlimit, Signal, WaitOptions, chdir, getpid, getppid, set_dumpable_behavior,
    set_parent_process_death_signal, setrlimit, waitpid,
};

use super::message::{WORDS, receive, send};
use super::{DEADLINE, Duty, serve, sys};
use crate::trust::rights;

/// The name that `ps` and `top` show; the kernel keeps 15 bytes.
const NAME: &std::ffi::CStr = c"tcpshift-rights";

/// What the helper ends with where it cannot begin; otherwise with the number of an error.
const PANICKED: i32 = 255;

/// Forks the helper, with a channel for each of these duties. Returns when it answers, and has no other right.
pub(super) fn start(duties: &[Duty]) -> io::Result<(Pid, Vec<OwnedFd>)> {
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in duties {
        let (our, their) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        ours.push(our);
        theirs.push(their);
    }
    let agent = getpid();
    let Some(helper) = sys::fork()? else {
        let done = catch_unwind(AssertUnwindSafe(|| be(agent, duties, theirs)));
        sys::exit(match done {
            Ok(Ok(())) => 0,
            Ok(Err(error)) => Errno::from_io_error(&error).map_or(PANICKED, Errno::raw_os_error),
            Err(_) => PANICKED,
        });
    };
    drop(theirs);
    for channel in &ours {
        // Each thread says a word when it has no other right any more.
        match receive(channel, Some(DEADLINE)) {
            Ok(Some(_)) => {}
            Ok(None) => return Err(why_it_ended(helper)),
            Err(error) => return Err(error),
        }
    }
    Ok((helper, ours))
}

fn why_it_ended(helper: Pid) -> io::Error {
    match waitpid(Some(helper), WaitOptions::empty()) {
        Ok(Some((_, status))) => match status.exit_status() {
            Some(code @ 1..PANICKED) => io::Error::from_raw_os_error(code),
            _ => io::Error::other(format!("it has ended at once ({status:?})")),
        },
        _ => io::Error::other("it has ended at once"),
    }
}

/// Is the helper of an agent, until that closes all channels or ends.
fn be(agent: Pid, duties: &[Duty], channels: Vec<OwnedFd>) -> io::Result<()> {
    rustix::thread::set_name(NAME)?;
    sys::ignore_signals()?;
    // Panics would be written where the agent's standard error was.
    std::panic::set_hook(Box::new(|_| {}));
    sys::close_others(&channels)?;
    chdir("/")?;
    // No other process of the user may look into it, and what it has in memory is never written to a file.
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    // Before Linux 5.11 maps are counted against this limit (`bpf_map_charge_init`, 5.10,
    // <https://elixir.bootlin.com/linux/v5.10/source/kernel/bpf/syscall.c>). It takes a right that may be missing.
    setrlimit(Resource::Memlock, Rlimit { current: None, maximum: None }).ok();
    let mut all: Vec<(Duty, OwnedFd)> = duties.iter().copied().zip(channels).collect();
    let Some((last, channel)) = all.pop() else { return Ok(()) };
    // The bounding set belongs to a thread too, so each thread begins with all rights and gives up the others itself.
    let mut threads = Vec::new();
    for (duty, channel) in all {
        let body = move || {
            if begin(duty, &channel).is_ok() {
                serve::serve(duty, channel.as_fd());
            }
        };
        threads.push(thread::Builder::new().name(format!("rights-{}", duty.name())).spawn(body)?);
    }
    rights::keep(last.capabilities())?;
    // Giving up rights could take this back (`commit_creds`, 6.18,
    // <https://elixir.bootlin.com/linux/v6.18/source/kernel/cred.c>), so it comes after.
    set_parent_process_death_signal(Some(Signal::KILL))?;
    if getppid() != Some(agent) {
        return Ok(());
    }
    send(&channel, &[0; WORDS], &[])?;
    serve::serve(last, channel.as_fd());
    drop(channel);
    // The agent may have no use for this duty, and go on with others.
    for thread in threads {
        // One that has ended by a panic has closed its channel.
        thread.join().ok();
    }
    Ok(())
}

fn begin(duty: Duty, channel: &OwnedFd) -> io::Result<()> {
    rights::keep(duty.capabilities())?;
    send(channel, &[0; WORDS], &[])
}
