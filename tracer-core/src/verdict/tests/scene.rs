//! Builds a session in a few calls: processes, their streams, and what they wrote and read.
//!
//! The trace lasts from 0 to 10,000 ms. Processes with a pid below 50 ran before it; any other one starts at as many
//! milliseconds as its pid.

use tracer_common::{
    event::{self as layout, cut, fact},
    id::ProcessId,
    ledger::{LedgerKey, LedgerRow, READ, WRITE},
    loss::LossCell,
    object::{FdState, NULL_RDEV, ObjectId, QueueState, SocketState, mode},
    op,
    process::ROLE_TARGET,
};

pub(super) use crate::verdict::Rule;
pub(super) use tracer_common::loss::Reason;

use crate::{
    capture::recovery::Want,
    event::{
        BlockedCall, BlockedThread, Claim, Event, EventKind, Exit, Image, LogRead, LogTally,
        Replies, Sighting,
    },
    report::{self, Wanted},
    session::Session,
    verdict::{Case, Finding, judge},
};

const START_NS: u64 = 10_000_000_000;
/// Processes from this pid on start during the trace.
const FIRST_NEW: u32 = 50;

/// The manager of [`managed`].
pub(super) const MANAGER: u32 = 7;
/// Its command.
pub(super) const COMMAND: u32 = 71;
/// The command's stdout and stderr.
pub(super) const OUT: ObjectId = object(101);
pub(super) const ERR: ObjectId = object(102);
pub(super) const NULL: ObjectId = object(3);

/// Id of a container.
pub(super) const CONTAINER: &str = "c0ffeec0ffee";

pub(super) const fn object(ino: u64) -> ObjectId {
    ObjectId { ino, dev: 15, discriminator: 0 }
}

/// Nanoseconds since boot at `ms` milliseconds of the trace.
pub(super) fn at(ms: u64) -> u64 {
    START_NS + ms * 1_000_000
}

pub(super) fn id(tgid: u32) -> ProcessId {
    let start_ns = if tgid < FIRST_NEW { 1_000_000_000 } else { at(u64::from(tgid)) };
    ProcessId::new(tgid, start_ns)
}

/// One `write` of `bytes` bytes at 100 ms.
pub(super) fn write(bytes: u64) -> LedgerRow {
    written_at(bytes, 100)
}

pub(super) fn written_at(bytes: u64, ms: u64) -> LedgerRow {
    let (first_ns, last_ns) = (at(ms), at(ms));
    let ops = 1 << op::WRITE;
    LedgerRow { bytes, calls: 1, first_ns, last_ns, ops, ..LedgerRow::ZERO }
}

/// The row with failed calls.
pub(super) fn with_errors(mut row: LedgerRow, class: u32, count: u32) -> LedgerRow {
    row.errors[class as usize] = count;
    row
}

/// A session under construction.
#[derive(Clone, Debug)]
pub(super) struct Scene(pub(super) Session);

/// A manager that ran before the trace, and a command of it with a pipe for each stream.
pub(super) fn managed(argv: &[&str]) -> Scene {
    let mut session = Session::default();
    (session.start_ns, session.end_ns) = (START_NS, at(10_000));
    let scene = Scene(session).object(NULL, mode::S_IFCHR, "/dev/null").pipe(OUT).pipe(ERR);
    scene.there(MANAGER, "manager").command(COMMAND, MANAGER, argv, [NULL, OUT, ERR])
}

/// The same; the command wrote `bytes` bytes to stdout, and the manager read them.
pub(super) fn wrote_and_read(argv: &[&str], bytes: u64) -> Scene {
    managed(argv).wrote(COMMAND, 1, OUT, write(bytes)).read(MANAGER, OUT, bytes, 110)
}

impl Scene {
    fn event(mut self, ms: u64, kind: EventKind) -> Self {
        self.0.apply(&Event { time_ns: at(ms), kind });
        self
    }

    pub(super) fn pipe(self, id: ObjectId) -> Self {
        self.object(id, mode::S_IFIFO, "")
    }

    pub(super) fn file(self, id: ObjectId, path: &str) -> Self {
        self.object(id, mode::S_IFREG, path)
    }

    pub(super) fn fifo(self, id: ObjectId, path: &str) -> Self {
        self.object(id, mode::S_IFIFO, path)
    }

    /// A file that had this size when it came under watch.
    pub(super) fn file_of(self, id: ObjectId, path: &str, size: u64) -> Self {
        let mut scene = self.file(id, path);
        scene.0.objects.get_mut(&id).unwrap().size = size;
        scene
    }

    fn object(self, id: ObjectId, mode: u32, name: &str) -> Self {
        let queue = QueueState { slots: 16, valid: 1, ..QueueState::default() };
        let rdev = if mode == mode::S_IFCHR { NULL_RDEV } else { 0 };
        let nlink = 1;
        let object = layout::Object { id, mode, rdev, queue, nlink, ..layout::Object::default() };
        self.event(0, EventKind::Object { object, name: name.into() })
    }

    /// A socket of this family; its other end is `joined`, or unknown.
    pub(super) fn socket(
        self,
        id: ObjectId,
        family: u16,
        remote: [u8; 4],
        joined: ObjectId,
    ) -> Self {
        let mut socket = SocketState { family, remote_port: 80, ..SocketState::default() };
        socket.remote[..4].copy_from_slice(&remote);
        let mode = mode::S_IFSOCK;
        let object = layout::Object { id, mode, socket, joined, ..layout::Object::default() };
        self.event(0, EventKind::Object { object, name: String::new() })
    }

    /// A target that ran before the trace.
    pub(super) fn there(self, tgid: u32, comm: &str) -> Self {
        self.adopted(tgid, comm, [ObjectId::NONE; 3])
    }

    /// The same, with these streams at the start of the trace.
    pub(super) fn adopted(self, tgid: u32, comm: &str, stdio: [ObjectId; 3]) -> Self {
        let (process, role, argv) = (id(tgid), ROLE_TARGET, vec![comm.to_owned()]);
        let stdio = stdio.map(|object| FdState { object, ..FdState::default() });
        let image = Image { process, role, argv, comm: comm.into(), stdio, ..Image::default() };
        self.event(0, EventKind::Image(image))
    }

    pub(super) fn fork(self, tgid: u32, parent: u32) -> Self {
        let (parent, child) = (id(parent), id(tgid));
        let comm = String::from("sh");
        self.event(u64::from(tgid), EventKind::Fork { parent, child, ns_pid: tgid, comm })
    }

    pub(super) fn exec(self, tgid: u32, argv: &[&str], stdio: [ObjectId; 3]) -> Self {
        let name = argv[0].rsplit('/').next().unwrap().to_owned();
        let image = Image {
            process: id(tgid),
            role: ROLE_TARGET,
            executed: true,
            comm: name.chars().take(15).collect(),
            argv: argv.iter().map(|&word| word.to_owned()).collect(),
            stdio: stdio.map(|object| FdState { object, ..FdState::default() }),
            ..Image::default()
        };
        self.event(u64::from(tgid), EventKind::Image(image))
    }

    pub(super) fn command(
        self,
        tgid: u32,
        parent: u32,
        argv: &[&str],
        stdio: [ObjectId; 3],
    ) -> Self {
        self.fork(tgid, parent).exec(tgid, argv, stdio)
    }

    pub(super) fn wrote(mut self, tgid: u32, fd: i32, object: ObjectId, row: LedgerRow) -> Self {
        let key = LedgerKey { process: id(tgid), object, fd, direction: WRITE };
        self.0.add_row(key, &row);
        self
    }

    /// A process, which need not be a target, read bytes through its fd 5.
    pub(super) fn read(self, tgid: u32, object: ObjectId, bytes: u64, ms: u64) -> Self {
        self.read_fd(tgid, 5, object, (bytes, ms))
    }

    /// Bytes that a process read from an fd, and when.
    pub(super) fn read_fd(
        self,
        tgid: u32,
        fd: i32,
        object: ObjectId,
        (bytes, ms): (u64, u64),
    ) -> Self {
        let row = LedgerRow { ops: 1 << op::READ, ..written_at(bytes, ms) };
        self.read_row(tgid, fd, object, row)
    }

    /// What a process read from an fd.
    pub(super) fn read_row(mut self, tgid: u32, fd: i32, object: ObjectId, row: LedgerRow) -> Self {
        let key = LedgerKey { process: id(tgid), object, fd, direction: READ };
        let first = layout::FirstIo { key, ..layout::FirstIo::default() };
        self.0.add_row(key, &row);
        let ms = (row.last_ns - START_NS) / 1_000_000;
        self.event(ms, EventKind::FirstIo { first, comm: format!("reader{tgid}") })
    }

    /// The read end of [`Scene::read`] was closed.
    pub(super) fn closed(self, tgid: u32, object: ObjectId, ms: u64) -> Self {
        self.end(tgid, 5, object, Sighting::Closed, ms)
    }

    /// A survey at the end of the trace finds that a process can read (fd 5) or write (fd 1).
    pub(super) fn holds(self, tgid: u32, fd: i32, object: ObjectId) -> Self {
        self.end(tgid, fd, object, Sighting::Open, 10_000)
    }

    fn end(self, tgid: u32, fd: i32, object: ObjectId, sighting: Sighting, ms: u64) -> Self {
        let state = FdState { object, flags: u32::from(fd == 1), ..FdState::default() };
        let holder = layout::Holder { process: id(tgid), state, fd, ..layout::Holder::default() };
        let comm = format!("reader{tgid}");
        self.event(ms, EventKind::Holder { holder, comm, sighting })
    }

    /// The kernel side found this many bytes in a pipe.
    pub(super) fn inside(self, object: ObjectId, unread: u64, ms: u64) -> Self {
        let queue = QueueState { unread, slots: 16, valid: 1, ..QueueState::default() };
        let state = FdState { object, flags: 1, ..FdState::default() };
        let process = id(MANAGER);
        let holder = layout::Holder { process, state, fd: 9, queue, ..layout::Holder::default() };
        let sighting = Sighting::Open;
        self.event(ms, EventKind::Holder { holder, comm: "manager".into(), sighting })
    }

    /// It exits with this code; its streams are unchanged.
    pub(super) fn exited(self, tgid: u32, code: u32, ms: u64) -> Self {
        self.ended(tgid, code << 8, ms)
    }

    /// The same with a status like that of `waitpid`.
    pub(super) fn ended(self, tgid: u32, status: u32, ms: u64) -> Self {
        let known = self.0.processes.get(&id(tgid)).and_then(|process| process.stdio);
        let stdio = known.unwrap_or_default();
        let exit = Exit { process: id(tgid), status, stdio, ..Exit::default() };
        self.event(ms, EventKind::Exit(exit))
    }

    /// It exits with 0; these are its streams at the end.
    pub(super) fn exited_with(self, tgid: u32, ms: u64, stdio: [ObjectId; 3]) -> Self {
        let stdio = stdio.map(|object| FdState { object, ..FdState::default() });
        let exit = Exit { process: id(tgid), stdio, ..Exit::default() };
        self.event(ms, EventKind::Exit(exit))
    }

    fn fact(self, tgid: u32, kind: u32, fd: i32, errno: u32, text: &[u8]) -> Self {
        let process = id(tgid);
        let fact = layout::Fact { process, fact: kind, fd, errno, ..layout::Fact::default() };
        self.event(90, EventKind::Fact { fact, text: text.to_vec() })
    }

    /// A process cut a file.
    pub(super) fn cut(self, tgid: u32, object: ObjectId, ms: u64) -> Self {
        self.cut_to(tgid, object, ms, cut::SHORTENED)
    }

    /// The same to no byte.
    pub(super) fn emptied(self, tgid: u32, object: ObjectId, ms: u64) -> Self {
        self.cut_to(tgid, object, ms, cut::EMPTIED)
    }

    /// A process cut a file in this way.
    pub(super) fn cut_to(self, tgid: u32, object: ObjectId, ms: u64, detail: u32) -> Self {
        let state = FdState { object, ..FdState::default() };
        let (process, fact) = (id(tgid), fact::FILE_CUT);
        let fact = layout::Fact { process, fact, fd: -1, detail, state, ..layout::Fact::default() };
        self.event(ms, EventKind::Fact { fact, text: Vec::new() })
    }

    /// A process put an object on one of its standard fds.
    pub(super) fn replaced(self, tgid: u32, fd: i32, object: ObjectId) -> Self {
        let state = FdState { object, ..FdState::default() };
        let (process, fact) = (id(tgid), fact::FD_REPLACED);
        let fact = layout::Fact { process, fact, fd, state, ..layout::Fact::default() };
        self.event(90, EventKind::Fact { fact, text: Vec::new() })
    }

    pub(super) fn exec_failed(self, tgid: u32, errno: u32, path: &str) -> Self {
        self.fact(tgid, fact::EXEC_FAILED, -1, errno, path.as_bytes())
    }

    /// The calls of a process are those of a guest.
    pub(super) fn emulated(self, tgid: u32, by: &str) -> Self {
        self.fact(tgid, fact::EMULATED, -1, 0, by.as_bytes())
    }

    pub(super) fn asked_terminal(self, tgid: u32, fd: i32, errno: u32) -> Self {
        self.fact(tgid, fact::TTY_ASKED, fd, errno, b"")
    }

    /// It asked for the status of its stdout.
    pub(super) fn prepared_to_print(self, tgid: u32) -> Self {
        self.fact(tgid, fact::STDOUT_STAT, 1, 0, b"")
    }

    pub(super) fn connect_failed(self, tgid: u32, errno: u32, path: &str) -> Self {
        let raw = [&1u16.to_ne_bytes(), path.as_bytes()].concat();
        self.fact(tgid, fact::CONNECT_FAILED, 3, errno, &raw)
    }

    pub(super) fn connect6_failed(self, tgid: u32, errno: u32) -> Self {
        let raw = [&10u16.to_ne_bytes()[..], &[0; 22]].concat();
        self.fact(tgid, fact::CONNECT_FAILED, 3, errno, &raw)
    }

    /// A thread of it is blocked in a call when the trace ends.
    pub(super) fn blocked(self, tgid: u32, call: BlockedCall, fd: i32, object: ObjectId) -> Self {
        let (process, object) = (id(tgid), Some(object));
        self.event(
            10_000,
            EventKind::BlockedThread(BlockedThread {
                process,
                tid: tgid,
                call,
                fd,
                object,
                ..BlockedThread::default()
            }),
        )
    }

    /// The manager's log claims that it returned this many bytes of the command's stdout.
    pub(super) fn claims(self, bytes: u64) -> Self {
        let (stdout, stderr) = (Replies { lines: 1, bytes }, Replies::default());
        let claim = Claim { pid: COMMAND, stdout, stderr, ..Claim::default() };
        self.event(9_000, EventKind::Claim(claim))
    }

    /// The log file of a container has this many bytes of stdout; `engine` is the proven engine, if any.
    pub(super) fn engine_log(self, log: ObjectId, engine: Option<u32>, stdout: u64) -> Self {
        let container = CONTAINER.to_owned();
        let tally = match engine {
            Some(tgid) => {
                LogTally { engine: id(tgid), container, stdout, lines: 1, ..Default::default() }
            }
            None => LogTally { stdout, lines: 1, ..Default::default() },
        };
        self.event(9_500, EventKind::Log { object: log, tally })
    }

    pub(super) fn bad_log_lines(self, bad: u64) -> Self {
        let log = LogRead { name: "worker.log".into(), lines: 9, bad, ..LogRead::default() };
        self.event(9_000, EventKind::LogRead(log))
    }

    pub(super) fn lost(mut self, reason: Reason, events: u64) -> Self {
        self.0.add_loss(reason.into(), LossCell { events, bytes: 0 });
        self
    }

    /// All findings.
    pub(super) fn judged(&self) -> Vec<Finding> {
        judge(&Case::new(&self.0))
    }

    /// What its report would recover from a capture.
    pub(super) fn wanted(&self) -> Wanted {
        report::wanted(&Case::new(&self.0), &self.judged())
    }

    /// The same for these findings.
    pub(super) fn wanted_for(&self, findings: &[Finding]) -> Vec<Want> {
        report::wanted(&Case::new(&self.0), findings).wants
    }

    /// The finding of a rule, if there is one.
    pub(super) fn finding(&self, rule: Rule) -> Option<Finding> {
        self.judged().into_iter().find(|finding| finding.rule == rule)
    }
}
