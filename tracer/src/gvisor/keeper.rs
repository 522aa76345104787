//! A helper process that has `runsc` make trace sessions and deletes them at the end, also if tracer is killed.
//!
//! It is forked before tracer gives up its capabilities, and keeps them: `runsc` needs root's.

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    io::{self, BufRead as _, BufReader, Write as _},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Runtime, SandboxProcess, is_sandbox_name};
use crate::sys::{
    bounded,
    helper::{Helper, Kept},
    processes::{comm, exists},
    run_folder::RUN,
};

/// How long a sandbox that starts may take until it answers `runsc`.
const STARTS_WITHIN: Duration = Duration::from_secs(10);
/// How soon to ask it again. Each later time comes after twice as long.
const SOON: Duration = Duration::from_millis(10);
/// How often to ask it at least.
const SELDOM: Duration = Duration::from_millis(100);
/// The word before the id of a container whose sandbox is wanted.
const SEEK: &str = "seek";
/// How many sandboxes are asked at a time.
const MOST_AT_WORK: usize = 32;
/// How long most take.
const STARTS_SOON: Duration = Duration::from_secs(1);

/// What the helper answers about a process.
#[derive(Debug, Serialize, Deserialize)]
pub struct Answer {
    /// The process that was asked about.
    pub pid: u32,
    /// What it was asked for.
    pub kind: AnswerKind,
}

/// What the helper answers.
#[derive(Debug, Serialize, Deserialize)]
pub enum AnswerKind {
    /// To [`Keeper::open`]: `None` if the process is no sandbox; or why tracer does not see inside.
    Opened(Result<Option<Inside>, String>),
    /// To [`Keeper::seek`]: the process is the sandbox of the container.
    Found,
    /// To [`Keeper::look`]: the output of `runsc trace procfs`, or why there is none.
    Listed(Result<String, String>),
}

/// A sandbox that has a trace session.
#[derive(Debug, Serialize, Deserialize)]
pub struct Inside {
    /// The sandbox.
    pub sandbox: SandboxProcess,
    /// Pid of the process that made the connection on which the sandbox sends.
    pub connected_by: u32,
    /// Real time from which on the session tells every call, in nanoseconds.
    pub told_since_ns: i64,
    /// What ran in it a little later: the output of `runsc trace procfs`.
    pub procfs: String,
}

/// The helper, seen from tracer.
#[derive(Debug)]
pub struct Keeper {
    helper: Helper,
    unread: Vec<u8>,
}

impl Keeper {
    /// Forks the helper. To be called while this process has one thread.
    ///
    /// # Errors
    /// An error if the system allows no further process.
    pub fn fork(runtime: &Runtime) -> io::Result<Self> {
        let helper = Helper::fork(Kept::Nothing, |socket| serve(&socket, runtime))?;
        helper.socket.set_nonblocking(true)?;
        Ok(Self { helper, unread: Vec::new() })
    }

    /// Asks for a trace session in the sandbox of this process. [`Keeper::answers`] has the answer later.
    ///
    /// # Errors
    /// An error if the helper does not take it.
    pub fn open(&mut self, pid: u32, config: &Path) -> io::Result<()> {
        writeln!(self.helper.socket, "{pid} {}", config.display())
    }

    /// Asks for the process in which the sandbox of a container will run, or runs. There is no answer if the container
    /// has none.
    ///
    /// # Errors
    /// An error if the helper does not take it.
    pub fn seek(&mut self, container: &str) -> io::Result<()> {
        writeln!(self.helper.socket, "{SEEK} {container}")
    }

    /// Asks what runs in the sandbox of this process now.
    ///
    /// # Errors
    /// An error if the helper does not take it.
    pub fn look(&mut self, pid: u32) -> io::Result<()> {
        writeln!(self.helper.socket, "{pid} ")
    }

    /// Has all sessions deleted. The sandboxes then close their connections.
    pub fn close(&self) {
        // Fails only if the helper is gone.
        let _ = self.helper.socket.shutdown(std::net::Shutdown::Write);
    }

    /// The answers that have arrived.
    pub fn answers(&mut self) -> Vec<Answer> {
        let mut buffer = [0; 64 << 10];
        while let Ok(size @ 1..) = io::Read::read(&mut self.helper.socket, &mut buffer) {
            self.unread.extend_from_slice(&buffer[..size]);
        }
        let Some(end) = self.unread.iter().rposition(|byte| *byte == b'\n') else {
            return Vec::new();
        };
        let whole: Vec<u8> = self.unread.drain(..=end).collect();
        whole
            .split(|byte| *byte == b'\n')
            .filter_map(|line| serde_json::from_slice(line).ok())
            .collect()
    }
}

/// The sessions that this helper has made.
type Sessions = Arc<Mutex<Vec<SandboxProcess>>>;

fn serve(socket: &UnixStream, runtime: &Runtime) -> io::Result<()> {
    let sessions = Sessions::default();
    let is_over = Arc::<AtomicBool>::default();
    // One answer at a time: a long one takes several writes.
    let answers = Arc::new(Mutex::new(socket.try_clone()?));
    let mut at_work: Vec<JoinHandle<()>> = Vec::new();
    // tracer's end, also by a signal, is the end of the lines or an error.
    for line in BufReader::new(socket.try_clone()?).lines().map_while(Result::ok) {
        let Some(request) = Request::of(&line) else { continue };
        while at_work.len() >= MOST_AT_WORK {
            thread::sleep(SOON);
            at_work.retain(|thread| !thread.is_finished());
        }
        let (answers, runtime, sessions) =
            (Arc::clone(&answers), runtime.clone(), Arc::clone(&sessions));
        let is_over = Arc::clone(&is_over);
        at_work.push(thread::spawn(move || {
            let answer = match request {
                Request::Open(pid, config) => {
                    let kind = AnswerKind::Opened(look_into(&runtime, pid, &config, &sessions));
                    Answer { pid, kind }
                }
                Request::List(pid) => Answer { pid, kind: AnswerKind::Listed(list(&runtime, pid)) },
                Request::Seek(container) => match seek(&container, &is_over) {
                    Some(pid) => Answer { pid, kind: AnswerKind::Found },
                    None => return,
                },
            };
            let answer = serde_json::to_vec(&answer).unwrap_or_default();
            let mut socket = answers.lock().unwrap_or_else(PoisonError::into_inner);
            // Fails only if tracer is gone.
            let _ = socket.write_all(&[answer, b"\n".to_vec()].concat());
        }));
    }
    is_over.store(true, Ordering::Relaxed);
    // A thread that reads the memory of a hostile process may wait for ever.
    let began = Instant::now();
    while at_work.iter().any(|thread| !thread.is_finished()) && began.elapsed() < STARTS_WITHIN {
        thread::sleep(SOON);
    }
    for sandbox in sessions.lock().unwrap_or_else(PoisonError::into_inner).iter() {
        // Fails if the sandbox has ended.
        let _ = runtime.delete(sandbox);
        let _ = std::fs::remove_file(marker(sandbox));
    }
    Ok(())
}

/// What the helper is asked for.
enum Request {
    /// A session in the sandbox of this process.
    Open(u32, PathBuf),
    /// What runs in the sandbox of this process.
    List(u32),
    /// The sandbox of this container.
    Seek(String),
}

impl Request {
    fn of(line: &str) -> Option<Self> {
        let (first, rest) = line.split_once(' ')?;
        if first == SEEK {
            return Some(Self::Seek(rest.to_owned()));
        }
        let pid = first.parse().ok()?;
        Some(if rest.is_empty() { Self::List(pid) } else { Self::Open(pid, rest.into()) })
    }
}

/// Looks for the process in which the sandbox of a container runs, until it is there.
fn seek(container: &str, is_over: &AtomicBool) -> Option<u32> {
    let began = Instant::now();
    while !is_over.load(Ordering::Relaxed) && began.elapsed() < STARTS_WITHIN {
        let numbers = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = numbers.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let is_it = |pid: &u32| {
            comm(*pid).is_some_and(|comm| is_sandbox_name(&comm))
                && SandboxProcess::is_of(*pid, container)
        };
        if let Some(pid) = pids.into_iter().find(is_it) {
            return Some(pid);
        }
        thread::sleep(if began.elapsed() < STARTS_SOON { SOON } else { SELDOM });
    }
    None
}

fn look_into(
    runtime: &Runtime,
    pid: u32,
    config: &Path,
    sessions: &Sessions,
) -> Result<Option<Inside>, String> {
    let Some(sandbox) = SandboxProcess::at(pid) else { return Ok(None) };
    let (connected_by, told_since_ns) = open(runtime, &sandbox, config, sessions)?;
    // Without a list the session tells all the same what happens from now on.
    let procfs = runtime.procfs(&sandbox).unwrap_or_default();
    Ok(Some(Inside { sandbox, connected_by, told_since_ns, procfs }))
}

fn list(runtime: &Runtime, pid: u32) -> Result<String, String> {
    let sandbox = SandboxProcess::at(pid).ok_or("it is no sandbox any more")?;
    runtime.ensure_is(&sandbox)?;
    runtime.procfs(&sandbox)
}

/// Makes a session in a sandbox, as soon as it answers. Returns the process that connected the sandbox with tracer, and
/// since when the session tells every call.
fn open(
    runtime: &Runtime,
    sandbox: &SandboxProcess,
    config: &Path,
    sessions: &Sessions,
) -> Result<(u32, i64), String> {
    sandbox.ensure_of_root()?;
    let mut pause = Pause::default();
    let began = Instant::now();
    let is_there = || exists(sandbox.pid);
    let marker = marker(sandbox);
    // A session whose maker has ended is one of tracer's that was left behind.
    let is_left_behind = || {
        let maker = bounded::text(&marker).ok();
        maker.and_then(|maker| maker.trim().parse().ok()).is_some_and(|maker| !exists(maker))
    };
    // First the session: an engine that creates a sandbox starts its program some ten milliseconds later.
    let made = loop {
        match runtime.create(sandbox, config, is_left_behind()) {
            Ok(connected_by) => break (connected_by, real_ns()),
            // A sandbox that starts is not asked in between: that would take as long as the next try.
            Err(error)
                if (error.contains("exists") || began.elapsed() > STARTS_SOON)
                    && runtime.has_session(sandbox) == Ok(true) =>
            {
                return Err(format!(
                    "another program has the only trace session that gVisor allows ({error}); `runsc trace delete` \
                     removes it"
                ));
            }
            Err(error) if began.elapsed() > STARTS_WITHIN || !is_there() => return Err(error),
            Err(_) if began.elapsed() < STARTS_SOON => thread::sleep(SOON),
            Err(_) => pause.wait(),
        }
    };
    while let Err(error) = runtime.ensure_is(sandbox) {
        if began.elapsed() > STARTS_WITHIN || !is_there() {
            // Another sandbox than the process said.
            let _ = runtime.delete(sandbox);
            return Err(error);
        }
        pause.wait();
    }
    // Without the marker, a later tracer takes this session for another program's.
    let _ = std::fs::write(&marker, std::process::id().to_string());
    sessions.lock().unwrap_or_else(PoisonError::into_inner).push(sandbox.clone());
    Ok(made)
}

/// Real time in nanoseconds.
pub fn real_ns() -> i64 {
    i64::try_from(Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX)
}

/// A pause that gets longer: any process can say that it is a sandbox, and each question starts a program.
struct Pause(Duration);

impl Default for Pause {
    fn default() -> Self {
        Self(SOON)
    }
}

impl Pause {
    fn wait(&mut self) {
        thread::sleep(self.0);
        self.0 = (self.0 * 2).min(SELDOM);
    }
}

/// A file that says which process has made the session of a sandbox.
fn marker(sandbox: &SandboxProcess) -> PathBuf {
    // The same id can be in several state folders.
    let mut hasher = DefaultHasher::new();
    sandbox.root.hash(&mut hasher);
    Path::new(RUN).join(format!("{}-{:016x}.session", sandbox.id, hasher.finish()))
}
