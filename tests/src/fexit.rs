//! Tests with `--attach fexit`: they wait until no call that began before the attach keeps `sys_exit` attached.

use std::{
    env, fs,
    io::Read,
    os::fd::AsFd,
    sync::{
        LazyLock,
        atomic::{AtomicBool, Ordering},
    },
    thread::sleep,
    time::Duration,
};

use rustix::event::{PollFd, PollFlags, poll};

/// Environment variable with the value for tracer's `--attach`.
pub const ATTACH_ENV: &str = "TRACER_TEST_ATTACH";

static IS_ON: LazyLock<bool> =
    LazyLock::new(|| env::var(ATTACH_ENV).is_ok_and(|place| place == "fexit"));

static POLLS: AtomicBool = AtomicBool::new(false);

/// From now on streams of this process are [`Polled`].
pub fn poll_in_this_process() {
    POLLS.store(true, Ordering::Relaxed);
}

/// Whether the tests run with `--attach fexit`.
pub fn is_on() -> bool {
    *IS_ON
}

/// A stream that sleeps in `poll(2)` and not in `read(2)`: a `read` that sleeps since before the attach would keep `sys_exit`
/// attached.
#[derive(Debug)]
pub struct Polled<F> {
    stream: F,
    polls: bool,
}

impl<F> Polled<F> {
    /// In every test.
    pub fn always(stream: F) -> Self {
        Self { stream, polls: true }
    }

    /// Only if the tests run with `--attach fexit`, or after [`poll_in_this_process`].
    pub fn with_fexit(stream: F) -> Self {
        Self { stream, polls: is_on() || POLLS.load(Ordering::Relaxed) }
    }
}

impl<F: Read + AsFd> Read for Polled<F> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.polls {
            let mut fds = [PollFd::new(&self.stream, PollFlags::IN)];
            while let Err(rustix::io::Errno::INTR) = poll(&mut fds, None) {}
        }
        self.stream.read(buffer)
    }
}

/// For how long [`settle`] waits. Some tests have a call that sleeps until they go on.
const PATIENCE: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(50);

/// If the tests run with `--attach fexit`, waits until a tracer has detached `sys_exit`, but not for ever. Returns whether
/// it has.
pub fn settle(tracer: u32) -> bool {
    if !is_on() {
        return false;
    }
    let tries = PATIENCE.as_millis() / PAUSE.as_millis();
    (0..tries).any(|_| {
        sleep(PAUSE);
        !has_sys_exit(tracer)
    })
}

/// Whether a tracer has a program on the typed tracepoint `sys_exit` (`bpf_raw_tp_link_show_fdinfo`, kernel/bpf/syscall.c).
pub fn has_sys_exit(tracer: u32) -> bool {
    let infos = fs::read_dir(format!("/proc/{tracer}/fdinfo")).into_iter().flatten().flatten();
    infos
        .filter_map(|info| fs::read_to_string(info.path()).ok())
        .any(|text| text.lines().any(|line| line == "tp_name:\tsys_exit"))
}
