//! The bpf(2) calls that aya lacks, and counters as memory (`words`). Only here is `unsafe` code of the agent.
//!
//! Commands and fields are those of `include/uapi/linux/bpf.h`; each struct here is the part of `union bpf_attr` that its
//! command reads. It must not know what maps are for.
#![allow(unsafe_code, reason = "system calls that no library offers, each behind a safe function")]

mod programs;
mod words;

use std::ffi::CString;
use std::io;
use std::marker::PhantomData;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use tcpshift_common::layout::{
    AddressKey, AddressPort, AgentRow, ConnectionRow, CountRow, DestinationRow, EndpointRow, HashRow, ListenerRow,
    ListeningKey, PlanRow, Question, RouteRow, SlotTable, SocketRow, SumRow,
};
use tcpshift_common::listener::RuleRow;

pub(super) use self::programs::{ProgramToLoad, load_program};
pub(super) use self::words::MappedWords;

const MAP_CREATE: u32 = 0;
const MAP_LOOKUP_ELEM: u32 = 1;
const MAP_UPDATE_ELEM: u32 = 2;
const MAP_DELETE_ELEM: u32 = 3;
const MAP_GET_NEXT_KEY: u32 = 4;
const OBJ_PIN: u32 = 6;
const OBJ_GET: u32 = 7;
const OBJ_GET_INFO_BY_FD: u32 = 15;
const BTF_GET_FD_BY_ID: u32 = 19;
const MAP_FREEZE: u32 = 22;
const MAP_UPDATE_BATCH: u32 = 26;
const LINK_CREATE: u32 = 28;
const LINK_UPDATE: u32 = 29;
const LINK_DETACH: u32 = 34;

/// `BPF_NOEXIST`
const NO_EXIST: u64 = 1;

/// Where programs are attached, of `enum bpf_attach_type`.
pub(super) mod hook {
    /// `BPF_CGROUP_SOCK_OPS`
    pub(in super::super) const SOCK_OPS: u32 = 3;
    /// `BPF_CGROUP_INET4_CONNECT`
    pub(in super::super) const CONNECT4: u32 = 10;
    /// `BPF_CGROUP_INET6_CONNECT`
    pub(in super::super) const CONNECT6: u32 = 11;
    /// `BPF_CGROUP_INET4_GETPEERNAME`
    pub(in super::super) const GETPEERNAME4: u32 = 29;
    /// `BPF_CGROUP_INET6_GETPEERNAME`
    pub(in super::super) const GETPEERNAME6: u32 = 30;
    /// `BPF_SK_LOOKUP`
    pub(in super::super) const SK_LOOKUP: u32 = 36;
}

/// `BPF_LINK_TYPE_CGROUP` of `enum bpf_link_type`.
const LINK_TYPE_CGROUP: u32 = 3;
/// What may be the row of a map: plain bytes.
///
/// # Safety
///
/// Any bytes must be a value, and a value must have no padding.
pub(super) unsafe trait MapRow: Copy + 'static {}

macro_rules! rows {
    ($($row:ty),*) => {
        // SAFETY: Numbers and arrays of numbers; `layout` asserts that they have no padding.
        $(unsafe impl MapRow for $row {})*
    };
}
rows!(
    AddressKey,
    AgentRow,
    ConnectionRow,
    CountRow,
    DestinationRow,
    AddressPort,
    EndpointRow,
    HashRow,
    ListenerRow,
    ListeningKey,
    PlanRow,
    Question,
    RouteRow,
    RuleRow,
    SlotTable,
    SocketRow,
    SumRow,
    u32,
    i32,
    u64
);

/// What a map is, as the kernel says it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct MapInfo {
    /// Bytes of a key.
    pub(super) key: u32,
    /// Bytes of a value.
    pub(super) value: u32,
    /// Rows, at most.
    pub(super) entries: u32,
    /// The number of its types.
    pub(super) btf: u32,
    /// One of [`map_type`], or another.
    pub(super) kind: u32,
    flags: u32,
    name: [u8; 16],
    key_type: u32,
    value_type: u32,
}

/// Kinds of maps, of `enum bpf_map_type`.
pub(super) mod map_type {
    /// `BPF_MAP_TYPE_ARRAY`
    pub(in super::super) const ARRAY: u32 = 2;
    /// `BPF_MAP_TYPE_SK_STORAGE`
    pub(in super::super) const SK_STORAGE: u32 = 24;
}

/// Calls bpf(2).
///
/// # Safety
///
/// Every pointer in `attributes` must be what the command expects of it, for as long as the call lasts.
unsafe fn bpf<T>(command: u32, attributes: &mut T) -> io::Result<RawFd> {
    // SAFETY: The kernel reads and writes no more than the size that it is told.
    let done = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attributes), size_of::<T>()) };
    match RawFd::try_from(done) {
        Ok(done) if done >= 0 => Ok(done),
        _ => Err(io::Error::last_os_error()),
    }
}

/// As [`bpf`], for commands that give a descriptor.
///
/// # Safety
///
/// As of [`bpf`].
unsafe fn bpf_fd<T>(command: u32, attributes: &mut T) -> io::Result<OwnedFd> {
    // SAFETY: The caller's, and the kernel gives a new descriptor that nobody else has.
    unsafe { bpf(command, attributes).map(|fd| OwnedFd::from_raw_fd(fd)) }
}

fn address<T: ?Sized>(value: &T) -> u64 {
    std::ptr::from_ref(value).cast::<u8>() as u64
}

fn number(fd: BorrowedFd<'_>) -> u32 {
    fd.as_raw_fd() as u32
}

/// A row as it is in memory.
pub(super) fn bytes<R: MapRow>(row: &R) -> &[u8] {
    // SAFETY: A row has no padding, and the bytes live as long as it does.
    unsafe { std::slice::from_raw_parts(std::ptr::from_ref(row).cast(), size_of::<R>()) }
}

/// The row at the beginning of what may not be aligned; none if there is too little.
pub(super) fn row<R: MapRow>(bytes: &[u8]) -> Option<R> {
    // SAFETY: There are as many bytes, and any are a row.
    (bytes.len() >= size_of::<R>()).then(|| unsafe { bytes.as_ptr().cast::<R>().read_unaligned() })
}

/// What the kernel says of a map.
pub(super) fn map_info(map: BorrowedFd<'_>) -> io::Result<MapInfo> {
    /// The head of `struct bpf_map_info`.
    #[repr(C)]
    #[derive(Default)]
    struct Info {
        kind: u32,
        id: u32,
        key: u32,
        value: u32,
        entries: u32,
        flags: u32,
        name: [u8; 16],
        interface: u32,
        vmlinux_value_type: u32,
        device: u64,
        inode: u64,
        btf: u32,
        key_type: u32,
        value_type: u32,
        vmlinux: u32,
    }
    let mut info = Info::default();
    object_info(map, &mut info)?;
    let Info { kind, key, value, entries, flags, name, btf, key_type, value_type, .. } = info;
    Ok(MapInfo { key, value, entries, btf, kind, flags, name, key_type, value_type })
}

/// The number of the cgroup that a link attaches its `sock_ops` program to; an error for any other link.
pub(super) fn link_cgroup(link: BorrowedFd<'_>) -> io::Result<u64> {
    /// The head of `struct bpf_link_info`, as of a cgroup link.
    #[repr(C)]
    #[derive(Default)]
    struct Info {
        kind: u32,
        id: u32,
        program: u32,
        reserved: u32,
        cgroup: u64,
        attach_type: u32,
        more: u32,
    }
    let mut info = Info::default();
    object_info(link, &mut info)?;
    if info.kind != LINK_TYPE_CGROUP || info.attach_type != hook::SOCK_OPS {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is no link of a sock_ops program to a cgroup"));
    }
    Ok(info.cgroup)
}

fn object_info<T>(object: BorrowedFd<'_>, info: &mut T) -> io::Result<()> {
    #[repr(C)]
    struct Attributes {
        fd: u32,
        length: u32,
        info: u64,
    }
    let info = std::ptr::from_mut(info) as u64;
    let mut attributes = Attributes { fd: number(object), length: size_of::<T>() as u32, info };
    // SAFETY: The kernel writes no more than `length` bytes there, and the structs that are handed in are numbers.
    unsafe { bpf(OBJ_GET_INFO_BY_FD, &mut attributes) }.map(drop)
}

/// Opens the types that a map was made with. Needs `CAP_SYS_ADMIN`.
pub(super) fn types(btf: u32) -> io::Result<OwnedFd> {
    let mut attributes = [btf, 0, 0];
    // SAFETY: No pointers.
    unsafe { bpf_fd(BTF_GET_FD_BY_ID, &mut attributes) }
}

/// Makes a map like another one, but for the number of its rows.
pub(super) fn create_like(like: &MapInfo, types: BorrowedFd<'_>, entries: u32) -> io::Result<OwnedFd> {
    #[repr(C)]
    struct Attributes {
        kind: u32,
        key: u32,
        value: u32,
        entries: u32,
        flags: u32,
        inner_map: u32,
        numa_node: u32,
        name: [u8; 16],
        device: u32,
        types: u32,
        key_type: u32,
        value_type: u32,
    }
    let MapInfo { kind, key, value, flags, name, key_type, value_type, .. } = *like;
    let mut attributes = Attributes {
        kind,
        key,
        value,
        entries,
        flags,
        inner_map: 0,
        numa_node: 0,
        name,
        device: 0,
        types: number(types),
        key_type,
        value_type,
    };
    // SAFETY: No pointers.
    unsafe { bpf_fd(MAP_CREATE, &mut attributes) }
}

/// What commands for one row read.
#[repr(C)]
struct Element {
    map: u32,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// A map whose rows are of known types.
#[derive(Debug)]
pub(super) struct Map<K, V> {
    fd: OwnedFd,
    rows: PhantomData<(K, V)>,
}

impl<K: MapRow, V: MapRow> Map<K, V> {
    /// Takes a descriptor for a map of these rows. Fails if its rows have another size.
    pub(super) fn new(fd: OwnedFd) -> io::Result<Self> {
        let info = map_info(fd.as_fd())?;
        if info.key as usize != size_of::<K>() || info.value as usize != size_of::<V>() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the rows of the map have another size"));
        }
        Ok(Self { fd, rows: PhantomData })
    }

    /// Writes a row.
    pub(super) fn set(&self, key: &K, value: &V) -> io::Result<()> {
        self.update(key, value, 0)
    }

    /// Writes a row that is not there. Fails with `AlreadyExists` if it is.
    pub(super) fn add(&self, key: &K, value: &V) -> io::Result<()> {
        self.update(key, value, NO_EXIST)
    }

    fn update(&self, key: &K, value: &V, flags: u64) -> io::Result<()> {
        let (key, value) = (address(key), address(value));
        let mut attributes = Element { map: number(self.as_fd()), padding: 0, key, value, flags };
        // SAFETY: The kernel reads a key and a value of the sizes that were checked.
        unsafe { bpf(MAP_UPDATE_ELEM, &mut attributes) }.map(drop)
    }

    /// Removes a row. That there is none is no error.
    pub(super) fn remove(&self, key: &K) -> io::Result<()> {
        let mut attributes = Element { map: number(self.as_fd()), padding: 0, key: address(key), value: 0, flags: 0 };
        // SAFETY: The kernel reads a key of the size that was checked.
        match unsafe { bpf(MAP_DELETE_ELEM, &mut attributes) } {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// The key after another, or the first one; none after the last. One that is gone has the first after it.
    pub(super) fn next_key(&self, last: Option<&K>) -> io::Result<Option<K>> {
        // SAFETY: Any bytes are a row, zeros too.
        let mut next: K = unsafe { std::mem::zeroed() };
        let (key, value) = (last.map_or(0, address), std::ptr::from_mut(&mut next) as u64);
        let mut attributes = Element { map: number(self.as_fd()), padding: 0, key, value, flags: 0 };
        // SAFETY: The kernel reads a key, if there is one, and writes a key, both of the size that was checked.
        match unsafe { bpf(MAP_GET_NEXT_KEY, &mut attributes) } {
            Ok(_) => Ok(Some(next)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Reads a row.
    pub(super) fn get(&self, key: &K) -> io::Result<V> {
        // SAFETY: Any bytes are a row, zeros too.
        let mut row: V = unsafe { std::mem::zeroed() };
        let value = std::ptr::from_mut(&mut row) as u64;
        let mut attributes = Element { map: number(self.as_fd()), padding: 0, key: address(key), value, flags: 0 };
        // SAFETY: The kernel reads a key and writes a value of the sizes that were checked.
        unsafe { bpf(MAP_LOOKUP_ELEM, &mut attributes) }?;
        Ok(row)
    }

    /// Reads a row that each processor has for itself, of all that are possible.
    pub(super) fn get_each(&self, key: &K, processors: usize) -> io::Result<Vec<V>> {
        // The kernel writes cells of eight bytes; a row that does not fill them would not stand where it is read.
        if !size_of::<V>().is_multiple_of(8) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the row is no multiple of eight bytes"));
        }
        // SAFETY: Any bytes are a row, zeros too.
        let mut rows: Vec<V> = vec![unsafe { std::mem::zeroed() }; processors];
        let value = rows.as_mut_ptr() as u64;
        let mut attributes = Element { map: number(self.as_fd()), padding: 0, key: address(key), value, flags: 0 };
        // SAFETY: The kernel writes a value for each possible processor, and there is room for as many.
        unsafe { bpf(MAP_LOOKUP_ELEM, &mut attributes) }?;
        Ok(rows)
    }

    /// Writes many rows in one call: as many as there are keys and values of.
    pub(super) fn set_all(&self, keys: &[K], values: &[V]) -> io::Result<()> {
        #[repr(C)]
        struct Attributes {
            in_batch: u64,
            out_batch: u64,
            keys: u64,
            values: u64,
            count: u32,
            map: u32,
            element_flags: u64,
            flags: u64,
        }
        let count = keys.len().min(values.len()) as u32;
        if count == 0 {
            return Ok(());
        }
        let mut attributes = Attributes {
            in_batch: 0,
            out_batch: 0,
            keys: address(keys),
            values: address(values),
            count,
            map: number(self.as_fd()),
            element_flags: 0,
            flags: 0,
        };
        // SAFETY: The kernel reads `count` keys and values of the sizes that were checked.
        unsafe { bpf(MAP_UPDATE_BATCH, &mut attributes) }?;
        if attributes.count == count { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
    }
}

impl<K, V> AsFd for Map<K, V> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Forbids that anybody but programs writes to a map.
pub(super) fn freeze(map: BorrowedFd<'_>) -> io::Result<()> {
    let mut attributes = [number(map)];
    // SAFETY: No pointers.
    unsafe { bpf(MAP_FREEZE, &mut attributes) }.map(drop)
}

/// What commands for a name in a bpf filesystem read.
#[repr(C)]
struct Pin {
    path: u64,
    fd: u32,
    flags: u32,
}

/// Gives an object a name in a bpf filesystem, which keeps it alive.
pub(super) fn pin(object: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut attributes = Pin { path: path.as_ptr() as u64, fd: number(object), flags: 0 };
    // SAFETY: The path ends with a zero and lives until the call is over.
    unsafe { bpf(OBJ_PIN, &mut attributes) }.map(drop)
}

/// Opens what has a name in a bpf filesystem.
pub(super) fn pinned(path: &Path) -> io::Result<OwnedFd> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut attributes = Pin { path: path.as_ptr() as u64, fd: 0, flags: 0 };
    // SAFETY: The path ends with a zero and lives until the call is over.
    unsafe { bpf_fd(OBJ_GET, &mut attributes) }
}

/// Attaches a program to a cgroup or a network namespace at one of [`hook`], for as long as the link lives.
pub(super) fn attach(program: BorrowedFd<'_>, target: BorrowedFd<'_>, hook: u32) -> io::Result<OwnedFd> {
    let mut attributes = [number(program), number(target), hook, 0];
    // SAFETY: No pointers.
    unsafe { bpf_fd(LINK_CREATE, &mut attributes) }
}

/// Puts another program in the place of a link's, in one step.
pub(super) fn replace(link: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    let mut attributes = [number(link), number(program), 0, 0];
    // SAFETY: No pointers.
    unsafe { bpf(LINK_UPDATE, &mut attributes) }.map(drop)
}

/// Detaches a link, whoever has it open.
pub(super) fn detach(link: BorrowedFd<'_>) -> io::Result<()> {
    let mut attributes = [number(link)];
    // SAFETY: No pointers.
    unsafe { bpf(LINK_DETACH, &mut attributes) }.map(drop)
}

/// The cookie of a socket's network namespace.
pub(super) fn netns_cookie(socket: BorrowedFd<'_>) -> io::Result<u64> {
    let (mut cookie, mut length) = (0_u64, size_of::<u64>() as libc::socklen_t);
    let value = std::ptr::from_mut(&mut cookie).cast();
    // SAFETY: The kernel writes no more than `length` bytes there.
    let done = unsafe {
        libc::getsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_NETNS_COOKIE, value, &raw mut length)
    };
    if done == 0 { Ok(cookie) } else { Err(io::Error::last_os_error()) }
}
