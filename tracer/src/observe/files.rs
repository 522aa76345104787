//! What happened to the files that output went to: their size, and whether they were rotated or removed.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{BufRead as _, BufReader, ErrorKind, Read as _},
    os::unix::fs::{DirEntryExt as _, MetadataExt as _},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Serialize};
use tracer_common::{ledger::WRITE, object::ObjectId};
use tracer_core::{
    event::{EventKind, FileNow, Look},
    session::{GUEST_MAJOR, Kind, Process, Session},
};
use tracer_loader::boot_ns;

use super::{
    identity::{is_same_inode, kernel_dev},
    look::Request,
    lookout::Lookout,
};

/// How many files are checked at most.
const MOST_FILES: usize = 1024;
/// How many names of a directory are looked at for a file that was renamed.
const MOST_NAMES: usize = 4096;
/// The step of the clock from which files have their times (one jiffy at `CONFIG_HZ=100`).
const TICK: Duration = Duration::from_millis(10);
/// Through how many live writers a file is looked for: each may end before the look.
const MOST_WRITERS: usize = 8;
/// How many bytes of a list of mounts are read. A program may have a hundred thousand mounts; its root is among the
/// first.
const MOST_OF_MOUNTS: u64 = 64 << 10;

/// A file, and where to look for it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FileRequest {
    /// The file.
    pub object: ObjectId,
    path: PathBuf,
    /// Live writers: the path is that of their root.
    writers: Vec<u32>,
    /// Whether the path certainly means the same file for tracer: no writer was in another pid namespace.
    is_at_home: bool,
    /// Whether no later file has got its inode number, which is all that `stat(2)` shows.
    is_last: bool,
    /// When it was first seen: it was made before.
    seen: SystemTime,
}

/// Asks for the state of each file that can be checked.
pub fn ask_for_files(session: &Session, lookout: &mut Lookout) {
    let writers = writers(session);
    let (now, now_ns) = (SystemTime::now(), boot_ns());
    let files = || {
        session.objects.values().filter(|object| {
            object.kind == Kind::File
                && (!object.deleted || object.can_get_name())
                && object.path.starts_with('/')
                && object.id.dev >> 20 != GUEST_MAJOR
        })
    };
    for object in files().take(MOST_FILES) {
        let writers = writers.get(&object.id).map_or(&[][..], Vec::as_slice);
        lookout.ask(Request::File(FileRequest {
            object: object.id,
            path: PathBuf::from(&object.path),
            writers: writers
                .iter()
                .filter(|writer| writer.end_ns.is_none())
                .take(MOST_WRITERS)
                .map(|writer| writer.id.tgid)
                .collect(),
            is_at_home: writers
                .iter()
                .all(|writer| writer.ns_pid == writer.id.tgid || writer.ns_pid == 0),
            is_last: !object.is_number_reused,
            seen: now - Duration::from_nanos(now_ns.saturating_sub(object.seen_ns)),
        }));
    }
    lookout.left_out(Look::File, files().skip(MOST_FILES).count());
}

/// The writers of each object, from one pass over the ledger.
fn writers(session: &Session) -> BTreeMap<ObjectId, Vec<&Process>> {
    let mut writers: BTreeMap<ObjectId, Vec<&Process>> = BTreeMap::new();
    for key in session.ledger.keys().filter(|key| key.direction == WRITE) {
        if let Some(process) = session.processes.get(&key.process) {
            writers.entry(key.object).or_default().push(process);
        }
    }
    writers
}

/// State and size of a file; `None` if its path cannot be looked at.
pub(super) fn look(request: &FileRequest) -> Option<EventKind> {
    let (view, object) = (View::of(request), request.object);
    let (now, size) = match fs::metadata(view.path(&request.path)) {
        Ok(found) if is_same_inode(&object, found.ino(), found.dev()) && request.is_last => {
            (FileNow::Same, found.len())
        }
        Ok(found) if kernel_dev(found.dev()) == object.dev => (FileNow::Replaced, 0),
        Err(error) if error.kind() == ErrorKind::NotFound && view.reaches(request) => {
            (FileNow::Gone, 0)
        }
        Err(error) if error.kind() != ErrorKind::NotFound => return None,
        _ => (FileNow::NotVisible, 0),
    };
    let is_certain = now == FileNow::Same || view.is_whole();
    let now = if is_certain { now } else { FileNow::NotVisible };
    let is_elsewhere = request.is_last && matches!(now, FileNow::Replaced | FileNow::Gone);
    let found = is_elsewhere.then(|| find_renamed(request, &view)).flatten();
    let (renamed, size) = found.map_or((String::new(), size), |(path, size)| (path, size));
    Some(EventKind::File { object, now, size, renamed })
}

/// The path and size that a file has now, if it is in the same directory under another name. A file that was made after
/// this one was seen is another one, which got its inode number.
fn find_renamed(request: &FileRequest, view: &View) -> Option<(String, u64)> {
    let directory = request.path.parent()?;
    let entries = fs::read_dir(view.path(directory)).ok()?.take(MOST_NAMES);
    let mut same = entries.filter_map(Result::ok).filter(|entry| entry.ino() == request.object.ino);
    let name = same.next()?.file_name();
    let found = fs::symlink_metadata(view.path(&directory.join(&name))).ok()?;
    let is_same = is_same_inode(&request.object, found.ino(), found.dev())
        && found.created().is_ok_and(|made| made <= request.seen + TICK);
    let path = directory.join(name).into_os_string().into_string().ok()?;
    is_same.then_some((path, found.len()))
}

/// Where paths are looked up: as a live writer sees them, else as tracer does.
struct View {
    writer: Option<u32>,
    /// Whether no writer was in another pid namespace, which comes with a mount namespace.
    is_home: bool,
}

impl View {
    fn of(request: &FileRequest) -> Self {
        let mut writers = request.writers.iter().copied();
        let writer = writers.find(|writer| directory(Some(*writer)).join("root").exists());
        Self { writer, is_home: request.is_at_home }
    }

    fn path(&self, path: &Path) -> PathBuf {
        directory(self.writer).join("root").join(path.strip_prefix("/").unwrap_or(path))
    }

    /// Whether the last directory of the path that still exists is on the file's device. Otherwise the path leads into
    /// a file system that is not mounted in this view.
    fn reaches(&self, request: &FileRequest) -> bool {
        let path = self.path(&request.path);
        let mut above = path.ancestors().skip(1).map(fs::metadata);
        let last = above.find_map(Result::ok);
        last.is_some_and(|directory| kernel_dev(directory.dev()) == request.object.dev)
    }

    /// Whether the kernel's paths, which begin at the root of a mount namespace, mean the same files in this view. They
    /// do not below the root of a `chroot(2)`.
    fn is_whole(&self) -> bool {
        let sees_root = sees_root(&directory(self.writer));
        sees_root && (self.writer.is_some() || self.is_home && is_root_of_init())
    }
}

/// The directory of a process in procfs; tracer's own for `None`.
fn directory(process: Option<u32>) -> PathBuf {
    let name = process.map_or_else(|| "self".to_owned(), |tgid| tgid.to_string());
    Path::new("/proc").join(name)
}

/// Whether a process's root is a mount. `mountinfo` shows only what is below the root (`proc_pid_mountinfo(5)`), so a
/// directory that is the root of a `chroot(2)` is not in it.
fn sees_root(process: &Path) -> bool {
    let Ok(mounts) = File::open(process.join("mountinfo")) else { return false };
    let lines = BufReader::new(mounts.take(MOST_OF_MOUNTS)).split(b'\n').map_while(Result::ok);
    lines.into_iter().any(|line| line.split(|byte| *byte == b' ').nth(4) == Some(b"/"))
}

/// Whether tracer's root is that of pid 1, as far as pid 1 can be looked at.
fn is_root_of_init() -> bool {
    let (own, of_init) = (fs::metadata("/"), fs::metadata("/proc/1/root"));
    match (own, of_init) {
        (Ok(own), Ok(of_init)) => (own.ino(), own.dev()) == (of_init.ino(), of_init.dev()),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is found of a file that was renamed from `old` to `new`, if it was first seen at this time.
    fn found(directory: &Path, seen: SystemTime) -> Option<(String, u64)> {
        let made = fs::metadata(directory.join("new")).unwrap();
        let object = ObjectId { ino: made.ino(), dev: kernel_dev(made.dev()), discriminator: 0 };
        let (path, writers) = (directory.join("old"), Vec::new());
        let request = FileRequest { object, path, writers, is_at_home: true, is_last: true, seen };
        find_renamed(&request, &View::of(&request))
    }

    #[test]
    fn a_renamed_file_is_no_later_file_with_its_inode_number() {
        let directory = tempfile::tempdir().unwrap();
        let new = directory.path().join("new");
        fs::write(&new, "12345").unwrap();
        let Ok(made) = fs::metadata(&new).unwrap().created() else {
            eprintln!("SKIPPED: this file system does not tell when a file was made");
            return;
        };
        let expected = Some((new.to_str().unwrap().to_owned(), 5));
        assert_eq!(found(directory.path(), made + TICK), expected);
        assert_eq!(found(directory.path(), made - Duration::from_secs(1)), None);
    }
}
