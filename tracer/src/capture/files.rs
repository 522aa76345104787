//! The files of the streams: a limited number is open, and a file of which only the last bytes are kept is trimmed.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, ErrorKind, Read as _, Seek as _, SeekFrom, Write as _},
};

use tracer_core::capture::summary::trim_above;

use super::folder::Folder;

/// How many files are open at a time.
const OPEN: usize = 256;
/// The files of all streams.
#[derive(Debug)]
pub(super) struct Files {
    folder: Folder,
    /// How many bytes each file keeps at its end; `None` for all.
    tail: Option<u64>,
    entries: HashMap<u32, Entry>,
    open: HashMap<u32, Open>,
    /// Number of appends. The open file with the smallest number has been unused for longest.
    clock: u64,
}

#[derive(Debug)]
struct Entry {
    name: String,
    length: u64,
    /// Bytes that were cut from the front of the file.
    cut: u64,
    /// Length above which the file is trimmed next.
    trim_above: u64,
    exists: bool,
}

#[derive(Debug)]
struct Open {
    file: File,
    used: u64,
}

impl Files {
    /// No files.
    pub(super) fn new(folder: Folder, tail: Option<u64>) -> Self {
        Self { folder, tail, entries: HashMap::new(), open: HashMap::new(), clock: 0 }
    }

    pub(super) fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Sets the name of a stream's file. The file is created with its first byte.
    pub(super) fn declare(&mut self, stream: u32, name: &str) {
        let trim_above = self.tail.map_or(u64::MAX, trim_above);
        let name = name.to_owned();
        let entry = Entry { name, length: 0, cut: 0, trim_above, exists: false };
        self.entries.insert(stream, entry);
    }

    /// Appends bytes. Returns how many were written, and an error if not all were.
    pub(super) fn append(&mut self, stream: u32, bytes: &[u8]) -> (u64, io::Result<()>) {
        let (taken, result) = match self.file(stream) {
            Ok(file) => append(file, bytes),
            Err(error) => (0, Err(error)),
        };
        if let Some(entry) = self.entries.get_mut(&stream) {
            entry.length = entry.length.saturating_add(taken);
        }
        (taken, result)
    }

    /// Whether a file is long enough to be trimmed.
    pub(super) fn is_too_long(&self, stream: u32) -> bool {
        self.entries.get(&stream).is_some_and(|entry| entry.length > entry.trim_above)
    }

    /// Cuts a file down to its last bytes.
    pub(super) fn trim(&mut self, stream: u32) -> io::Result<()> {
        let (Some(tail), Some(entry)) = (self.tail, self.entries.get_mut(&stream)) else {
            return Ok(());
        };
        if entry.length <= tail {
            return Ok(());
        }
        match copy_tail(&self.folder, &entry.name, tail) {
            Ok(file) => {
                entry.cut += entry.length - tail;
                entry.length = tail;
                entry.trim_above = trim_above(tail);
                // The open file was replaced and has no name.
                self.open.remove(&stream);
                self.keep_open(stream, file);
                Ok(())
            }
            Err(error) => {
                // The next attempt comes when the file has grown by as much again, and not with each write.
                entry.trim_above = trim_above(entry.length.max(tail));
                Err(error)
            }
        }
    }

    /// How many bytes were cut from the front of a file.
    pub(super) fn cut(&self, stream: u32) -> u64 {
        self.entries.get(&stream).map_or(0, |entry| entry.cut)
    }

    fn file(&mut self, stream: u32) -> io::Result<&File> {
        if !self.open.contains_key(&stream) {
            let entry = self.entries.get_mut(&stream).ok_or(ErrorKind::NotFound)?;
            let file = if entry.exists {
                self.folder.append_to(&entry.name)?
            } else {
                self.folder.make(&entry.name)?
            };
            entry.exists = true;
            self.keep_open(stream, file);
        }
        self.clock += 1;
        let open = self.open.get_mut(&stream).ok_or(ErrorKind::NotFound)?;
        open.used = self.clock;
        Ok(&open.file)
    }

    fn keep_open(&mut self, stream: u32, file: File) {
        if self.open.len() >= OPEN
            && let Some(oldest) = self.open.iter().min_by_key(|(_, open)| open.used)
        {
            let oldest = *oldest.0;
            self.open.remove(&oldest);
        }
        self.open.insert(stream, Open { file, used: self.clock });
    }
}

/// Writes until all is written or an error occurs. Returns also how many bytes were written before an error: those
/// are in the file, and the rest is a gap.
fn append(mut file: &File, bytes: &[u8]) -> (u64, io::Result<()>) {
    let mut rest = bytes;
    while !rest.is_empty() {
        match file.write(rest) {
            Ok(0) => return (taken(bytes, rest), Err(ErrorKind::WriteZero.into())),
            Ok(length) => rest = &rest[length..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return (taken(bytes, rest), Err(error)),
        }
    }
    (bytes.len() as u64, Ok(()))
}

fn taken(bytes: &[u8], rest: &[u8]) -> u64 {
    (bytes.len() - rest.len()) as u64
}

/// Replaces a file by a copy of its last bytes.
fn copy_tail(folder: &Folder, name: &str, tail: u64) -> io::Result<File> {
    let new = format!("{name}.new");
    let mut to = folder.make(&new)?;
    let result = copy_last(folder, name, tail, &mut to).and_then(|()| folder.replace(&new, name));
    if let Err(error) = result {
        // A leftover copy does no harm: the next trim replaces it.
        let _ = folder.remove(&new);
        return Err(error);
    }
    Ok(to)
}

fn copy_last(folder: &Folder, name: &str, tail: u64, to: &mut File) -> io::Result<()> {
    let mut from = folder.open_file(name)?;
    let length = from.metadata()?.len();
    from.seek(SeekFrom::Start(length.saturating_sub(tail)))?;
    if io::copy(&mut from.take(tail), to)? == tail {
        return Ok(());
    }
    Err(ErrorKind::UnexpectedEof.into())
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::MetadataExt as _, path::PathBuf};

    use tempfile::{TempDir, tempdir};

    use super::*;

    fn files(tail: Option<u64>) -> (TempDir, PathBuf, Files) {
        let parent = tempdir().unwrap();
        let path = parent.path().join("out");
        let files = Files::new(Folder::create(&path).unwrap(), tail);
        (parent, path, files)
    }

    fn append_all(files: &mut Files, stream: u32, bytes: &[u8]) {
        let (taken, result) = files.append(stream, bytes);
        result.unwrap();
        assert_eq!(taken, bytes.len() as u64);
    }

    #[test]
    fn a_thousand_streams_need_few_open_files() {
        let (_parent, path, mut files) = files(None);
        for round in 0..3u8 {
            for stream in 1..=1000u32 {
                if round == 0 {
                    files.declare(stream, &format!("s{stream}"));
                }
                append_all(&mut files, stream, &[b'a' + round, b'\n']);
                assert!(files.open.len() <= OPEN);
            }
        }
        for stream in [1, 500, 1000] {
            assert_eq!(fs::read(path.join(format!("s{stream}"))).unwrap(), b"a\nb\nc\n");
        }
    }

    #[test]
    fn the_file_that_was_not_used_for_longest_is_closed() {
        let (_parent, _path, mut files) = files(None);
        for stream in 1..=OPEN as u32 {
            files.declare(stream, &format!("s{stream}"));
            append_all(&mut files, stream, b"a");
        }
        append_all(&mut files, 1, b"b");
        files.declare(0, "s0");
        append_all(&mut files, 0, b"a");
        assert!(files.open.contains_key(&1) && !files.open.contains_key(&2));
    }

    #[test]
    fn the_last_bytes_are_kept_and_the_disk_is_bounded() {
        let (_parent, path, mut files) = files(Some(100));
        files.declare(1, "s");
        let mut all = Vec::new();
        for line in 0..9000u32 {
            let line = format!("line {line} of many\n").into_bytes();
            append_all(&mut files, 1, &line);
            all.extend(line);
            if files.is_too_long(1) {
                files.trim(1).unwrap();
            }
            let length = fs::metadata(path.join("s")).unwrap().size();
            assert!(length <= trim_above(100), "{length}");
        }
        assert!(files.cut(1) > 0);
        files.trim(1).unwrap();
        assert_eq!(fs::read(path.join("s")).unwrap(), &all[all.len() - 100..]);
        assert_eq!(files.cut(1), all.len() as u64 - 100);
        assert_eq!(fs::read_dir(&path).unwrap().count(), 1, "nothing is left over");
        assert_eq!(fs::metadata(path.join("s")).unwrap().mode() & 0o777, 0o600);
        append_all(&mut files, 1, b"more");
        assert!(fs::read(path.join("s")).unwrap().ends_with(b"many\nmore"));
    }

    #[test]
    fn a_trim_that_fails_loses_nothing_and_is_tried_again_later() {
        let slack = trim_above(0);
        let (_parent, path, mut files) = files(Some(slack));
        files.declare(1, "s");
        append_all(&mut files, 1, &vec![b'a'; 2 * slack as usize + 1]);
        fs::create_dir(path.join("s.new")).unwrap();
        assert!(files.is_too_long(1));
        files.trim(1).unwrap_err();
        assert!(!files.is_too_long(1));
        assert_eq!((files.cut(1), fs::metadata(path.join("s")).unwrap().len()), (0, 2 * slack + 1));
        fs::remove_dir(path.join("s.new")).unwrap();
        files.trim(1).unwrap();
        assert_eq!(files.cut(1), slack + 1);
    }

    #[test]
    fn what_goes_in_before_the_disk_is_full_is_counted() {
        let (_parent, _path, mut files) = files(None);
        files.declare(1, "s");
        let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        files.open.insert(1, Open { file: full, used: 0 });
        let (taken, result) = files.append(1, b"abc");
        assert_eq!((taken, result.unwrap_err().kind()), (0, ErrorKind::StorageFull));
        // A pipe without a reader accepts a part of a write, like a disk that fills up.
        let (_end, pipe) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::NONBLOCK).unwrap();
        let size = rustix::pipe::fcntl_setpipe_size(&pipe, 4096).unwrap();
        files.open.insert(1, Open { file: File::from(pipe), used: 0 });
        let (taken, result) = files.append(1, &vec![b'a'; size + 9000]);
        assert_eq!(taken, size as u64);
        result.unwrap_err();
        assert_eq!(files.entries[&1].length, size as u64);
    }

    #[test]
    fn a_name_that_is_taken_is_an_error_and_nothing_is_overwritten() {
        let (_parent, path, mut files) = files(None);
        fs::write(path.join("s"), "mine").unwrap();
        files.declare(1, "s");
        let (taken, result) = files.append(1, b"abc");
        assert_eq!((taken, result.is_err()), (0, true));
        assert_eq!(fs::read(path.join("s")).unwrap(), b"mine");
    }
}
