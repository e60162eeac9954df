//! Fuzz target: whatever is accepted compiles without a panic, into slots that add up.
#![no_main]

// The very bodies that a slice of each test run is done with.
#[allow(dead_code, reason = "each target has a body of its own")]
#[path = "../../tcpshift-agent/tests/fuzz_slice/bodies.rs"]
mod bodies;

libfuzzer_sys::fuzz_target!(|text: &str| {
    bodies::compiles(text);
});
