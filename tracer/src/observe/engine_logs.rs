//! Container engines' log files: how many bytes of output they hold of what was logged during the trace. The only
//! known form is that of docker's `json-file` driver.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom},
    os::fd::AsRawFd as _,
};

use rustix::fs::{FileType, Mode, OFlags, fstat, open};
use tracer_core::{
    event::{EventKind, FileNow, LogTally},
    session::{Kind, Object, Session},
    worker_log::DockerLogTally,
};

use super::identity::is_same_inode;

/// How many bytes of one log are read at most. A log that grew by more is not reported.
const MOST_BYTES: u64 = 256 << 20;
/// How many logs are read at most.
const MOST_LOGS: usize = 64;
/// How many bytes are read at once.
const CHUNK: usize = 64 << 10;

/// One event for each watched log file of a container.
#[must_use]
pub fn engine_logs(session: &Session) -> Vec<EventKind> {
    session
        .objects
        .values()
        .filter(|object| object.kind == Kind::File && object.now == Some(FileNow::Same))
        .filter(|object| object.path.contains("/containers/") && object.path.ends_with("-json.log"))
        .take(MOST_LOGS)
        .filter_map(|object| {
            let tally = tally(object, object.size_after?).ok().flatten()?;
            Some(EventKind::Log { object: object.id, tally })
        })
        .collect()
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
