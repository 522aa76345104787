//! What happened to the files that output went to: their size, and whether they were rotated or removed.

use std::{
    collections::BTreeMap,
    fs,
    io::ErrorKind,
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

/// State and size of a file; `None` if it is unknown: a file of another mount namespace whose processes have all
/// ended.
fn file_now(object: &Object, writers: &[&Process]) -> Option<(FileNow, u64)> {
    let (path, is_certain) = path_now(object, writers);
    match fs::metadata(path) {
        Ok(found) if is_same_inode(&object.id, found.ino(), found.dev()) => {
            Some((FileNow::Same, found.len()))
        }
        Ok(found) if kernel_dev(found.dev()) == object.id.dev => Some((FileNow::Replaced, 0)),
        Err(error) if error.kind() == ErrorKind::NotFound && is_certain => Some((FileNow::Gone, 0)),
        _ => None,
    }
}

/// The path as a live writer sees it, else as tracer sees it. `true` if it certainly means the same file: a writer's
/// root was used, or no writer was in another pid namespace.
fn path_now(object: &Object, writers: &[&Process]) -> (PathBuf, bool) {
    let relative = Path::new(&object.path).strip_prefix("/").unwrap_or(Path::new(&object.path));
    for writer in writers.iter().filter(|writer| writer.end_ns.is_none()) {
        let root = PathBuf::from(format!("/proc/{}/root", writer.id.tgid));
        if root.exists() {
            return (root.join(relative), true);
        }
    }
    let at_home =
        writers.iter().all(|writer| writer.ns_pid == writer.id.tgid || writer.ns_pid == 0);
    (PathBuf::from(&object.path), at_home)
}
