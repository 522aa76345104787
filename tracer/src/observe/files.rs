//! What happened to the files that output went to: their size, and whether they were rotated or removed.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{BufRead as _, BufReader, ErrorKind, Read as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use tracer_common::{ledger::WRITE, object::ObjectId};
use tracer_core::{
    event::{EventKind, FileNow},
    session::{Kind, Object, Process, Session},
};

use super::identity::{is_same_inode, kernel_dev};

/// How many files are checked at most.
const MOST_FILES: usize = 1024;
/// How many bytes of a list of mounts are read. A program may have a hundred thousand mounts; its root is among the
/// first.
const MOST_OF_MOUNTS: u64 = 64 << 10;

/// One event for each file that could be checked.
#[must_use]
pub fn files_now(session: &Session) -> Vec<EventKind> {
    let (writers, last) = (writers(session), last_with_number(session));
    session
        .objects
        .values()
        .filter(|object| {
            object.kind == Kind::File && !object.deleted && object.path.starts_with('/')
        })
        .take(MOST_FILES)
        .filter_map(|object| {
            let writers = writers.get(&object.id).map_or(&[][..], Vec::as_slice);
            let (now, size) = match file_now(object, writers)? {
                // `stat(2)` shows the number, which a later file has got.
                (FileNow::Same, _) if last.get(&number(&object.id)) != Some(&object.id) => {
                    (FileNow::Replaced, 0)
                }
                found => found,
            };
            Some(EventKind::File { object: object.id, now, size })
        })
        .collect()
}

/// What `stat(2)` shows of an object's identity.
const fn number(id: &ObjectId) -> (u64, u32) {
    (id.ino, id.dev)
}

/// The object that had each inode number last.
fn last_with_number(session: &Session) -> BTreeMap<(u64, u32), ObjectId> {
    let mut objects: Vec<&Object> = session.objects.values().collect();
    objects.sort_by_key(|object| object.seen_ns);
    objects.iter().map(|object| (number(&object.id), object.id)).collect()
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
fn file_now(object: &Object, writers: &[&Process]) -> Option<(FileNow, u64)> {
    let view = View::of(writers);
    let now = match fs::metadata(view.path(&object.path)) {
        Ok(found) if is_same_inode(&object.id, found.ino(), found.dev()) => {
            return Some((FileNow::Same, found.len()));
        }
        Ok(found) if kernel_dev(found.dev()) == object.id.dev => FileNow::Replaced,
        Err(error) if error.kind() == ErrorKind::NotFound && view.reaches(object) => FileNow::Gone,
        Err(error) if error.kind() != ErrorKind::NotFound => return None,
        _ => FileNow::NotVisible,
    };
    Some((if view.is_whole() { now } else { FileNow::NotVisible }, 0))
}

/// Where paths are looked up: as a live writer sees them, else as tracer does.
struct View<'a> {
    writer: Option<&'a Process>,
    /// Whether no writer was in another pid namespace, which comes with a mount namespace.
    is_home: bool,
}

impl<'a> View<'a> {
    fn of(writers: &[&'a Process]) -> Self {
        let mut live = writers.iter().filter(|writer| writer.end_ns.is_none());
        let writer = live.find(|writer| directory(Some(writer)).join("root").exists()).copied();
        let is_home =
            writers.iter().all(|writer| writer.ns_pid == writer.id.tgid || writer.ns_pid == 0);
        Self { writer, is_home }
    }

    fn path(&self, path: &str) -> PathBuf {
        let relative = path.strip_prefix('/').unwrap_or(path);
        directory(self.writer).join("root").join(relative)
    }

    /// Whether the last directory of the path that still exists is on the file's device. Otherwise the path leads into
    /// a file system that is not mounted in this view.
    fn reaches(&self, object: &Object) -> bool {
        let path = self.path(&object.path);
        let mut above = path.ancestors().skip(1).map(fs::metadata);
        let last = above.find_map(Result::ok);
        last.is_some_and(|directory| kernel_dev(directory.dev()) == object.id.dev)
    }

    /// Whether the kernel's paths, which begin at the root of a mount namespace, mean the same files in this view. They
    /// do not below the root of a `chroot(2)`.
    fn is_whole(&self) -> bool {
        let sees_root = sees_root(&directory(self.writer));
        sees_root && (self.writer.is_some() || self.is_home && is_root_of_init())
    }
}

/// The directory of a process in procfs; tracer's own for `None`.
fn directory(process: Option<&Process>) -> PathBuf {
    let name = process.map_or_else(|| "self".to_owned(), |process| process.id.tgid.to_string());
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
