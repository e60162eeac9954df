//! What is known of sockets whose connections are steered: where it is kept.
//!
//! A row has the place that the cookie of its socket has in `cookies`. Finding one costs next to nothing: no key is hashed,
//! nothing is allocated, and since cookies count up, rows that are made one after the other are neighbours. Whose place is
//! taken has its row in storage of the socket, which costs more, and is there for any number. It must not know what rows
//! mean.

use core::intrinsics::{AtomicOrdering, atomic_cxchg};
use core::ptr::{read_volatile, write_volatile};

use aya_ebpf::bindings::bpf_sock;
use tcpshift_common::layout::{COOKIES, ConnectionRow, CookieRow, stage};

use crate::maps::{CONNECTIONS, PLACES};

/// How many cookies later somebody may have the place of a socket that was pointed at an endpoint and has sent no SYN: it is
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

    /// The place that it may have, and who has it; 0 if nobody.
    #[inline(always)]
    fn place(self) -> Option<(*mut CookieRow, u64)> {
        let place = PLACES.get_ptr_mut((self.cookie % u64::from(COOKIES)) as u32)?;
        // SAFETY: A word in the row of a map, which is written whole.
        Some((place, unsafe { read_volatile(&raw const (*place).cookie) }))
    }

    /// Its place, if it has one.
    #[inline(always)]
    fn own_place(self) -> Option<*mut CookieRow> {
        self.place().and_then(|(place, holder)| (holder == self.cookie).then_some(place))
    }

    /// What is known of it, if anything is.
    #[inline(always)]
    pub(crate) fn get<'a>(self) -> Option<&'a mut ConnectionRow> {
        match self.own_place() {
            // SAFETY: The row of a map stays while the program runs, and is this socket's, which is locked.
            Some(place) => Some(unsafe { &mut (*place).row }),
            None if self.pointer.is_null() => None,
            // SAFETY: The context gave the socket.
            None => unsafe { CONNECTIONS.get(self.pointer) },
        }
    }

    /// Keeps what is known of it, in the place of what there is.
    #[inline(always)]
    pub(crate) fn set(self, row: &ConnectionRow) {
        if let Some((place, holder)) = self.place()
            && (holder == self.cookie || self.takes(place, holder))
        {
            // SAFETY: The row of a map, which this socket has alone.
            unsafe { (*place).row = *row };
        } else if !self.pointer.is_null() {
            // SAFETY: The context gave the socket.
            unsafe { CONNECTIONS.set(self.pointer, row) };
        }
    }

    /// Takes a place that is free, or that was left.
    #[inline(always)]
    fn takes(self, place: *mut CookieRow, holder: u64) -> bool {
        // SAFETY: Words in the row of a map, which are aligned and written whole.
        unsafe {
            let is_left = || {
                self.cookie > holder
                    && self.cookie - holder >= LEFT
                    && read_volatile(&raw const (*place).row.stage) == stage::STEERED
            };
            (holder == 0 || is_left())
                && atomic_cxchg::<u64, { AtomicOrdering::SeqCst }, { AtomicOrdering::SeqCst }>(
                    &raw mut (*place).cookie,
                    holder,
                    self.cookie,
                )
                .1
        }
    }

    /// Gives up its place, if it has one.
    #[inline(always)]
    pub(crate) fn leave(self) {
        if let Some(place) = self.own_place() {
            // SAFETY: A word in the row of a map, which this socket has alone.
            unsafe { write_volatile(&raw mut (*place).cookie, 0) };
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
