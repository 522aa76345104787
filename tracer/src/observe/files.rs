//! What happened to the files that output went to: their size, and whether they were rotated or removed.

use std::{
    collections::BTreeMap, fs, io::ErrorKind, os::unix::fs::MetadataExt as _, path::PathBuf,
};

use serde::{Deserialize, Serialize};
use tracer_common::{ledger::WRITE, object::ObjectId};
use tracer_core::{
    event::{EventKind, FileNow, Look},
    session::{Kind, Object, Process, Session},
};

use super::{
    identity::{is_same_inode, kernel_dev},
    look::Request,
    lookout::Lookout,
};

/// How many files are checked at most.
const MOST_FILES: usize = 1024;
/// Through how many live writers a file is looked for: each may end before the look.
const MOST_WRITERS: usize = 8;

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
}

/// Asks for the state of each file that can be checked.
pub fn ask_for_files(session: &Session, lookout: &mut Lookout) {
    let (writers, last) = (writers(session), last_with_number(session));
    let files = || {
        session.objects.values().filter(|object| {
            object.kind == Kind::File && !object.deleted && object.path.starts_with('/')
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
            is_last: last.get(&number(&object.id)) == Some(&object.id),
        }));
    }
    lookout.left_out(Look::File, files().skip(MOST_FILES).count());
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
pub(super) fn look(request: &FileRequest) -> Option<EventKind> {
    let (path, is_certain) = path_now(request);
    let object = request.object;
    let (now, size) = match fs::metadata(path) {
        Ok(found) if is_same_inode(&object, found.ino(), found.dev()) => {
            if request.is_last {
                (FileNow::Same, found.len())
            } else {
                (FileNow::Replaced, 0)
            }
        }
        Ok(found) if kernel_dev(found.dev()) == object.dev => (FileNow::Replaced, 0),
        Err(error) if error.kind() == ErrorKind::NotFound && is_certain => (FileNow::Gone, 0),
        _ => return None,
    };
    Some(EventKind::File { object, now, size })
}

/// The path as a live writer sees it, else as tracer sees it. `true` if it certainly means the same file: a writer's
/// root was used, or no writer was in another pid namespace.
fn path_now(request: &FileRequest) -> (PathBuf, bool) {
    let relative = request.path.strip_prefix("/").unwrap_or(&request.path);
    let mut roots = request.writers.iter().map(|tgid| PathBuf::from(format!("/proc/{tgid}/root")));
    match roots.find(|root| root.exists()) {
        Some(root) => (root.join(relative), true),
        None => (request.path.clone(), request.is_at_home),
    }
}
