//! The clock that all processes of a measurement share, and the processor time of this one.

use rustix::time::{ClockId, Timespec, clock_gettime};

/// Nanoseconds of the monotonic clock; the same in every process of the machine.
pub fn now() -> u64 {
    nanoseconds(clock_gettime(ClockId::Monotonic))
}

/// Nanoseconds that this process has spent on a processor.
pub fn processor() -> u64 {
    nanoseconds(clock_gettime(ClockId::ProcessCPUTime))
}

/// Seconds as nanoseconds.
pub fn from_seconds(seconds: f64) -> u64 {
    (seconds * 1e9) as u64
}

fn nanoseconds(time: Timespec) -> u64 {
    // Both clocks count from 0 and never show a negative time.
    (time.tv_sec as u64) * 1_000_000_000 + time.tv_nsec as u64
}
