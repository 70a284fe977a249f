//! Reads files that are files: whoever opens a pipe waits for its writer, and a device may never end.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::path::Path;

/// Why a file was not read.
#[derive(Debug)]
pub(crate) enum Unread {
    /// It is a directory, a pipe, a socket or a device.
    NoFile,
    /// The system says so.
    Failed(io::Error),
}

impl From<io::Error> for Unread {
    fn from(error: io::Error) -> Unread {
        Unread::Failed(error)
    }
}

/// A file's first bytes, at most one more than `most`, so that too many can be told; and what the system says of it.
pub(crate) fn read(path: &Path, most: usize) -> Result<(Vec<u8>, Metadata), Unread> {
    let metadata = std::fs::metadata(path)?;
    if !metadata.is_file() {
        return Err(Unread::NoFile);
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(most as u64 + 1).read_to_end(&mut bytes)?;
    Ok((bytes, metadata))
}
