//! Container engines' log files: how many bytes of output they hold of what was logged during the trace. The only
//! known form is that of docker's `json-file` driver.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom},
    os::fd::AsRawFd as _,
    path::Path,
};

use rustix::fs::{FileType, Mode, OFlags, fstat, open};
use tracer_common::{id::ProcessId, ledger::WRITE};
use tracer_core::{
    event::{EventKind, FileNow, LogTally},
    session::{Kind, Object, Session},
    worker_log::DockerLogTally,
};

use super::identity::is_same_inode;
use crate::target::{
    Roots,
    container::{docker, proof},
};

/// How many bytes of one log are read at most. A log that grew by more is not reported.
const MOST_BYTES: u64 = 256 << 20;
/// How many logs are read at most.
const MOST_LOGS: usize = 64;
/// How many bytes are read at once.
const CHUNK: usize = 64 << 10;
/// Number of digits in the id of a container.
const ID_LENGTH: usize = 64;

/// One event for each watched log file of a container. Any program can have the name of an engine, and any file the
/// name of a log. So the engine is asked, and only root may be able to write the file.
#[must_use]
pub fn engine_logs(session: &Session) -> Vec<EventKind> {
    let roots = Roots::host();
    let (mut logs, mut unproven) = (Vec::new(), 0_u64);
    for object in session.objects.values().filter(|object| is_named_like_a_log(object)) {
        if logs.len() == MOST_LOGS {
            break;
        }
        match engine_of(&roots, session, object) {
            Some((engine, container)) => {
                let sums = object.size_after.and_then(|size| tally(object, size).ok().flatten());
                let proven = sums.map(|sums| LogTally { engine, container, ..sums });
                logs.extend(proven.map(|tally| EventKind::Log { object: object.id, tally }));
            }
            None => unproven += 1,
        }
    }
    if unproven > 0 {
        tracing::info!(
            "{unproven} files have names like logs of containers; no engine of root's names them as \
             such, so they were not read"
        );
    }
    logs
}

fn is_named_like_a_log(object: &Object) -> bool {
    object.kind == Kind::File
        && object.now == Some(FileNow::Same)
        && object.path.contains("/containers/")
        && object.path.ends_with("-json.log")
}

/// The engine that wrote a log, and the container, if both are proven: root alone can write the file, root's engine
/// names it as the log of the container, and the process that wrote it is the one that serves the engine's socket.
fn engine_of(roots: &Roots, session: &Session, log: &Object) -> Option<(ProcessId, String)> {
    let path = Path::new(&log.path);
    let id = path.file_name()?.to_str()?.strip_suffix("-json.log")?;
    let is_id = id.len() == ID_LENGTH && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_id || !proof::is_roots_alone(roots.root_uid, path) {
        return None;
    }
    let writers =
        session.ledger.keys().filter(|key| (key.object, key.direction) == (log.id, WRITE));
    let writer = writers
        .map(|key| key.process)
        .find(|writer| is_alive(session, writer) && proof::is_roots_own(roots, writer.tgid))?;
    let (named, server) = docker::log_of(roots, id)?;
    // systemd, pid 1, listens for an engine that it starts on demand.
    let is_server = server == writer.tgid || server == 1;
    (is_server && named.canonicalize().ok()? == path).then(|| (writer, id.to_owned()))
}

fn is_alive(session: &Session, process: &ProcessId) -> bool {
    session.processes.get(process).is_some_and(|known| known.end_ns.is_none())
}

fn tally(object: &Object, size: u64) -> io::Result<Option<LogTally>> {
    let grown = size.saturating_sub(object.size);
    if grown > MOST_BYTES {
        return Ok(None);
    }
    let Some(mut file) = open_the_same(object)? else { return Ok(None) };
    file.seek(SeekFrom::Start(object.size))?;
    let mut tally = DockerLogTally::new();
    let mut buffer = vec![0; CHUNK];
    let mut rest = file.take(grown);
    loop {
        let length = rest.read(&mut buffer)?;
        if length == 0 {
            break;
        }
        tally.feed(buffer.get(..length).unwrap_or_default());
    }
    tally.finish();
    // A file of another form proves nothing.
    let is_known = tally.bad() == 0 && tally.lines() > 0;
    Ok(is_known.then(|| LogTally {
        stdout: tally.stdout_bytes(),
        stderr: tally.stderr_bytes(),
        lines: tally.lines(),
        ..LogTally::default()
    }))
}

/// Opens a log, but only if its path still leads to that file. A traced program chose the path, and a FIFO, a device
/// or a link may be there now.
fn open_the_same(object: &Object) -> io::Result<Option<File>> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let found = open(&object.path, flags, Mode::empty())?;
    let seen = fstat(&found)?;
    let is_file = FileType::from_raw_mode(seen.st_mode) == FileType::RegularFile;
    if !is_file || !is_same_inode(&object.id, seen.st_ino, seen.st_dev) {
        return Ok(None);
    }
    File::open(format!("/proc/self/fd/{}", found.as_raw_fd())).map(Some)
}
