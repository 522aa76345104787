//! Container engines' log files: how many bytes of output they hold of what was logged during the trace. The only
//! known form is that of docker's `json-file` driver.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom},
    os::fd::AsRawFd as _,
    path::Path,
};

use rustix::fs::{FileType, Mode, OFlags, fstat, open};
use serde::{Deserialize, Serialize};
use tracer_common::{id::ProcessId, ledger::WRITE, object::ObjectId};
use tracer_core::{
    event::{EventKind, FileNow, LogTally, Look},
    session::{Kind, Object, Session},
    worker_log::DockerLogTally,
};

use super::{identity::is_same_inode, look::Request, lookout::Lookout};
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

/// A file with a name like a container's log, and the processes that may be its engine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogRequest {
    /// The file.
    pub object: ObjectId,
    path: String,
    /// Live processes that wrote to it.
    writers: Vec<ProcessId>,
    /// Its size when it came under watch: what is before was not logged during the trace.
    from: u64,
    /// Its size now.
    to: u64,
}

/// Asks for the content of each watched log file of a container. The state of the files must be known.
pub fn ask_for_engine_logs(session: &Session, lookout: &mut Lookout) {
    let logs = || session.objects.values().filter(|object| is_named_like_a_log(object));
    for log in logs().take(MOST_LOGS) {
        let (object, path, from) = (log.id, log.path.clone(), log.size);
        match log.size_after {
            Some(to) if to.saturating_sub(from) > MOST_BYTES => lookout.left_out(Look::Log, 1),
            Some(to) => {
                let writers = live_writers(session, object);
                lookout.ask(Request::Log(LogRequest { object, path, writers, from, to }));
            }
            None => {}
        }
    }
    lookout.left_out(Look::Log, logs().skip(MOST_LOGS).count());
}

fn is_named_like_a_log(object: &Object) -> bool {
    object.kind == Kind::File
        && object.now == Some(FileNow::Same)
        && object.path.contains("/containers/")
        && object.path.ends_with("-json.log")
}

fn live_writers(session: &Session, log: ObjectId) -> Vec<ProcessId> {
    let is_alive = |process: &ProcessId| {
        session.processes.get(process).is_some_and(|known| known.end_ns.is_none())
    };
    let rows = session.ledger.keys().filter(|key| (key.object, key.direction) == (log, WRITE));
    rows.map(|key| key.process).filter(is_alive).collect()
}

/// The answer about one log; `None` if it has another form or is no log. Any program can have the name of an engine, and
/// any file the name of a log. So the engine is asked, and only root may be able to write the file.
pub(super) fn read(request: &LogRequest) -> Option<EventKind> {
    let (engine, container) = engine_of(&Roots::host(), request)?;
    let LogRequest { object, path, from, to, .. } = request;
    let sums = tally(object, path, (*from, *to)).ok().flatten()?;
    Some(EventKind::Log { object: *object, tally: LogTally { engine, container, ..sums } })
}

/// The engine that wrote a log, and the container, if both are proven: root alone can write the file, root's engine
/// names it as the log of the container, and the process that wrote it is the one that serves the engine's socket.
fn engine_of(roots: &Roots, request: &LogRequest) -> Option<(ProcessId, String)> {
    let path = Path::new(&request.path);
    let id = path.file_name()?.to_str()?.strip_suffix("-json.log")?;
    let is_id = id.len() == ID_LENGTH && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_id || !proof::is_roots_alone(roots.root_uid, path) {
        return None;
    }
    let mut writers = request.writers.iter();
    let writer = *writers.find(|writer| proof::is_roots_own(roots, writer.tgid))?;
    let (named, server) = docker::log_of(roots, id)?;
    // systemd, pid 1, listens for an engine that it starts on demand.
    let is_server = server == writer.tgid || server == 1;
    (is_server && named.canonicalize().ok()? == path).then(|| (writer, id.to_owned()))
}

fn tally(object: &ObjectId, path: &str, (from, to): (u64, u64)) -> io::Result<Option<LogTally>> {
    let Some(mut file) = open_the_same(object, path)? else { return Ok(None) };
    file.seek(SeekFrom::Start(from))?;
    let mut tally = DockerLogTally::new();
    let mut buffer = vec![0; CHUNK];
    let mut rest = file.take(to.saturating_sub(from));
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
fn open_the_same(object: &ObjectId, path: &str) -> io::Result<Option<File>> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let found = open(path, flags, Mode::empty())?;
    let seen = fstat(&found)?;
    let is_file = FileType::from_raw_mode(seen.st_mode) == FileType::RegularFile;
    if !is_file || !is_same_inode(object, seen.st_ino, seen.st_dev) {
        return Ok(None);
    }
    File::open(format!("/proc/self/fd/{}", found.as_raw_fd())).map(Some)
}
