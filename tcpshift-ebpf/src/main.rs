//! The kernel's part of tcpshift: one object with every program and every map. `cargo xtask build-ebpf` builds it.
//!
//! On any other target than BPF this is an empty program, so that it is no hindrance in the workspace. It knows
//! `tcpshift-common` and nothing of the agent.

#![cfg_attr(target_arch = "bpf", no_std, no_main)]
#![allow(unsafe_code, reason = "a kernel program is called from C, and reads what the kernel points it to")]

#[cfg(target_arch = "bpf")]
mod assign;
#[cfg(target_arch = "bpf")]
mod maps;

/// The kernel lends some of its functions only to programs under a licence that it knows.
#[cfg(target_arch = "bpf")]
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

/// Never called: the verifier refuses a program that could come here without an end.
#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[cfg(not(target_arch = "bpf"))]
fn main() {}
