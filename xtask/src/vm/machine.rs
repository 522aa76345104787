//! One boot: qemu by software emulation, a kernel, an initramfs, and what comes out of the console.

use std::{
    fs,
    io::{self, Write},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use xtask::command;

use super::{architecture::Architecture, console::DONE};

/// Emulated processors: two, so that a program's halves really run at the same time.
const PROCESSORS: &str = "2";
/// An initramfs lies in memory twice while it is unpacked.
const MEMORY: &str = "2G";
/// The serial line is all there is to see; a panic ends the machine. What protects against other
/// users' programs is left out, because emulated it costs a third of the time; and a processor that
/// stands still for some seconds is the emulator's, not the kernel's.
const PARAMETERS: &str = "panic=-1 quiet mitigations=off init_on_alloc=0 watchdog_thresh=60";
/// How long a kernel may take to its first process. They take seconds, and minutes beside other work. One was seen to
/// hang before its first word, with both emulated processors busy, for as long as it was let.
const START_LIMIT: Duration = Duration::from_secs(300);
/// How long a kernel may take to power off after the last program.
const GOODBYE: Duration = Duration::from_secs(10);

/// What a boot left.
#[derive(Debug)]
pub(crate) struct Boot {
    /// Everything that was written to the console, line by line.
    pub(crate) console: Vec<String>,
    /// How long it took.
    pub(crate) time: Duration,
    /// Whether it came to its end by itself.
    pub(crate) is_complete: bool,
}

impl Boot {
    /// Whether the kernel came as far as its first process, which names it.
    pub(crate) fn has_started(&self) -> bool {
        self.console.iter().any(|line| names_kernel(line))
    }
}

/// Whether this is the first line of our first process.
fn names_kernel(line: &str) -> bool {
    line.starts_with("@@ kernel ")
}

/// What to boot.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Machine<'a> {
    /// Its processor.
    pub(crate) architecture: Architecture,
    /// The compressed kernel.
    pub(crate) kernel: &'a Path,
    /// Its first root file system.
    pub(crate) initramfs: &'a Path,
    /// Further words of its command line.
    pub(crate) parameters: &'a str,
    /// Where its console can be read meanwhile and afterwards.
    pub(crate) log: &'a Path,
}

impl Machine<'_> {
    /// Boots and waits for the end, at most for `limit` from the first process on.
    pub(crate) fn boot(self, limit: Duration) -> Result<Boot> {
        let start = Instant::now();
        let mut log = fs::File::create(self.log)
            .with_context(|| format!("cannot write {}", self.log.display()))?;
        let mut qemu = Qemu(self.start_qemu()?);
        let output = qemu.0.stdout.take().context("qemu has no standard output")?;
        let (console, is_complete) =
            listen(&command::lines(output), start + START_LIMIT, limit, &mut log)
                .with_context(|| format!("cannot write {}", self.log.display()))?;
        Ok(Boot { console, time: start.elapsed(), is_complete })
    }

    fn start_qemu(self) -> Result<Child> {
        let emulator = self.architecture.emulator();
        let console = self.architecture.console();
        let words = format!("console={console} {PARAMETERS} {}", self.parameters);
        let mut qemu = Command::new(emulator);
        qemu.args(["-nodefaults", "-display", "none", "-serial", "stdio", "-no-reboot"])
            .args(self.architecture.board())
            .args(["-smp", PROCESSORS, "-m", MEMORY])
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

/// A running qemu; it does not outlive us.
struct Qemu(Child);

impl Drop for Qemu {
    fn drop(&mut self) {
        // Failing is the normal case: the machine has switched itself off.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// All lines up to the end, and whether the end was the right one. The first process is to run before
/// `deadline`, and has `limit` from then on.
fn listen(
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
                // A serial line ends its lines with carriage returns.
                line.truncate(line.trim_end_matches('\r').len());
                writeln!(log, "{line}")?;
                if names_kernel(&line) {
                    deadline = Instant::now() + limit;
                }
                if line == DONE {
                    is_complete = true;
                    deadline = Instant::now() + GOODBYE;
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

    fn heard(text: &'static str) -> (Vec<String>, bool) {
        let limit = Duration::from_secs(5);
        let lines = command::lines(text.as_bytes());
        listen(&lines, Instant::now() + limit, limit, &mut io::sink()).unwrap()
    }

    #[test]
    fn a_console_ends_its_lines_with_carriage_returns_or_not() {
        let (console, is_complete) = heard("one\r\ntwo\n@@ done\r\n");
        assert_eq!(console, ["one", "two", DONE]);
        assert!(is_complete);
    }

    #[test]
    fn a_machine_that_stops_in_the_middle_is_not_complete() {
        assert!(!heard("@@ begin trees\r\nKernel panic\r\n").1);
    }

    #[test]
    fn a_kernel_that_dies_before_its_first_process_has_not_started() {
        let started = |text| {
            let (console, is_complete) = heard(text);
            Boot { console, time: Duration::ZERO, is_complete }.has_started()
        };
        assert!(!started("[ 4.0] Oops: int3\r\n[ 4.1] Kernel panic - not syncing\r\n"));
        assert!(started("@@ kernel 7.2\r\n@@ begin trees\r\nKernel panic\r\n"));
    }

    #[test]
    fn a_machine_that_hangs_is_left_at_the_deadline() {
        let (sender, receiver) = mpsc::channel();
        let (short, long) = (Duration::from_millis(20), Duration::from_secs(3600));
        let (console, is_complete) =
            listen(&receiver, Instant::now() + short, long, &mut io::sink()).unwrap();
        assert!(console.is_empty() && !is_complete);
        sender.send("@@ kernel 7.2".to_owned()).unwrap();
        let (console, is_complete) =
            listen(&receiver, Instant::now() + long, short, &mut io::sink()).unwrap();
        assert!(console.len() == 1 && !is_complete);
    }

    #[test]
    fn a_kernel_that_is_slow_to_start_does_not_take_the_time_of_its_programs() {
        let (sender, receiver) = mpsc::channel();
        sender.send("@@ kernel 7.2".to_owned()).unwrap();
        let programs = thread::spawn(move || {
            thread::sleep(Duration::from_millis(60));
            sender.send(DONE.to_owned())
        });
        let start_limit = Instant::now() + Duration::from_millis(20);
        let limit = Duration::from_secs(60);
        let (_, is_complete) = listen(&receiver, start_limit, limit, &mut io::sink()).unwrap();
        assert!(is_complete);
        programs.join().unwrap().unwrap();
    }
}
