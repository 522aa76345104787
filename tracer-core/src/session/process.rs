//! One process.

use std::collections::BTreeMap;

use tracer_common::{
    id::ProcessId,
    ledger::LedgerKey,
    object::{FdState, ObjectId},
};

use super::{CutKind, Fact, FactKind, SummedUp};
use crate::text::{Arguments, Variables, shorten};

/// A process: a target, or a participant (another process that used a watched object).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Process {
    /// Its identity.
    pub id: ProcessId,
    /// The parent that created it; the default if unknown.
    pub parent: ProcessId,
    /// Pid in its innermost namespace.
    pub ns_pid: u32,
    /// Name of its latest image.
    pub comm: String,
    /// Arguments of its latest image, or the beginning of them.
    pub argv: Arguments,
    /// Bytes that all arguments have, or at least, if `argv` is only their beginning.
    pub argv_bytes: Option<u64>,
    /// Whether it is a target, not only a participant.
    pub is_target: bool,
    /// Whether it was of a job that a recorder has judged. It is no target any more, and what others need of it is known.
    pub is_judged: bool,
    /// Whether it ran before the hooks were attached.
    pub attached_late: bool,
    /// Whether it replaced its image while traced.
    pub executed: bool,
    /// Whether a command has started it that a recorder has judged since.
    pub is_of_judged: bool,
    /// When it ended, nanoseconds since boot.
    pub end_ns: Option<u64>,
    /// How it ended, as `waitpid` gives it.
    pub status: Option<u32>,
    /// What fd 0, 1 and 2 pointed to at exec or adoption.
    pub stdio: Option<[FdState; 3]>,
    /// What they pointed to at the end.
    pub stdio_at_end: Option<[FdState; 3]>,
    /// Bytes written through fds that the user did not ask for; known when it has ended.
    pub other_bytes: Option<u64>,
    /// Bytes that it wrote to objects that a recorder has forgotten.
    pub written_to_ended: u64,
    /// Whether it has started a job ([`Job`](super::Job)) that a recorder has judged by itself.
    pub started_jobs: bool,
    /// Calls that wrote [`Self::other_bytes`].
    pub other_calls: Option<u64>,
    /// Number of further such calls, that a file system refused, and the errno of the latest of them.
    pub other_refusals: Option<(u32, u32)>,
    /// The fd of a write that a signal had interrupted, and that had not begun again when the process ended.
    pub interrupted: Option<i32>,
    /// Bytes that the kernel had counted as written by the process when tracer began to count.
    pub kernel_written_before: Option<u64>,
    /// The same at its end.
    pub kernel_written: Option<u64>,
    /// Environment variables that change what programs print; `None` when they could not be read.
    pub environment: Option<Variables>,
    /// Whether its environment was longer than what was read, so that variables may be missing.
    pub environment_cut: bool,
    /// Facts about it, in order: those of its latest images.
    pub facts: Vec<Fact>,
    /// How many processes of one command this entry stands for, if it is no single process.
    pub summed_up: Option<SummedUp>,
    /// The images that it has replaced, in order; the latest [`MOST_IMAGES`] of them.
    pub past_images: Vec<PastImage>,
    /// Number of images before those.
    pub forgotten_images: u64,
}

/// An image that a process has replaced by another one (`execve(2)`).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PastImage {
    /// When the process began to run it, nanoseconds since boot.
    pub since_ns: u64,
    /// When it was replaced, nanoseconds since boot.
    pub until_ns: u64,
    /// Its name.
    pub comm: String,
    /// Its command line, or its name if it has no arguments.
    pub command: String,
    /// Whether it was started by `execve` while traced; else it is that of the parent, or ran before the trace.
    pub executed: bool,
    /// What fd 0, 1 and 2 pointed to when it started.
    pub stdio: Option<[FdState; 3]>,
}

/// Replaced images kept of one process.
const MOST_IMAGES: usize = 8;

/// `signal(7)`.
pub(crate) const SIGPIPE: u32 = 13;
/// Signals with which a user ends a program: `SIGHUP`, `SIGINT`, `SIGTERM`.
const ENDED_BY_USER: [u32; 3] = [1, 2, 15];
/// Signals of programs that went wrong: `SIGILL`, `SIGTRAP`, `SIGABRT`, `SIGBUS`, `SIGFPE`, `SIGSEGV`, `SIGXCPU`, `SIGSYS`.
const OF_CRASHES: [u32; 8] = [4, 5, 6, 7, 8, 11, 24, 31];

/// Facts kept of one process: those of eight images, each of which sends at most 33.
const MOST_FACTS: usize = 8 * 33;

impl Process {
    /// Exit code, when it exited.
    #[must_use]
    pub fn exit_code(&self) -> Option<u32> {
        self.status.filter(|status| status & 0x7f == 0).map(|status| status >> 8 & 0xff)
    }

    /// Signal number, when a signal ended it.
    #[must_use]
    pub fn signal(&self) -> Option<u32> {
        self.status.map(|status| status & 0x7f).filter(|signal| *signal != 0)
    }

    /// Whether it has ended, and not with exit code 0.
    #[must_use]
    pub(crate) fn has_failed(&self) -> bool {
        self.status.is_some_and(|status| status != 0)
    }

    /// The signal that killed it, unless that is `SIGPIPE`: then the process after it had enough.
    #[must_use]
    pub(crate) fn killed_by(&self) -> Option<u32> {
        self.signal().filter(|signal| *signal != SIGPIPE)
    }

    /// Whether it was killed by a signal with which a user ends a program.
    #[must_use]
    pub(crate) fn was_ended_by_user(&self) -> bool {
        self.signal().is_some_and(|signal| ENDED_BY_USER.contains(&signal))
    }

    /// Whether a signal killed it with which the kernel, or `abort(3)`, ends a program that went wrong.
    #[must_use]
    pub(crate) fn crashed(&self) -> bool {
        self.signal().is_some_and(|signal| OF_CRASHES.contains(&signal))
    }

    /// Whether its C library has, very likely, made a buffer for its stdout: it asked what kind of file that is, as
    /// glibc does at the first print.
    #[must_use]
    pub(crate) fn prepared_to_print(&self) -> bool {
        self.facts.iter().any(|fact| fact.kind == FactKind::StdoutStat)
    }

    /// Whether it checked for a terminal on this fd and found none.
    #[must_use]
    pub(crate) fn was_refused_a_terminal(&self, fd: i32) -> bool {
        self.facts
            .iter()
            .any(|fact| fact.kind == FactKind::TtyAsked && fact.fd == Some(fd) && fact.errno != 0)
    }

    /// Whether a row is about its standard input.
    #[must_use]
    pub(crate) fn has_as_input(&self, key: &LedgerKey) -> bool {
        key.fd == 0 || self.stdio_object(0) == Some(key.object)
    }

    /// Whether its latest image was started with an object as stdout or stderr.
    pub(crate) fn has_as_output(&self, object: &ObjectId) -> bool {
        self.executed && [1, 2].iter().any(|fd| self.stdio_object(*fd) == Some(*object))
    }

    /// The command line, or its name if it has no arguments.
    #[must_use]
    pub fn command(&self) -> String {
        if self.argv.is_empty() { self.comm.clone() } else { self.argv.join(" ") }
    }

    /// The command line of the image that the process had at a time.
    #[must_use]
    pub fn command_at(&self, time_ns: u64) -> String {
        let mut past = self.past_images.iter();
        let image = past.find(|image| time_ns < image.until_ns);
        image.map_or_else(|| self.command(), |image| image.command.clone())
    }

    /// Name and pid, as in sentences, with the name that the process had at a time.
    #[must_use]
    pub fn short_at(&self, time_ns: u64) -> String {
        let mut past = self.past_images.iter();
        let image = past.find(|image| time_ns < image.until_ns);
        named(image.map_or(&self.comm, |image| &image.comm), self.id)
    }

    /// Keeps the current image as a past one.
    pub(super) fn keep_image(&mut self, until_ns: u64) {
        let image = PastImage { until_ns, ..self.latest_image() };
        if self.past_images.len() == MOST_IMAGES {
            self.past_images.remove(0);
            self.forgotten_images += 1;
        }
        self.past_images.push(image);
    }

    /// The image that it has now, or had at its end. It is replaced never, as far as known.
    pub(crate) fn latest_image(&self) -> PastImage {
        PastImage {
            since_ns: self.past_images.last().map_or(self.id.start_ns, |image| image.until_ns),
            until_ns: u64::MAX,
            comm: self.comm.clone(),
            command: self.command(),
            executed: self.executed,
            stdio: self.stdio,
        }
    }

    /// The image that it had at a time.
    pub(super) fn image_at(&self, time_ns: u64) -> PastImage {
        let mut past = self.past_images.iter();
        past.find(|image| time_ns < image.until_ns).cloned().unwrap_or_else(|| self.latest_image())
    }

    /// Adds a fact. A process can replace its image without end, so beyond [`MOST_FACTS`] the older half is left out,
    /// and a fact says so. That its calls are a guest's stays known, and which files it cut.
    pub(super) fn learn(&mut self, fact: Fact) {
        if self.facts.len() >= MOST_FACTS {
            let left_out: Vec<Fact> = self.facts.drain(..MOST_FACTS / 2).collect();
            let guest = left_out.iter().find(|known| known.kind == FactKind::Emulated).cloned();
            let cuts: BTreeMap<_, _> = left_out
                .into_iter()
                .filter(|known| known.kind == FactKind::FileCut)
                .map(|known| (known.object, Fact { cut: CutKind::Often, ..known }))
                .collect();
            let says_so = Fact {
                kind: FactKind::Cut,
                fd: None,
                errno: 0,
                about: String::new(),
                object: None,
                cut: CutKind::default(),
                ..fact
            };
            let cuts = cuts.into_values().take(MOST_FACTS / 4);
            self.facts.splice(..0, guest.into_iter().chain([says_so]).chain(cuts));
        }
        self.facts.push(fact);
    }

    /// Name and pid, as in sentences.
    #[must_use]
    pub fn short(&self) -> String {
        named(&self.comm, self.id)
    }

    /// The object that a standard fd pointed to when the process started its latest image; `None` if that was never
    /// seen.
    #[must_use]
    pub fn stdio_object(&self, fd: usize) -> Option<ObjectId> {
        self.stdio.as_ref()?.get(fd).map(|state| state.object)
    }
}

/// The most columns of a name or command line in a sentence. The kernel's names have 15 bytes.
const LONGEST: usize = 64;

/// Name and pid, as in sentences: `manager (pid 60)`, on one line and cut if the name is long.
#[must_use]
pub fn named(comm: &str, process: ProcessId) -> String {
    let comm = shorten(comm, LONGEST);
    // Processes that are summed up have no pid.
    if process.tgid == 0 {
        return format!("{comm} (several)");
    }
    format!("{comm} (pid {}{})", process.tgid, inside(process.sandbox))
}

/// Where a process with this [`ProcessId::sandbox`] runs, as words after its pid; empty for this machine.
#[must_use]
pub fn inside(sandbox: u32) -> String {
    match sandbox {
        0 => String::new(),
        1 => " in gVisor".to_owned(),
        number => format!(" in gVisor sandbox {number}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fact(time_ns: u64, kind: FactKind) -> Fact {
        Fact {
            time_ns,
            kind,
            fd: Some(1),
            errno: 25,
            about: String::new(),
            object: None,
            cut: CutKind::default(),
        }
    }

    #[test]
    fn of_a_process_that_replaces_its_image_without_end_the_latest_facts_are_kept() {
        let mut process = Process::default();
        process.learn(fact(0, FactKind::Emulated));
        for time_ns in 1..100_000 {
            process.learn(fact(time_ns, FactKind::TtyAsked));
            assert!(process.facts.len() <= MOST_FACTS);
        }
        let kinds: Vec<FactKind> = process.facts.iter().map(|fact| fact.kind).collect();
        assert_eq!(kinds[..3], [FactKind::Emulated, FactKind::Cut, FactKind::TtyAsked]);
        assert_eq!(kinds.iter().filter(|kind| **kind == FactKind::Cut).count(), 1);
        assert_eq!(process.facts.last().unwrap().time_ns, 99_999);
        assert!(process.facts.len() > MOST_FACTS / 2 - 2);
    }

    #[test]
    fn which_files_a_process_cut_stays_known() {
        let mut process = Process::default();
        let file = |ino| Some(ObjectId { ino, ..ObjectId::NONE });
        for (time_ns, ino) in [(1, 7), (2, 8), (3, 7)] {
            let cut = CutKind::Emptied;
            process.learn(Fact { object: file(ino), cut, ..fact(time_ns, FactKind::FileCut) });
        }
        for time_ns in 4..10_000 {
            process.learn(fact(time_ns, FactKind::TtyAsked));
        }
        let cuts = process.facts.iter().filter(|fact| fact.kind == FactKind::FileCut);
        let cuts: Vec<_> = cuts.map(|fact| (fact.object, fact.cut, fact.time_ns)).collect();
        assert_eq!(cuts, [(file(7), CutKind::Often, 3), (file(8), CutKind::Often, 2)]);
    }
}
