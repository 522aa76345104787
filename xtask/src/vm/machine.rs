//! Boots a kernel and an initramfs in qemu and reads the console.

use std::{
    fs,
    io::{self, Write},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError},
    time::{Duration, Instant},
};

use crate::command;
use anyhow::{Context as _, Result};

use super::architecture::Architecture;

/// The last line of `init.sh`.
const DONE: &str = "@@ done";

/// Memory of the machine. While an initramfs is unpacked, memory holds it twice.
const MEMORY: &str = "2G";
/// Parameters of all kernels. A panic ends the machine. Mitigations are off, because emulated they take a third of the
/// time. The watchdog is slow, because the emulator may stall a processor for seconds.
const PARAMETERS: &str = "panic=-1 quiet mitigations=off init_on_alloc=0 watchdog_thresh=60";
/// Time limit from power-on to the first process. It usually takes seconds, and minutes on a busy host. A kernel may
/// hang before its first message, with both emulated processors busy.
const START_LIMIT: Duration = Duration::from_secs(300);
/// Time limit from the last program to power-off.
const POWER_OFF_LIMIT: Duration = Duration::from_secs(10);

/// How often a machine is started if its kernel does not reach the first process.
const STARTS: u32 = 3;

/// What the machine's clocks follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// The host's time. Two processors, so that programs run in parallel.
    Host,
    /// Executed instructions: each takes a nanosecond, and an idle processor waits for nothing. One processor. Nothing
    /// that the kernel or a program sees depends on the host's load, and little on chance.
    Instructions,
}

impl Clock {
    /// qemu's options. Everything that is random comes from one seed, and the date is always the same.
    fn options(self) -> &'static [&'static str] {
        match self {
            Self::Host => &["-smp", "2"],
            Self::Instructions => &[
                "-smp",
                "1",
                "-icount",
                "shift=0,sleep=off",
                "-seed",
                "1",
                "-rtc",
                "base=2026-01-01,clock=vm",
            ],
        }
    }

    /// Parameters of the kernel. The time stamp counter counts instructions and is the only clock; addresses are those of
    /// the image.
    fn parameters(self) -> &'static str {
        match self {
            Self::Host => "",
            Self::Instructions => "tsc=reliable clocksource=tsc nokaslr",
        }
    }
}

/// The result of a boot.
#[derive(Debug)]
pub struct Boot {
    /// The lines of the console.
    pub console: Vec<String>,
    /// From power-on to power-off.
    pub time: Duration,
    /// Whether the first process reached its end.
    pub is_complete: bool,
}

impl Boot {
    /// Whether the first process run. It begins with the kernel's name.
    fn has_started(&self) -> bool {
        self.console.iter().any(|line| names_kernel(line))
    }
}

/// Whether this is the first line of `init.sh`.
fn names_kernel(line: &str) -> bool {
    line.starts_with("@@ kernel ")
}

/// A machine to boot.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Machine<'a> {
    /// Its architecture.
    pub(crate) architecture: Architecture,
    /// What its clocks follow.
    pub(crate) clock: Clock,
    /// The path of the compressed kernel.
    pub(crate) kernel: &'a Path,
    /// The path of the root file system's cpio archive.
    pub(crate) initramfs: &'a Path,
    /// Additional parameters of the kernel.
    pub(crate) parameters: &'a str,
    /// The path of a file to which the console is copied.
    pub(crate) log: &'a Path,
}

impl Machine<'_> {
    /// Boots, and boots again if the first process did not start. An emulated processor may execute code that another
    /// one patches (`int3` in `static_call` or a static key); the kernel then crashes or hangs early.
    pub(crate) fn boot_until_started(self, limit: Duration) -> Result<Boot> {
        for _ in 1..STARTS {
            let boot = self.boot(limit)?;
            if boot.has_started() {
                return Ok(boot);
            }
            command::say("the kernel did not come to its first process: booting it again");
        }
        self.boot(limit)
    }

    /// Boots and waits for the end, at most `limit` from the start of the first process.
    fn boot(self, limit: Duration) -> Result<Boot> {
        let start = Instant::now();
        let mut log = fs::File::create(self.log)
            .with_context(|| format!("cannot write {}", self.log.display()))?;
        let mut qemu = Qemu(self.start_qemu()?);
        let output = qemu.0.stdout.take().context("qemu has no standard output")?;
        let (console, is_complete) =
            read_console(&command::lines(output), start + START_LIMIT, limit, &mut log)
                .with_context(|| format!("cannot write {}", self.log.display()))?;
        Ok(Boot { console, time: start.elapsed(), is_complete })
    }

    fn start_qemu(self) -> Result<Child> {
        let emulator = self.architecture.emulator();
        let console = self.architecture.console();
        let own = self.clock.parameters();
        let words = format!("console={console} {PARAMETERS} {own} {}", self.parameters);
        let mut qemu = Command::new(emulator);
        qemu.args(["-nodefaults", "-display", "none", "-serial", "stdio", "-no-reboot"])
            .args(self.architecture.board())
            .args(self.clock.options())
            .args(["-m", MEMORY])
            .arg("-kernel")
            .arg(self.kernel)
            .arg("-initrd")
            .arg(self.initramfs)
            .args(["-append", &words])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {emulator}"))
    }
}

/// A running qemu, killed when dropped.
struct Qemu(Child);

impl Drop for Qemu {
    fn drop(&mut self) {
        // Fails if the machine has powered off, which is the normal case.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Reads the console to its end. Returns the lines and whether the first process reached its end. The first process
/// must start before `deadline`, and may run for `limit`.
fn read_console(
    lines: &Receiver<String>,
    mut deadline: Instant,
    limit: Duration,
    log: &mut dyn Write,
) -> io::Result<(Vec<String>, bool)> {
    let mut console = Vec::new();
    let mut is_complete = false;
    loop {
        match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(mut line) => {
                // The serial line adds carriage returns.
                line.truncate(line.trim_end_matches('\r').len());
                writeln!(log, "{line}")?;
                if names_kernel(&line) {
                    deadline = Instant::now() + limit;
                }
                if line == DONE {
                    is_complete = true;
                    deadline = Instant::now() + POWER_OFF_LIMIT;
                }
                console.push(line);
            }
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                return Ok((console, is_complete));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, thread};

    use super::*;

    fn read(text: &'static str) -> (Vec<String>, bool) {
        let limit = Duration::from_secs(5);
        let lines = command::lines(text.as_bytes());
        read_console(&lines, Instant::now() + limit, limit, &mut io::sink()).unwrap()
    }

    #[test]
    fn carriage_returns_are_removed() {
        let (console, is_complete) = read("one\r\ntwo\n@@ done\r\n");
        assert_eq!(console, ["one", "two", DONE]);
        assert!(is_complete);
    }

    #[test]
    fn a_machine_that_stops_in_the_middle_is_not_complete() {
        assert!(!read("@@ begin trees\r\nKernel panic\r\n").1);
    }

    #[test]
    fn a_kernel_that_dies_before_its_first_process_has_not_started() {
        let started = |text| {
            let (console, is_complete) = read(text);
            Boot { console, time: Duration::ZERO, is_complete }.has_started()
        };
        assert!(!started("[ 4.0] Oops: int3\r\n[ 4.1] Kernel panic - not syncing\r\n"));
        assert!(started("@@ kernel 7.2\r\n@@ begin trees\r\nKernel panic\r\n"));
    }

    #[test]
    fn a_machine_that_hangs_is_abandoned_at_the_deadline() {
        let (sender, receiver) = mpsc::channel();
        let (short, long) = (Duration::from_millis(20), Duration::from_secs(3600));
        let (console, is_complete) =
            read_console(&receiver, Instant::now() + short, long, &mut io::sink()).unwrap();
        assert!(console.is_empty() && !is_complete);
        sender.send("@@ kernel 7.2".to_owned()).unwrap();
        let (console, is_complete) =
            read_console(&receiver, Instant::now() + long, short, &mut io::sink()).unwrap();
        assert!(console.len() == 1 && !is_complete);
    }

    #[test]
    fn a_slow_start_does_not_reduce_the_time_of_the_programs() {
        let (sender, receiver) = mpsc::channel();
        sender.send("@@ kernel 7.2".to_owned()).unwrap();
        let programs = thread::spawn(move || {
            thread::sleep(Duration::from_millis(60));
            sender.send(DONE.to_owned())
        });
        let start_limit = Instant::now() + Duration::from_millis(20);
        let limit = Duration::from_secs(60);
        let (_, is_complete) =
            read_console(&receiver, start_limit, limit, &mut io::sink()).unwrap();
        assert!(is_complete);
        programs.join().unwrap().unwrap();
    }
}
