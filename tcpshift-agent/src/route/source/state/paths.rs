//! The names of the files in a state directory.

use std::path::{Path, PathBuf};

use crate::route::object::Key;

/// The folder of objects.
pub(super) const OBJECTS: &str = "objects";

/// The file of a transaction that is not carried out yet.
pub(super) const JOURNAL: &str = "journal.json";

/// A file is written under this name, and renamed when it is complete.
pub(super) const WRITING: &str = "writing";

/// The file that an agent locks.
pub(super) const LOCK: &str = "lock";

/// The file of the store's version, in the folder of objects.
pub(super) const VERSION: &str = "version";

/// Longest name of an object, in bytes, that is used as a file name unchanged. File systems allow 255 bytes.
const LONGEST_NAME: usize = 200;

/// The path of a file in the folder of objects, relative to the state directory.
pub(super) fn object(path: impl AsRef<Path>) -> PathBuf {
    Path::new(OBJECTS).join(path)
}

/// The path of an object's file, relative to the folder of objects.
pub(super) fn file_of(key: &Key) -> PathBuf {
    let Key { kind, namespace, name } = key;
    let file = if name.len() <= LONGEST_NAME {
        format!("{name}.yaml")
    } else {
        // Two long names may begin alike; the hash keeps them apart. The name itself is in the file.
        let hash = tcpshift_common::hash::name(0, name.as_bytes());
        format!("{}~{hash:016x}.yaml", &name[..LONGEST_NAME - 20])
    };
    [kind.plural().as_str(), namespace, &file].iter().collect()
}
