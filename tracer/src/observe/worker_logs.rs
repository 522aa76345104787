//! Follows managers' logs while they grow. A helper process runs this.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, TryRecvError, sync_channel},
    time::Instant,
};

use tracer_core::{
    event::{EventKind, LogRead},
    worker_log::{ClaimTally, Reader},
};

use crate::sys::privileges::{self, Rights};

/// How many bytes are read at once.
const CHUNK: usize = 64 << 10;
/// How many chunks of standard input can wait for the session.
const WAITING: usize = 64;

/// The logs of one run.
#[derive(Default)]
pub(super) struct WorkerLogs {
    logs: Vec<Log>,
    trace_began_unix_ns: i64,
}

struct Log {
    name: String,
    source: Source,
    reader: Reader,
    tally: ClaimTally,
    /// Whether there is more than was read.
    is_behind: bool,
}

enum Source {
    File { file: File, path: PathBuf, read: u64 },
    Stdin { chunks: Receiver<Vec<u8>>, ended: bool },
}

impl WorkerLogs {
    /// Opens every log. `-` is standard input.
    ///
    /// # Errors
    /// The first path that cannot be opened, and the system's error.
    pub(super) fn open(paths: &[PathBuf]) -> Result<Self, (PathBuf, io::Error)> {
        let logs = paths
            .iter()
            .map(|path| {
                let source = open(path).map_err(|error| (path.clone(), error))?;
                Ok(Log {
                    name: path.display().to_string(),
                    source,
                    reader: Reader::new(),
                    tally: ClaimTally::default(),
                    is_behind: false,
                })
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { logs, trace_began_unix_ns: i64::MIN / 2 })
    }

    /// Claims from before this moment are about other processes.
    pub(super) fn trace_begins(&mut self, unix_ns: i64) {
        self.trace_began_unix_ns = unix_ns;
    }

    /// Reads what was written since the last call, until a deadline. Returns whether there is more.
    pub(super) fn follow(&mut self, deadline: Instant) -> bool {
        for log in &mut self.logs {
            let (reader, tally) = (&mut log.reader, &mut log.tally);
            let began = self.trace_began_unix_ns;
            // What cannot be read now may be readable in the next turn, and is unread at the end otherwise.
            let taken = log.source.take(deadline, |chunk| tally.add(reader.feed(chunk), began));
            log.is_behind = taken.unwrap_or(true);
        }
        self.logs.iter().any(|log| log.is_behind)
    }

    /// Reads the rest, until a deadline. Returns what the logs say, and how much of them was read. If a log has more
    /// than could be read, what it says is not known.
    #[must_use]
    pub(super) fn finish(mut self, deadline: Instant) -> Vec<EventKind> {
        self.follow(deadline);
        let mut seen = Vec::new();
        for mut log in self.logs {
            let unread = if log.is_behind { log.source.unread().max(1) } else { 0 };
            // A file may still be written to, so half a number at its end is ignored.
            if log.source.has_ended() {
                log.tally.add(log.reader.finish(), self.trace_began_unix_ns);
            }
            if unread == 0 {
                seen.extend(log.tally.claims().into_iter().map(EventKind::Claim));
            }
            seen.push(EventKind::LogRead(LogRead {
                name: log.name,
                lines: log.reader.lines(),
                bad: log.reader.bad().saturating_add(log.tally.left_out()),
                first_bad: log.reader.first_bad().map(str::to_owned),
                unread,
            }));
        }
        seen
    }
}

fn open(path: &Path) -> io::Result<Source> {
    if path == Path::new("-") {
        return stdin();
    }
    Ok(Source::File { file: open_log(path)?, path: path.to_owned(), read: 0 })
}

/// Opens without waiting: a FIFO without a writer may be at the path now.
fn open_log(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    if file.metadata()?.is_dir() {
        return Err(io::Error::from(io::ErrorKind::IsADirectory));
    }
    Ok(file)
}

/// A thread reads standard input, because a read may wait for ever.
fn stdin() -> io::Result<Source> {
    let (send, chunks) = sync_channel(WAITING);
    privileges::spawn("log-stdin", Rights::None, move || {
        let mut buffer = vec![0; CHUNK];
        while let Ok(length) = io::stdin().read(&mut buffer) {
            let chunk = buffer.get(..length).unwrap_or_default().to_vec();
            if length == 0 || send.send(chunk).is_err() {
                return;
            }
        }
    })?;
    Ok(Source::Stdin { chunks, ended: false })
}

impl Source {
    /// Reads until the end or a deadline. Returns whether there is more.
    fn take(&mut self, deadline: Instant, mut feed: impl FnMut(&[u8])) -> io::Result<bool> {
        match self {
            Self::Stdin { chunks, ended } => loop {
                if Instant::now() >= deadline {
                    return Ok(true);
                }
                match chunks.try_recv() {
                    Ok(chunk) => feed(&chunk),
                    Err(TryRecvError::Empty) => return Ok(false),
                    Err(TryRecvError::Disconnected) => {
                        *ended = true;
                        return Ok(false);
                    }
                }
            },
            Self::File { file, path, read } => {
                reopen_if_rotated(file, path, read)?;
                let mut buffer = vec![0; CHUNK];
                while Instant::now() < deadline {
                    let length = match file.read(&mut buffer) {
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                            return Ok(false);
                        }
                        other => other?,
                    };
                    if length == 0 {
                        return Ok(false);
                    }
                    *read += length as u64;
                    feed(buffer.get(..length).unwrap_or_default());
                }
                Ok(true)
            }
        }
    }

    /// Bytes that are in the file and were not read. Of what is no regular file, nothing is known.
    fn unread(&self) -> u64 {
        match self {
            Self::File { file, read, .. } => {
                let found = file.metadata().ok().filter(std::fs::Metadata::is_file);
                found.map_or(0, |found| found.len().saturating_sub(*read))
            }
            Self::Stdin { .. } => 0,
        }
    }

    fn has_ended(&self) -> bool {
        matches!(self, Self::Stdin { ended: true, .. })
    }
}

/// Starts at the beginning if the log was truncated, and opens the new file if it was replaced.
fn reopen_if_rotated(file: &mut File, path: &Path, read: &mut u64) -> io::Result<()> {
    use std::os::unix::fs::MetadataExt as _;
    let open = file.metadata()?;
    if open.len() < *read {
        file.seek(SeekFrom::Start(0))?;
        *read = 0;
    }
    let at_end = open.len() == *read;
    if at_end
        && let Ok(named) = std::fs::metadata(path)
        && (named.ino(), named.dev()) != (open.ino(), open.dev())
    {
        *file = open_log(path)?;
        *read = 0;
    }
    Ok(())
}
