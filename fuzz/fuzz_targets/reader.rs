//! Fuzz target: any text is read without a panic, what is accepted writes and reads back alike, and
//! `validate` says what it has to say.
#![no_main]

// The very bodies that a slice of each test run is done with.
#[allow(dead_code, reason = "each target has a body of its own")]
#[path = "../../tcpshift-agent/tests/fuzz_slice/bodies.rs"]
mod bodies;

libfuzzer_sys::fuzz_target!(|text: &str| {
    bodies::reader(text);
    bodies::validates(text);
});
