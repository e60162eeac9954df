//! What is known of sockets whose connections are steered: where it is kept.
//!
//! A row has the cell of `cookies` that the cookie of its socket says. Finding one costs next to nothing: no key is
//! hashed, nothing is allocated, and since cookies count up, rows that are made one after the other are neighbours.
//! A socket whose cell is taken has its row in storage of its own, which costs more, and is there for any number. So has every
//! socket on a kernel without atomic comparisons, by which cells are taken.

use core::ptr::{read_volatile, write_volatile};

use aya_ebpf::bindings::bpf_sock;
use tcpshift_common::layout::{COOKIES, ConnectionRow, CookieRow, stage};

use crate::kernel;
use crate::maps::{CONNECTIONS, COOKIE_ROWS};

/// How many cookies later another socket may take the cell of one that was pointed at an endpoint and has sent no SYN: it is
/// gone by then, since its connect(2) failed.
const LEFT: u64 = 64 * COOKIES as u64;

/// A socket, as a context gives it.
#[derive(Clone, Copy)]
pub(crate) struct SteeredSocket {
    pointer: *mut bpf_sock,
    cookie: u64,
}

impl SteeredSocket {
    /// # Safety
    ///
    /// The pointer must be one that the context of the program has given, or null; the cookie must be that socket's.
    #[inline(always)]
    pub(crate) unsafe fn new(pointer: *mut bpf_sock, cookie: u64) -> Self {
        Self { pointer, cookie }
    }

    /// The cell of its cookie, and the cookie of the socket that has the cell; 0 if none has.
    #[inline(always)]
    fn cell(self) -> Option<(*mut CookieRow, u64)> {
        let cell = COOKIE_ROWS.get_ptr_mut((self.cookie % u64::from(COOKIES)) as u32)?;
        // SAFETY: A word in the row of a map, which is written whole.
        Some((cell, unsafe { read_volatile(&raw const (*cell).cookie) }))
    }

    /// Its cell, if it has one.
    #[inline(always)]
    fn own_cell(self) -> Option<*mut CookieRow> {
        self.cell().and_then(|(cell, holder)| (holder == self.cookie).then_some(cell))
    }

    /// What is known of it, if anything is.
    #[inline(always)]
    pub(crate) fn get<'a>(self) -> Option<&'a mut ConnectionRow> {
        match self.own_cell() {
            // SAFETY: The row of a map stays while the program runs, and is this socket's, which is locked.
            Some(cell) => Some(unsafe { &mut (*cell).row }),
            None if self.pointer.is_null() => None,
            // SAFETY: The context gave the socket.
            None => unsafe { CONNECTIONS.get(self.pointer) },
        }
    }

    /// Keeps what is known of it, and replaces what there is.
    #[inline(always)]
    pub(crate) fn set(self, row: &ConnectionRow) {
        if let Some((cell, holder)) = self.cell()
            && (holder == self.cookie || self.takes(cell, holder))
        {
            // SAFETY: The row of a map, which this socket has alone.
            unsafe { (*cell).row = *row };
        } else if !self.pointer.is_null() {
            // SAFETY: The context gave the socket.
            unsafe { CONNECTIONS.set(self.pointer, row) };
        }
    }

    /// Takes a cell that is free, or whose socket is gone.
    #[inline(always)]
    fn takes(self, cell: *mut CookieRow, holder: u64) -> bool {
        // SAFETY: Words in the row of a map, which are aligned and written whole.
        unsafe {
            let is_left = || {
                self.cookie > holder
                    && self.cookie - holder >= LEFT
                    && read_volatile(&raw const (*cell).row.stage) == stage::STEERED
            };
            (holder == 0 || is_left()) && kernel::replace(&raw mut (*cell).cookie, holder, self.cookie)
        }
    }

    /// Gives up its cell, if it has one.
    #[inline(always)]
    pub(crate) fn leave(self) {
        if let Some(cell) = self.own_cell() {
            // SAFETY: A word in the row of a map, which this socket has alone.
            unsafe { write_volatile(&raw mut (*cell).cookie, 0) };
        }
    }

    /// Forgets all that is known of it.
    #[inline(always)]
    pub(crate) fn forget(self) {
        self.leave();
        if !self.pointer.is_null() {
            // SAFETY: The context gave the socket, and its row is not used afterwards.
            unsafe { CONNECTIONS.remove(self.pointer) };
        }
    }
}
