//! Container engines' log files: how many bytes of output they hold of what was logged while the trace
//! ran. Only the form is known that docker's `json-file` driver writes.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom},
};

use crate::{
    event::{EventKind, LogTally},
    session::{Object, Session},
    worker_log::DockerLogTally,
};

/// Bytes of one log that are read; nothing is said of a log that grew by more.
const MOST_BYTES: u64 = 1 << 30;
/// Bytes read in one go.
const CHUNK: usize = 64 << 10;

/// One event for each log file of a container that is under watch.
#[must_use]
pub fn engine_logs(session: &Session) -> Vec<EventKind> {
    session
        .objects
        .values()
        .filter(|object| object.path.ends_with("-json.log"))
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
    let mut file = File::open(&object.path)?;
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
