//! tracer's side of the helper process that follows managers' logs. The helper reads while the trace runs, and says at
//! the end what the logs say.

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    os::unix::net::UnixStream,
    path::PathBuf,
    time::{Duration, Instant},
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::{Deserialize, Serialize};
use tracer_core::event::{EventKind, Look, NotSeen};

use super::worker_logs::WorkerLogs;
use crate::sys::{
    helper::{Helper, Kept, Refusal, encode},
    privileges::Rights,
    user_file::answer,
};

/// How often the helper looks for new lines, and for how long it reads before it looks for a message.
const TURN: Duration = Duration::from_millis(100);
/// How long a file system may take to answer before a trace begins.
const PATIENCE: Duration = Duration::from_secs(5);
/// How much longer than the helper tracer waits at the end.
const MARGIN: Duration = Duration::from_millis(200);

/// A message to the helper.
#[derive(Serialize, Deserialize)]
enum Message {
    /// The trace begins; nanoseconds since 1970.
    Begin(i64),
    /// Read the rest, for at most this many milliseconds, and answer.
    Finish(u64),
}

/// Has a helper process follow the logs.
#[derive(Debug)]
pub struct LogReader {
    helper: Option<Helper>,
    paths: Vec<PathBuf>,
    /// Until when the helper has to answer.
    deadline: Instant,
}

impl LogReader {
    /// Starts the helper, if there are logs. To be called while this process has one thread.
    ///
    /// # Errors
    /// An error if the system allows no further process.
    pub fn start(paths: &[PathBuf]) -> io::Result<Self> {
        let fork = || Helper::fork(Kept::StdinAndDirectory, |socket| serve(socket, paths));
        let helper = (!paths.is_empty()).then(fork).transpose()?;
        Ok(Self { helper, paths: paths.to_vec(), deadline: Instant::now() })
    }

    /// Whether there are logs.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.helper.is_none()
    }

    /// Waits until the logs are open.
    ///
    /// # Errors
    /// The first path that cannot be opened, and the system's error; all paths if a file system does not answer.
    pub fn opened(&self) -> Result<(), (PathBuf, io::Error)> {
        let Some(helper) = &self.helper else { return Ok(()) };
        let all = || {
            let names: Vec<_> = self.paths.iter().map(|it| it.display().to_string()).collect();
            PathBuf::from(names.join(", "))
        };
        let refusal: Option<(PathBuf, Refusal)> =
            answer(&helper.socket, Instant::now() + PATIENCE).map_err(|error| (all(), error))?;
        refusal.map_or(Ok(()), |(path, refusal)| Err((path, refusal.into())))
    }

    /// The trace begins. Claims from before this moment (nanoseconds since 1970) are about other processes.
    pub fn trace_begins(&mut self, unix_ns: i64) {
        self.tell(&Message::Begin(unix_ns));
    }

    /// Has the helper read the rest, for at most this long.
    pub fn read_the_rest(&mut self, at_most: Duration) {
        self.deadline = Instant::now() + at_most + MARGIN;
        self.tell(&Message::Finish(u64::try_from(at_most.as_millis()).unwrap_or(u64::MAX)));
    }

    /// Waits for the helper's answer: what the logs say, and how much of them was read.
    pub fn finish(&mut self) -> Vec<EventKind> {
        let Some(helper) = self.helper.take() else { return Vec::new() };
        match read_to_end(&helper.socket, self.deadline) {
            Some(answer) => answer,
            None => {
                helper.abandon();
                let unseen = NotSeen {
                    look: Look::Log,
                    looks: self.paths.len() as u64,
                    ..NotSeen::default()
                };
                vec![EventKind::NotSeen(unseen)]
            }
        }
    }

    /// If the helper is gone, [`Self::finish`] gets no answer.
    fn tell(&mut self, message: &Message) {
        if let Some(helper) = &mut self.helper
            && let Ok(line) = encode(message)
        {
            let _ = helper.socket.write_all(&line);
        }
    }
}

/// The events that the helper sends before it closes its end; `None` if it does not do so in time.
fn read_to_end(mut socket: &UnixStream, deadline: Instant) -> Option<Vec<EventKind>> {
    let mut answer = Vec::new();
    let mut buffer = [0; 16 << 10];
    loop {
        let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        socket.set_read_timeout(Some(left)).ok()?;
        match socket.read(&mut buffer) {
            Ok(0) => return serde_json::from_slice(&answer).ok(),
            Ok(length) => answer.extend_from_slice(buffer.get(..length).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return None,
        }
    }
}

/// What the helper does.
fn serve(mut socket: UnixStream, paths: &[PathBuf]) -> io::Result<()> {
    Rights::Look.take()?;
    let opened = WorkerLogs::open(paths);
    let refusal = opened.as_ref().err().map(|(path, error)| (path, Refusal::from(error)));
    socket.write_all(&encode(&refusal)?)?;
    let Ok(mut logs) = opened else { return Ok(()) };
    let mut messages = BufReader::new(socket.try_clone()?);
    loop {
        let is_behind = logs.follow(Instant::now() + TURN);
        let pause = if is_behind { Duration::ZERO } else { TURN };
        if !has_message(&socket, pause)? {
            continue;
        }
        let mut line = String::new();
        if messages.read_line(&mut line)? == 0 {
            return Ok(());
        }
        match serde_json::from_str(&line)? {
            Message::Begin(unix_ns) => logs.trace_begins(unix_ns),
            Message::Finish(ms) => {
                let deadline = Instant::now() + Duration::from_millis(ms);
                return socket.write_all(&encode(&logs.finish(deadline))?);
            }
        }
    }
}

/// Waits for a message, for at most this long. There is at most one at a time.
fn has_message(socket: &UnixStream, at_most: Duration) -> io::Result<bool> {
    let timeout = Timespec { tv_sec: 0, tv_nsec: at_most.subsec_nanos().into() };
    let ready = rustix::io::retry_on_intr(|| {
        poll(&mut [PollFd::new(socket, PollFlags::IN)], Some(&timeout))
    })?;
    Ok(ready > 0)
}
