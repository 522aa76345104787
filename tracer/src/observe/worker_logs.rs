//! Follows managers' logs while they grow.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, TryRecvError, sync_channel},
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

/// How many bytes are read in one turn from what is no regular file.
const AT_ONCE: u64 = 16 << 20;

/// The logs of one run.
#[derive(Default)]
pub struct WorkerLogs {
    logs: Vec<Log>,
    trace_began_unix_ns: i64,
}

struct Log {
    name: String,
    source: Source,
    reader: Reader,
    tally: ClaimTally,
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
    pub fn open(paths: &[PathBuf]) -> Result<Self, (PathBuf, io::Error)> {
        let logs = paths
            .iter()
            .map(|path| {
                let source = open(path).map_err(|error| (path.clone(), error))?;
                Ok(Log {
                    name: path.display().to_string(),
                    source,
                    reader: Reader::new(),
                    tally: ClaimTally::default(),
                })
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { logs, trace_began_unix_ns: i64::MIN / 2 })
    }

    /// Whether there are logs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.logs.is_empty()
    }

    /// Claims from before this moment are about other processes.
    pub fn trace_begins(&mut self, unix_ns: i64) {
        self.trace_began_unix_ns = unix_ns;
    }

    /// Reads what was written since the last call.
    pub fn follow(&mut self) {
        for log in &mut self.logs {
            let (reader, tally) = (&mut log.reader, &mut log.tally);
            let began = self.trace_began_unix_ns;
            let taken = log.source.take(|chunk| tally.add(reader.feed(chunk), began));
            if let Err(error) = taken {
                tracing::warn!("cannot read the worker log {}: {error}", log.name);
            }
        }
    }

    /// Reads the rest. Returns what the logs say, and how much of them could be read.
    #[must_use]
    pub fn finish(mut self) -> Vec<EventKind> {
        self.follow();
        let mut seen = Vec::new();
        for mut log in self.logs {
            // A file may still be written to, so half a number at its end is ignored.
            if log.source.has_ended() {
                log.tally.add(log.reader.finish(), self.trace_began_unix_ns);
            }
            seen.extend(log.tally.claims().into_iter().map(EventKind::Claim));
            seen.push(EventKind::LogRead(LogRead {
                name: log.name,
                lines: log.reader.lines(),
                bad: log.reader.bad().saturating_add(log.tally.left_out()),
                first_bad: log.reader.first_bad().map(str::to_owned),
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
    fn take(&mut self, mut feed: impl FnMut(&[u8])) -> io::Result<()> {
        match self {
            Self::Stdin { chunks, ended } => loop {
                match chunks.try_recv() {
                    Ok(chunk) => feed(&chunk),
                    Err(TryRecvError::Empty) => return Ok(()),
                    Err(TryRecvError::Disconnected) => {
                        *ended = true;
                        return Ok(());
                    }
                }
            },
            Self::File { file, path, read } => {
                reopen_if_rotated(file, path, read)?;
                let mut buffer = vec![0; CHUNK];
                let is_file = file.metadata()?.is_file();
                let most = if is_file { u64::MAX } else { AT_ONCE };
                let begin = *read;
                // An endless file must not block the trace.
                while *read - begin < most {
                    let length = match file.read(&mut buffer) {
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                        other => other?,
                    };
                    if length == 0 {
                        return Ok(());
                    }
                    *read += length as u64;
                    feed(buffer.get(..length).unwrap_or_default());
                }
                Ok(())
            }
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
