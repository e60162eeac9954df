//! A map to be made, and the bounds of what the helper makes.

/// A map to be made: what `union bpf_attr` has of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewMap {
    /// One of `enum bpf_map_type`.
    pub kind: u32,
    /// Bytes of a key.
    pub key: u32,
    /// Bytes of a value.
    pub value: u32,
    /// Rows, at most.
    pub entries: u32,
    /// `BPF_F_…`
    pub flags: u32,
    /// Ends with zeros.
    pub name: [u8; 16],
    /// The number of the key's type.
    pub key_type: u32,
    /// The number of the value's type.
    pub value_type: u32,
}

impl NewMap {
    /// `BPF_MAP_TYPE_ARRAY` and `BPF_MAP_TYPE_LPM_TRIE`.
    const KINDS: [u32; 2] = [2, 11];
    /// `BPF_F_NO_PREALLOC`, `BPF_F_MMAPABLE` and `BPF_F_INNER_MAP`.
    const FLAGS: u32 = 1 | 1 << 10 | 1 << 12;
    /// Bytes of keys, of values, and of all rows, at most.
    const KEY: u32 = 64;
    const VALUE: u32 = 64 << 10;
    const ROWS: u64 = 8 << 30;

    /// Whether it is such as tables of plans are.
    pub(super) fn is_ours(&self) -> bool {
        let rows = u64::from(self.entries).saturating_mul(u64::from(self.key) + u64::from(self.value));
        Self::KINDS.contains(&self.kind)
            && self.flags & !Self::FLAGS == 0
            && (1..=Self::KEY).contains(&self.key)
            && (1..=Self::VALUE).contains(&self.value)
            && (1..=Self::ROWS).contains(&rows)
    }

    pub(super) fn words(&self) -> [u64; 9] {
        let Self { kind, key, value, entries, flags, name, key_type, value_type } = *self;
        let name = u128::from_ne_bytes(name);
        let [kind, key, value, entries, flags, key_type, value_type] =
            [kind, key, value, entries, flags, key_type, value_type].map(u64::from);
        [kind, key, value, entries, flags, (name >> 64) as u64, name as u64, key_type, value_type]
    }

    pub(super) fn read(words: &[u64]) -> Option<Self> {
        let number = |at: usize| u32::try_from(*words.get(at)?).ok();
        let name = u128::from(*words.get(5)?) << 64 | u128::from(*words.get(6)?);
        Some(Self {
            kind: number(0)?,
            key: number(1)?,
            value: number(2)?,
            entries: number(3)?,
            flags: number(4)?,
            name: name.to_ne_bytes(),
            key_type: number(7)?,
            value_type: number(8)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOTS: NewMap = NewMap {
        kind: 2,
        key: 4,
        value: 10_000,
        entries: 1,
        flags: 1 << 12,
        name: *b"slots\0\0\0\0\0\0\0\0\0\0\0",
        key_type: 3,
        value_type: 70_000,
    };

    #[test]
    fn what_is_asked_for_arrives() {
        let words = [&SLOTS.words()[..], &[0; 3]].concat();
        assert_eq!(NewMap::read(&words), Some(SLOTS));
    }

    #[test]
    fn maps_that_no_plan_has_are_refused() {
        assert!(SLOTS.is_ours());
        let addresses = NewMap { kind: 11, key: 24, value: 4, entries: 100_000, flags: 1, ..SLOTS };
        assert!(addresses.is_ours());
        // An array of maps, a hash table, a map that its maker alone reads, no rows, too many.
        for other in [
            NewMap { kind: 12, ..SLOTS },
            NewMap { kind: 1, ..SLOTS },
            NewMap { flags: 1 << 3, ..SLOTS },
            NewMap { entries: 0, ..SLOTS },
            NewMap { entries: u32::MAX, ..SLOTS },
            NewMap { value: u32::MAX, ..SLOTS },
            NewMap { key: u32::MAX, value: u32::MAX, ..SLOTS },
        ] {
            assert!(!other.is_ours(), "{other:?}");
        }
        let mut words = SLOTS.words();
        words[2] = u64::MAX;
        assert_eq!(NewMap::read(&words), None);
    }
}
