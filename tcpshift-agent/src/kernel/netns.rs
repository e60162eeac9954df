//! The cookie of this network namespace, by which programs know it.
//!
//! The kernel tells it of a socket from Linux 5.14 on. Programs in connect(2) may ask for it since 5.7: before 5.14 one is attached
//! for a moment to the cgroup of this process, and writes the cookie down when this process connects.

use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};

use anyhow::{Context, Result};
use aya_obj::generated::bpf_prog_type;
use nix::sys::socket::{AddressFamily, SockFlag, SockType};
use rustix::io::Errno;

use super::cgroup::Cgroup;
use super::features::instruction;
use super::sys::{self, Map, ProgramToLoad, code, hook};

/// The cookie of this network namespace (`SO_NETNS_COOKIE`, else by a program).
pub(super) fn cookie() -> Result<u64> {
    let socket = nix::sys::socket::socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)
        .context("cannot open a socket")?;
    match sys::netns_cookie(socket.as_fd()) {
        Err(error) if Errno::from_io_error(&error) == Some(Errno::NOPROTOOPT) => by_program(),
        told => told,
    }
    .context("the kernel tells no cookie of this network namespace, as Linux does from 5.7 on")
}

fn by_program() -> std::io::Result<u64> {
    let map: Map<u32, u64> = Map::new(sys::create_words(1)?)?;
    let process = std::process::id().cast_signed();
    let skip = 5;
    let instructions = [
        // Of other processes of the cgroup nothing is written.
        instruction(code::COPY, 6, 1, 0, 0),
        instruction(code::CALL, 0, 0, 0, 14),
        instruction(code::SHIFT_RIGHT, 0, 0, 0, 32),
        instruction(code::SKIP_UNLESS, 0, 0, skip, process),
        instruction(code::COPY, 1, 6, 0, 0),
        instruction(code::CALL, 0, 0, 0, 122),
        instruction(code::ADDRESS, 1, code::ROW, 0, map.as_fd().as_raw_fd()),
        instruction(0, 0, 0, 0, 0),
        instruction(code::STORE, 1, 0, 0, 0),
        instruction(code::MOVE, 0, 0, 0, 1),
        instruction(code::EXIT, 0, 0, 0, 0),
    ];
    let program = ProgramToLoad {
        kind: bpf_prog_type::BPF_PROG_TYPE_CGROUP_SOCK_ADDR as u32,
        hook: hook::CONNECT4,
        name: "netns",
        instructions: &instructions,
        license: c"GPL",
        types: None,
        functions: (&[], 0),
        lines: (&[], 0),
    };
    let program = sys::load_program(&program, 0, &mut [])?;
    let cgroup = Cgroup::own().map_err(std::io::Error::other)?;
    let link = sys::attach(program.as_fd(), cgroup.as_fd(), hook::CONNECT4)?;
    // Nothing is sent.
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.connect((Ipv4Addr::LOCALHOST, 1)).ok();
    drop(link);
    match map.get(&0)? {
        0 => Err(std::io::Error::other("a program in connect(2) has written none")),
        cookie => Ok(cookie),
    }
}
