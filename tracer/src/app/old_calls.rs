//! The end of the transition to fexit ([`Loader::end_transition`]): a thread looks in `/proc` for the calls that began before
//! their function had a program, and looks again until none is left. Most return at once; a call that sleeps can last for
//! days. The main thread waits for none of the answers.
//!
//! Three kinds of calls are left out, because the bytes that they bring count nowhere: those of tracer and its helpers; those of
//! kernel threads, which are none; and reads from a device or an event queue by a process that is not followed, such
//! as `agetty` on a console, which would keep `sys_exit` attached for ever.

use std::{
    collections::HashMap,
    fs,
    os::unix::fs::FileTypeExt as _,
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, Sender, TryRecvError, channel},
    time::{Duration, Instant},
};

use tracer_loader::{Loader, is_looked_at};

use crate::sys::{
    bounded,
    privileges::{Rights, spawn},
};

/// How soon old calls are looked at again, and the longest time between two looks. Each look waits twice as long as the one
/// before.
const SOON: Duration = Duration::from_millis(100);
const AT_LEAST: Duration = Duration::from_secs(5);
/// A thread has left the kernel if it has used this much time outside of it and none inside, in ticks of 10 ms
/// (`USER_HZ`).
const OUTSIDE: u64 = 20;

/// What is asked of the thread.
#[derive(Debug)]
enum Question {
    /// Which threads may be in an old call.
    Which,
    /// Which of these threads are certainly in none any more.
    Over(Vec<u32>),
}

/// What the thread answers.
#[derive(Debug)]
enum Answer {
    Which(Vec<OldCall>),
    Over(Vec<u32>),
}

/// A thread that may be in an old call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct OldCall {
    tid: u32,
    tgid: u32,
    /// It reads what no process has written.
    reads_device: bool,
}

/// Watches the transition.
#[derive(Debug, Default)]
pub(super) struct OldCalls {
    /// `None` before the first question.
    thread: Option<(Sender<Question>, Receiver<Answer>)>,
    is_waiting: bool,
    next: Option<Instant>,
    /// The time between the latest two looks.
    pause: Duration,
    /// The transition cannot end: `sys_exit` stays attached.
    is_stuck: bool,
}

impl OldCalls {
    /// Takes an answer, and asks again. Ends the transition when there is no old call left.
    pub(super) fn turn(&mut self, loader: &mut Loader, now: Instant) {
        if self.is_stuck || !loader.is_in_transition() {
            return;
        }
        if let Err(reason) = self.step(loader, now) {
            self.is_stuck = true;
            tracing::warn!("sys_exit stays attached beside fexit: {reason}");
        }
    }

    fn step(&mut self, loader: &mut Loader, now: Instant) -> Result<(), String> {
        let Some((_, answers)) = &self.thread else {
            self.thread = Some(start()?);
            return self.ask(Question::Which);
        };
        if self.is_waiting {
            let noted = match answers.try_recv() {
                Err(TryRecvError::Empty) => return Ok(()),
                Err(TryRecvError::Disconnected) => return Err("its thread has ended".to_owned()),
                Ok(Answer::Which(calls)) => {
                    let matters =
                        |call: &&OldCall| !call.reads_device || loader.is_followed(call.tgid);
                    let tids: Vec<_> = calls.iter().filter(matters).map(|call| call.tid).collect();
                    loader.note_old_calls(&tids)
                }
                Ok(Answer::Over(tids)) => loader.forget_old_calls(&tids),
            };
            noted.map_err(|error| error.to_string())?;
            self.is_waiting = false;
            // What has returned meanwhile is gone already.
            self.pause = (2 * self.pause).clamp(SOON, AT_LEAST);
            self.next = Some(now + self.pause);
        }
        if self.next.is_some_and(|next| now < next) {
            return Ok(());
        }
        let left = loader.old_calls().map_err(|error| error.to_string())?;
        if left.is_empty() {
            self.thread = None;
            tracing::debug!("all calls are counted by fexit from now on");
            return loader.end_transition().map_err(|error| error.to_string());
        }
        tracing::debug!(?left, "threads in calls that began before fexit was attached");
        self.ask(Question::Over(left))
    }

    fn ask(&mut self, question: Question) -> Result<(), String> {
        let ended = || "its thread has ended".to_owned();
        let (questions, _) = self.thread.as_ref().ok_or_else(ended)?;
        questions.send(question).map_err(|_| ended())?;
        self.is_waiting = true;
        Ok(())
    }
}

/// Starts the thread. It ends when nothing more is asked.
fn start() -> Result<(Sender<Question>, Receiver<Answer>), String> {
    let (questions, asked) = channel();
    let (answer, answers) = channel();
    let work = move || {
        let mut known = HashMap::new();
        for question in asked {
            let told = match question {
                Question::Which => Answer::Which(which(&mut known)),
                Question::Over(mut tids) => {
                    tids.retain(|tid| is_over(*tid, known.get_mut(tid)));
                    Answer::Over(tids)
                }
            };
            if answer.send(told).is_err() {
                return;
            }
        }
    };
    spawn("old-calls", Rights::Look, work).map_err(|error| error.to_string())?;
    Ok((questions, answers))
}

/// What a thread did when it was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doing {
    /// It is, or may be, in a call that the programs look at.
    OldCall,
    /// It runs: inside a call or outside.
    Running,
    /// It is outside, or in another call.
    Other,
}

/// When a thread started and how long it has run, in ticks: user and system time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Times {
    started: u64,
    user: u64,
    system: u64,
}

/// Threads of this machine that may be in an old call. Those that come and go meanwhile make new calls.
fn which(known: &mut HashMap<u32, Times>) -> Vec<OldCall> {
    let own = own_executable();
    let mut calls = Vec::new();
    for tgid in numbers("/proc").into_iter().filter(|tgid| !is_own(*tgid, own.as_deref())) {
        for tid in numbers(format!("/proc/{tgid}/task")) {
            if let (Some((Doing::OldCall | Doing::Running, reads_device)), Some(times)) =
                (doing(tid), times(tid))
            {
                known.insert(tid, times);
                calls.push(OldCall { tid, tgid, reads_device });
            }
        }
    }
    calls
}

fn own_executable() -> Option<PathBuf> {
    fs::read_link("/proc/self/exe").ok()
}

/// Whether this is tracer or one of its helper processes, which wait for orders.
fn is_own(tgid: u32, executable: Option<&Path>) -> bool {
    let own = std::process::id();
    let is_child = || {
        let stat = bounded::text(format!("/proc/{tgid}/stat")).ok();
        stat.and_then(|text| field(&text, PARENT)) == Some(own.into())
    };
    let has_executable =
        || fs::read_link(format!("/proc/{tgid}/exe")).ok().as_deref() == executable;
    tgid == own || executable.is_some() && is_child() && has_executable()
}

/// The directories whose name is a number.
fn numbers(folder: impl Into<PathBuf>) -> Vec<u32> {
    let entries = fs::read_dir(folder.into()).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// Whether a thread is certainly not in its old call any more.
fn is_over(tid: u32, known: Option<&mut Times>) -> bool {
    let (Some((doing, _)), Some(now), Some(before)) = (doing(tid), times(tid), known) else {
        // It has ended.
        return true;
    };
    is_out(doing, now, before)
}

fn is_out(doing: Doing, now: Times, before: &mut Times) -> bool {
    match doing {
        _ if now.started != before.started => true,
        Doing::Other => true,
        Doing::OldCall => false,
        Doing::Running if now.system != before.system => {
            *before = now;
            false
        }
        Doing::Running => now.user >= before.user + OUTSIDE,
    }
}

/// What a thread does, and whether it reads what no process has written; `None` if the thread has ended.
fn doing(tid: u32) -> Option<(Doing, bool)> {
    let text = bounded::text(format!("/proc/{tid}/syscall")).ok()?;
    let doing = doing_of(&text);
    let reads_device = doing == Doing::OldCall
        && fd_of_read(&text).is_some_and(|fd| {
            let path = format!("/proc/{tid}/fd/{fd}");
            let target = fs::read_link(&path).unwrap_or_default();
            // Other file systems are not asked: they may not answer.
            let is_char_device = target.starts_with("/dev")
                && fs::metadata(&path).is_ok_and(|file| file.file_type().is_char_device());
            is_device(is_char_device, &target)
        });
    Some((doing, reads_device))
}

/// The fd of a `read(2)` or `readv(2)` of the native entry.
fn fd_of_read(text: &str) -> Option<u64> {
    let mut words = text.split_whitespace();
    let number: i64 = words.next()?.parse().ok()?;
    let fd = u64::from_str_radix(words.next()?.strip_prefix("0x")?, 16).ok()?;
    [libc::SYS_read, libc::SYS_readv].contains(&number).then_some(fd)
}

/// Whether what is read there comes from the kernel or from hardware: a character device other than a pseudo terminal, or
/// a queue of events. The kernel gives such a queue one inode with others, and the name of its kind.
fn is_device(is_char_device: bool, target: &Path) -> bool {
    const QUEUES: [&str; 4] = [
        "anon_inode:inotify",
        "anon_inode:[signalfd]",
        "anon_inode:[timerfd]",
        "anon_inode:[fanotify]",
    ];
    let is_pty = || {
        target.starts_with("/dev/pts") || ["ptmx", "tty"].iter().any(|name| target.ends_with(name))
    };
    is_char_device && !is_pty()
        || target == Path::new("/proc/kmsg")
        || QUEUES.iter().any(|queue| target == Path::new(queue))
}

/// By `/proc/TID/syscall` (`proc_pid_syscall(5)`): the number of the call, its arguments, stack pointer and program counter;
/// -1 outside of calls; or `running`. A kernel thread has no program counter of a user.
fn doing_of(text: &str) -> Doing {
    let mut words = text.split_whitespace();
    match words.next().unwrap_or_default().parse::<i64>() {
        Ok(_) if words.next_back() == Some("0x0") => Doing::Other,
        Ok(number) if is_looked_at(number) => Doing::OldCall,
        Ok(_) => Doing::Other,
        Err(_) => Doing::Running,
    }
}

/// Fields of `/proc/PID/stat` (`proc_pid_stat(5)`): the parent's pid, user and system time in ticks, and the start.
const PARENT: usize = 4;
const USER: usize = 14;
const SYSTEM: usize = 15;
const STARTED: usize = 22;

fn times(tid: u32) -> Option<Times> {
    let text = bounded::text(format!("/proc/{tid}/stat")).ok()?;
    times_of(&text)
}

fn times_of(text: &str) -> Option<Times> {
    let [user, system, started] = [USER, SYSTEM, STARTED].map(|number| field(text, number));
    Some(Times { user: user?, system: system?, started: started? })
}

/// A field, by its number. The name, which is the second one, may have any character.
fn field(stat: &str, number: usize) -> Option<u64> {
    let rest = stat.rsplit_once(')')?.1;
    rest.split_whitespace().nth(number - 3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, pipe};

    use super::*;

    #[test]
    fn the_number_of_a_call_tells_whether_it_matters() {
        for (text, doing) in [
            ("0 0x3 0x7ffe 0x1000 0x0 0x0 0x0 0x7ffd 0x7f01\n", Doing::OldCall),
            ("running\n", Doing::Running),
            ("-1 0x7ffd 0x7f01\n", Doing::Other),
            ("202 0x1 0x0 0x7f01\n", Doing::Other),
            ("0 0x0 0x0 0x0 0x0 0x0 0x0 0x0 0x0\n", Doing::Other),
            ("", Doing::Running),
        ] {
            assert_eq!(doing_of(text), doing, "{text}");
        }
    }

    #[test]
    fn only_what_no_process_writes_is_left_out() {
        for (target, is_there) in [
            ("/dev/tty1", true),
            ("/dev/ttyS0", true),
            ("/dev/kmsg", true),
            ("/dev/pts/3", false),
            ("/dev/tty", false),
            ("/dev/ptmx", false),
        ] {
            assert_eq!(is_device(true, Path::new(target)), is_there, "{target}");
            assert!(!is_device(false, Path::new(target)));
        }
        assert!(is_device(false, Path::new("anon_inode:inotify")));
        assert!(!is_device(false, Path::new("pipe:[7]")));
        assert_eq!(fd_of_read("0 0x13 0x7f 0x1 0x0 0x0 0x0 0x7ffd 0x7f01"), Some(0x13));
        assert_eq!(fd_of_read("1 0x13 0x7f 0x1 0x0 0x0 0x0 0x7ffd 0x7f01"), None);
    }

    #[test]
    fn times_are_found_behind_any_name() {
        let line = "7 (a) b (c) S 1 7 7 0 -1 4194560 1 2 3 4 55 66 0 0 20 0 1 0 777 8 9\n";
        let times = Times { started: 777, user: 55, system: 66 };
        assert_eq!(times_of(line), Some(times));
        assert_eq!(times_of("7 (a"), None);
    }

    #[test]
    fn a_sleeping_read_is_old_until_it_returns() {
        let (mut reader, writer) = pipe().unwrap();
        let (told, tid) = channel();
        let thread = std::thread::spawn(move || {
            told.send(rustix::thread::gettid().as_raw_nonzero().get().unsigned_abs()).unwrap();
            reader.read_to_end(&mut Vec::new()).unwrap();
            let _ = told.send(0);
            std::thread::park();
        });
        let tid_of_it = tid.recv().unwrap();
        let mut known = HashMap::new();
        let until = Instant::now() + Duration::from_secs(10);
        while doing(tid_of_it) != Some((Doing::OldCall, false)) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
        // The threads of this process are left out.
        assert!(which(&mut known).iter().all(|call| call.tgid != std::process::id()));
        known.insert(tid_of_it, times(tid_of_it).unwrap());
        assert!(!is_over(tid_of_it, known.get_mut(&tid_of_it)));
        drop(writer);
        tid.recv().unwrap();
        while !is_over(tid_of_it, known.get_mut(&tid_of_it)) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(is_over(tid_of_it, known.get_mut(&tid_of_it)));
        thread.thread().unpark();
        thread.join().unwrap();
        assert!(is_over(tid_of_it, known.get_mut(&tid_of_it)));
    }

    #[test]
    fn a_thread_that_only_computes_is_outside() {
        let first = Times { started: 1, user: 5, system: 2 };
        let is_out = |now, mut before| is_out(Doing::Running, now, &mut before);
        assert!(is_out(Times { user: 5 + OUTSIDE, ..first }, first));
        assert!(!is_out(Times { user: 4 + OUTSIDE, ..first }, first));
        // It was inside meanwhile, perhaps all the time.
        assert!(!is_out(Times { user: 99, system: 3, ..first }, first));
        assert!(is_out(Times { started: 2, ..first }, first));
    }
}
