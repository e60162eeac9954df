//! The logging room: writes log lines, panics and the last error of an agent, and never waits for a reader.
//!
//! Standard error may be a full pipe that nobody reads, or a terminal that is stopped. So an agent puts its lines into a
//! queue, and one thread writes them. A full queue drops lines and counts them. `O_NONBLOCK` would be simpler and is wrong:
//! it belongs to the file description, which a shell and other processes share. Commands other than `run` write without
//! the queue, since a person or a program waits for each of their lines.

mod queue;
mod writer;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use std::{env, panic, thread};

use env_logger::{Builder, Env, Target, WriteStyle};

use queue::{Lines, Queue};

use crate::trust::text;

/// How long an agent that ends waits for its last lines to be written.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// The queue of this process; none unless it is an agent.
static QUEUE: OnceLock<Arc<Queue>> = OnceLock::new();

/// Writes the lines that are left in the queue when it is dropped, for a second at most.
#[derive(Debug)]
#[must_use = "lines that are still in the queue are written when it is dropped"]
pub struct Log(());

impl Drop for Log {
    fn drop(&mut self) {
        if let Some(queue) = QUEUE.get() {
            queue.wait_until_empty(LAST_WORDS);
        }
    }
}

/// Begins to log to standard error; each line is written before the call returns. `RUST_LOG` overrides `level`.
pub fn direct(level: &str) {
    builder(level).init();
}

/// Begins to log to standard error through the queue, with panics and the lines of [`say`]. Errors: the thread cannot be started.
pub fn queued(level: &str) -> io::Result<Log> {
    let queue = Arc::<Queue>::default();
    writer::start(Arc::clone(&queue))?;
    QUEUE.get_or_init(|| Arc::clone(&queue));
    let hook = Arc::clone(&queue);
    panic::set_hook(Box::new(move |info| hook.push(&last_words(info))));
    let mut builder = builder(level);
    if env::var_os("RUST_LOG_STYLE").is_none_or(|style| style == "auto") {
        // The logger writes to the queue, so it cannot see whether standard error is a terminal.
        builder.write_style(if wants_colour() { WriteStyle::Always } else { WriteStyle::Never });
    }
    builder.target(Target::Pipe(Box::new(Lines(queue)))).init();
    Ok(Log(()))
}

/// Puts a line into the queue. Returns false if this process has no queue; the caller then writes the line.
pub fn say(line: &str) -> bool {
    QUEUE.get().map(|queue| queue.push(format!("{line}\n").as_bytes())).is_some()
}

/// Lines dropped so far, because standard error was not read.
pub fn lost() -> u64 {
    QUEUE.get().map_or(0, |queue| queue.lost())
}

/// Formats a line like `env_logger`. Control characters are replaced, since messages hold names that others chose, and lines
/// after a line break are indented, so that no part of a message looks like a line of the log.
fn builder(level: &str) -> Builder {
    let mut builder = Builder::from_env(Env::default().default_filter_or(level.to_owned()));
    builder.format(|line, record| {
        let (level, time) = (record.level(), line.timestamp_seconds());
        let style = line.default_level_style(level);
        let message = text::clean(&record.args().to_string()).replace('\n', "\n    ");
        writeln!(line, "[{time} {style}{level:<5}{style:#} {}] {message}", record.target())
    });
    builder
}

fn wants_colour() -> bool {
    io::stderr().is_terminal()
        && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        && env::var_os("TERM").is_none_or(|value| value != "dumb")
}

/// The message of a panic as Rust's own hook prints it, which would wait for standard error.
fn last_words(info: &panic::PanicHookInfo<'_>) -> Vec<u8> {
    let thread = thread::current();
    let backtrace = Backtrace::capture();
    let way = match backtrace.status() {
        BacktraceStatus::Captured => format!("stack backtrace:\n{backtrace}"),
        _ => "note: RUST_BACKTRACE=1 in the environment adds a backtrace".to_owned(),
    };
    format!("thread '{}' {info}\n{way}\n", thread.name().unwrap_or("unnamed")).into_bytes()
}
