//! The file of the log: parts with their lengths, one after another.
//!
//! Each part is its length in bytes (`u32`, little endian), its kind (one byte), and its content: a record as the kernel
//! wrote it, or an [`Item`] as JSON. A part that is cut, because the recorder was killed while it wrote, ends the log.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use super::Item;
use crate::sys::{
    bounded::{Beginning, beginning},
    limits::in_words,
};

/// Kinds of parts.
const RECORD: u8 = 0;
const ITEM: u8 = 1;
/// Bytes before the content of a part.
const HEAD: usize = 5;
/// The largest log that is written, in bytes: it is in memory.
const MOST_BYTES: u64 = 64 << 20;

/// A log that is written.
pub(super) struct LogFile {
    path: PathBuf,
    /// `None` after an error. Then there is no file either, so that no recorder goes on with a part of the truth.
    file: Option<File>,
    bytes: u64,
}

impl LogFile {
    /// Opens the file; `goes_on` keeps what is in it.
    pub(super) fn open(path: &Path, goes_on: bool) -> io::Result<Self> {
        if goes_on {
            // Nothing can follow a part that is cut.
            let whole = whole_bytes(&content(path)?) as u64;
            let file = options().append(true).open(path)?;
            file.set_len(whole)?;
            return Ok(Self { path: path.to_owned(), file: Some(file), bytes: whole });
        }
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = options().append(true).create_new(true).open(path)?;
        Ok(Self { path: path.to_owned(), file: Some(file), bytes: 0 })
    }

    /// Its size in bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What is in it.
    pub(super) fn items(&self) -> Vec<Item> {
        read(&self.path)
    }

    /// Adds a record.
    pub(super) fn append_record(&mut self, record: &[u8]) {
        self.write(&part(RECORD, record));
    }

    /// Adds a part.
    pub(super) fn append(&mut self, item: &Item) {
        self.write(&encoded(item));
    }

    /// Replaces everything.
    pub(super) fn rewrite(&mut self, items: &[Item]) {
        let bytes: Vec<u8> = items.iter().flat_map(encoded).collect();
        let new = self.path.with_extension("new");
        let replaced = fs::remove_file(&new).or_else(|error| match error.kind() {
            io::ErrorKind::NotFound => Ok(()),
            _ => Err(error),
        });
        let replaced = replaced.and_then(|()| {
            let mut file = options().append(true).create_new(true).open(&new)?;
            file.write_all(&bytes)?;
            fs::rename(&new, &self.path)?;
            Ok(file)
        });
        match replaced {
            Ok(file) => (self.file, self.bytes) = (Some(file), bytes.len() as u64),
            Err(error) => self.fail(&error),
        }
    }

    fn write(&mut self, bytes: &[u8]) {
        let Some(file) = &mut self.file else { return };
        let written = match self.bytes.saturating_add(bytes.len() as u64) {
            ..=MOST_BYTES => file.write_all(bytes),
            _ => Err(io::Error::from(io::ErrorKind::FileTooLarge)),
        };
        match written {
            Ok(()) => self.bytes += bytes.len() as u64,
            Err(error) => self.fail(&error),
        }
    }

    fn fail(&mut self, error: &io::Error) {
        self.file = None;
        // If it stays, its end is missing, which the next recorder cannot know.
        let _ = fs::remove_file(&self.path);
        tracing::warn!(
            "cannot keep {} for the next recorder: {}. It will begin anew",
            self.path.display(),
            in_words(error)
        );
    }
}

/// All whole parts of a log.
pub(super) fn read(path: &Path) -> Vec<Item> {
    let bytes = content(path).unwrap_or_default();
    let items = parts(&bytes).map(|(kind, content)| match kind {
        RECORD => Some(Item::Record(content.to_vec())),
        ITEM => serde_json::from_slice(content).ok(),
        _ => None,
    });
    items.map_while(|item| item).collect()
}

fn content(path: &Path) -> io::Result<Vec<u8>> {
    let Beginning { bytes, is_cut } = beginning(path, MOST_BYTES as usize)?;
    if is_cut { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(bytes) }
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(0o600).custom_flags(libc::O_NOFOLLOW);
    options
}

fn encoded(item: &Item) -> Vec<u8> {
    match item {
        Item::Record(record) => part(RECORD, record),
        item => part(ITEM, &serde_json::to_vec(item).unwrap_or_default()),
    }
}

fn part(kind: u8, content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).unwrap_or(u32::MAX);
    [&length.to_le_bytes()[..], &[kind], content].concat()
}

/// Kind and content of each whole part.
fn parts(bytes: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let mut left = bytes;
    std::iter::from_fn(move || {
        let (head, rest) = left.split_at_checked(HEAD)?;
        let [a, b, c, d, kind] = *head else { return None };
        let length = u32::from_le_bytes([a, b, c, d]) as usize;
        let (content, rest) = rest.split_at_checked(length)?;
        left = rest;
        Some((kind, content))
    })
}

fn whole_bytes(bytes: &[u8]) -> usize {
    parts(bytes).map(|(_, content)| HEAD + content.len()).sum()
}

#[cfg(test)]
mod tests {
    use tracer_common::id::ProcessId;

    use super::*;

    fn items() -> Vec<Item> {
        let entered = |pid| Item::Entered(ProcessId::new(pid, 5), "/docker/a".into());
        vec![Item::Record(vec![7; 40]), entered(3), Item::Record(Vec::new()), entered(4)]
    }

    #[test]
    fn a_log_that_is_cut_anywhere_gives_its_whole_parts_and_goes_on_behind_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("daemon.log");
        let mut log = LogFile::open(&path, false).unwrap();
        items().iter().for_each(|item| log.append(item));
        let whole = fs::read(&path).unwrap();
        assert_eq!((log.bytes(), log.items()), (whole.len() as u64, items()));
        for cut in 0..whole.len() {
            fs::write(&path, &whole[..cut]).unwrap();
            let left = read(&path);
            assert_eq!(left, items()[..left.len()], "cut at {cut}");
            let mut log = LogFile::open(&path, true).unwrap();
            log.append_record(b"next");
            let expected = [left, vec![Item::Record(b"next".to_vec())]].concat();
            assert_eq!(read(&path), expected, "cut at {cut}");
        }
    }

    #[test]
    fn a_log_that_cannot_be_written_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("daemon.log");
        let mut log = LogFile::open(&path, false).unwrap();
        log.append_record(b"one");
        log.bytes = MOST_BYTES;
        log.append_record(b"two");
        assert!(!path.exists());
        log.append_record(b"three");
        assert!(!path.exists() && read(&path).is_empty());
    }

    #[test]
    fn a_log_that_is_written_anew_has_the_new_parts_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("daemon.log");
        let mut log = LogFile::open(&path, false).unwrap();
        items().iter().for_each(|item| log.append(item));
        log.rewrite(&items()[1..2]);
        log.append_record(b"next");
        let expected = [items()[1..2].to_vec(), vec![Item::Record(b"next".to_vec())]].concat();
        assert_eq!(read(&path), expected);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
