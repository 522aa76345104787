//! Container engines' log files: how many bytes of output they hold of what was logged during the trace. The only
//! known form is that of docker's `json-file` driver.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom},
    os::fd::AsRawFd as _,
};

use rustix::fs::{FileType, Mode, OFlags, fstat, open};
use tracer_common::object::ObjectId;
use tracer_core::{
    event::{EventKind, FileNow, LogTally, Look},
    session::{Kind, Session},
    worker_log::DockerLogTally,
};

use super::{identity::is_same_inode, look::Request, lookout::Lookout};

/// How many bytes of one log are read at most. A log that grew by more is not reported.
const MOST_BYTES: u64 = 256 << 20;
/// How many logs are read at most.
const MOST_LOGS: usize = 64;
/// How many bytes are read at once.
const CHUNK: usize = 64 << 10;

/// Asks for the content of each watched log file of a container. The state of the files must be known.
pub fn ask_for_engine_logs(session: &Session, lookout: &mut Lookout) {
    let logs = || {
        session
            .objects
            .values()
            .filter(|object| object.kind == Kind::File && object.now == Some(FileNow::Same))
            .filter(|object| {
                object.path.contains("/containers/") && object.path.ends_with("-json.log")
            })
    };
    for log in logs().take(MOST_LOGS) {
        let (object, path, from) = (log.id, log.path.clone(), log.size);
        match log.size_after {
            Some(to) if to.saturating_sub(from) > MOST_BYTES => lookout.left_out(Look::Log, 1),
            Some(to) => lookout.ask(Request::Log { object, path, from, to }),
            None => {}
        }
    }
    lookout.left_out(Look::Log, logs().skip(MOST_LOGS).count());
}

/// The answer about one log; `None` if it has another form.
pub(super) fn read(object: &ObjectId, path: &str, from: u64, to: u64) -> Option<EventKind> {
    let tally = tally(object, path, (from, to)).ok().flatten()?;
    Some(EventKind::Log { object: *object, tally })
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
