//! Maps: what the kernel says of one, how one is made, and reading and writing its rows.

use std::io;
use std::marker::PhantomData;
use std::mem::size_of;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::{MapRow, address, bpf, bpf_fd, number, object_info};
use crate::rights::{self, NewMap};

const MAP_CREATE: u32 = 0;
const MAP_LOOKUP_ELEM: u32 = 1;
const MAP_UPDATE_ELEM: u32 = 2;
const MAP_DELETE_ELEM: u32 = 3;
const MAP_GET_NEXT_KEY: u32 = 4;
const BTF_GET_FD_BY_ID: u32 = 19;
const MAP_UPDATE_BATCH: u32 = 26;

/// `ENOTSUPP`, which is the kernel's own (`include/linux/errno.h`): a kind of map takes no batch. Arrays of maps do from Linux
/// 5.19 on, tries from 5.12 (`bpf_map_do_batch`, 5.10, <https://elixir.bootlin.com/linux/v5.10/source/kernel/bpf/syscall.c>).
const NOT_SUPPORTED: i32 = 524;

/// `BPF_NOEXIST`
const NO_EXIST: u64 = 1;

/// What a map is, as the kernel says it.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::kernel) struct MapInfo {
    /// Bytes of a key.
    pub(in crate::kernel) key: u32,
    /// Bytes of a value.
    pub(in crate::kernel) value: u32,
    /// Rows, at most.
    pub(in crate::kernel) entries: u32,
    /// The number of its types.
    pub(in crate::kernel) btf: u32,
    /// One of [`map_type`], or another.
    pub(in crate::kernel) kind: u32,
    flags: u32,
    name: [u8; 16],
    key_type: u32,
    value_type: u32,
}

/// Kinds of maps, of `enum bpf_map_type`.
pub(in crate::kernel) mod map_type {
    /// `BPF_MAP_TYPE_ARRAY`
    pub(in crate::kernel) const ARRAY: u32 = 2;
    /// `BPF_MAP_TYPE_SK_STORAGE`
    pub(in crate::kernel) const SK_STORAGE: u32 = 24;
}

/// What the kernel says of a map.
pub(in crate::kernel) fn map_info(map: BorrowedFd<'_>) -> io::Result<MapInfo> {
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

/// Opens the types that a map was made with. Needs `CAP_SYS_ADMIN`.
pub(in crate::kernel) fn types(btf: u32) -> io::Result<OwnedFd> {
    let mut attributes = [btf, 0, 0];
    // SAFETY: No pointers.
    unsafe { bpf_fd(BTF_GET_FD_BY_ID, &mut attributes) }
}

/// Makes a map like another one, but for the number of its rows.
pub(in crate::kernel) fn create_like(like: &MapInfo, types: BorrowedFd<'_>, entries: u32) -> io::Result<OwnedFd> {
    let MapInfo { kind, key, value, flags, name, key_type, value_type, .. } = *like;
    rights::create_map(&NewMap { kind, key, value, entries, flags, name, key_type, value_type }, types)
}

/// Makes an array of words of eight bytes, without types.
pub(in crate::kernel) fn create_words(entries: u32) -> io::Result<OwnedFd> {
    let mut attributes = [map_type::ARRAY, 4, 8, entries, 0];
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
pub(in crate::kernel) struct Map<K, V> {
    fd: OwnedFd,
    rows: PhantomData<(K, V)>,
}

impl<K: MapRow, V: MapRow> Map<K, V> {
    /// Takes a descriptor for a map of these rows. Fails if its rows have another size.
    pub(in crate::kernel) fn new(fd: OwnedFd) -> io::Result<Self> {
        let info = map_info(fd.as_fd())?;
        if info.key as usize != size_of::<K>() || info.value as usize != size_of::<V>() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the rows of the map have another size"));
        }
        Ok(Self { fd, rows: PhantomData })
    }

    /// Writes a row.
    pub(in crate::kernel) fn set(&self, key: &K, value: &V) -> io::Result<()> {
        self.update(key, value, 0)
    }

    /// Writes a row that is not there. Fails with `AlreadyExists` if it is.
    pub(in crate::kernel) fn add(&self, key: &K, value: &V) -> io::Result<()> {
        self.update(key, value, NO_EXIST)
    }

    fn update(&self, key: &K, value: &V, flags: u64) -> io::Result<()> {
        let (key, value) = (address(key), address(value));
        let mut attributes = Element { map: number(self.as_fd()), padding: 0, key, value, flags };
        // SAFETY: The kernel reads a key and a value of the sizes that were checked.
        unsafe { bpf(MAP_UPDATE_ELEM, &mut attributes) }.map(drop)
    }

    /// Removes a row. That there is none is no error.
    pub(in crate::kernel) fn remove(&self, key: &K) -> io::Result<()> {
        let mut attributes = Element { map: number(self.as_fd()), padding: 0, key: address(key), value: 0, flags: 0 };
        // SAFETY: The kernel reads a key of the size that was checked.
        match unsafe { bpf(MAP_DELETE_ELEM, &mut attributes) } {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// The key after another, or the first one; none after the last. One that is gone has the first after it.
    pub(in crate::kernel) fn next_key(&self, last: Option<&K>) -> io::Result<Option<K>> {
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
    pub(in crate::kernel) fn get(&self, key: &K) -> io::Result<V> {
        // SAFETY: Any bytes are a row, zeros too.
        let mut row: V = unsafe { std::mem::zeroed() };
        let value = std::ptr::from_mut(&mut row) as u64;
        let mut attributes = Element { map: number(self.as_fd()), padding: 0, key: address(key), value, flags: 0 };
        // SAFETY: The kernel reads a key and writes a value of the sizes that were checked.
        unsafe { bpf(MAP_LOOKUP_ELEM, &mut attributes) }?;
        Ok(row)
    }

    /// Reads a row that each processor has for itself, of all that are possible.
    pub(in crate::kernel) fn get_each(&self, key: &K, processors: usize) -> io::Result<Vec<V>> {
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

    /// Writes many rows, in one call where the kernel can: as many as there are keys and values of.
    pub(in crate::kernel) fn set_all(&self, keys: &[K], values: &[V]) -> io::Result<()> {
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
        match unsafe { bpf(MAP_UPDATE_BATCH, &mut attributes) } {
            Err(error) if error.raw_os_error() == Some(NOT_SUPPORTED) => {
                keys.iter().zip(values).try_for_each(|(key, value)| self.set(key, value))
            }
            Err(error) => Err(error),
            Ok(_) if attributes.count == count => Ok(()),
            Ok(_) => Err(io::ErrorKind::WriteZero.into()),
        }
    }
}

impl<K, V> AsFd for Map<K, V> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
