//! What reads tracer's own output can stand still: signals end tracer, and a report that goes elsewhere is written.

use std::{
    fs,
    os::fd::OwnedFd,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use rustix::{
    io::ioctl_fionread,
    pipe::{PipeFlags, fcntl_setpipe_size, pipe_with},
    process::{Signal, kill_process},
};
use tracer_tests::{
    deadline::{DEADLINE, OwnedChild, patient, raw_pid, wait_until},
    privilege::require_root,
    tracer::{Tracer, binary, check_status, lines, parse},
};

/// The time from a signal to the end of tracer.
const ANSWER: Duration = Duration::from_secs(4);
/// Size of a pipe that nothing reads.
const PIPE: usize = 4096;

/// After this long without a byte, the pipe takes no more.
const STEADY: Duration = Duration::from_secs(1);

/// A tracer whose output goes to a pipe that nothing reads.
struct Stalled {
    tracer: OwnedChild,
    unread: OwnedFd,
}

/// Which of its streams goes there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stream {
    Stdout,
    Stderr,
}

impl Stalled {
    fn start(stream: Stream, arguments: &[&str]) -> Result<Self> {
        require_root()?;
        let (unread, end) = pipe_with(PipeFlags::CLOEXEC)?;
        fcntl_setpipe_size(&end, PIPE)?;
        let mut command = Command::new(binary()?);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        match stream {
            Stream::Stdout => command.stdout(end),
            Stream::Stderr => command.stderr(end),
        };
        Ok(Self { tracer: OwnedChild::spawn(&mut command, "tracer")?, unread })
    }

    /// Waits until the pipe takes no more: a page holds a whole number of writes, so it need not be full to the last byte.
    fn fill(&self) -> Result<()> {
        let (mut seen, mut since) = (0, Instant::now());
        wait_until("a full pipe", || {
            let held = ioctl_fionread(&self.unread)?;
            if held != seen {
                (seen, since) = (held, Instant::now());
            }
            Ok((seen > 0 && since.elapsed() > patient(STEADY)).then_some(()))
        })
    }

    /// From now on something reads, but slowly.
    fn is_read_slowly(&self) -> Result<()> {
        let unread = self.unread.try_clone()?;
        thread::spawn(move || {
            let mut some = [0; PIPE];
            while rustix::io::read(&unread, &mut some).is_ok_and(|length| length > 0) {
                thread::sleep(Duration::from_millis(200));
            }
        });
        Ok(())
    }

    /// Sends signals, half a second apart. They end tracer.
    fn ends_by(&mut self, signals: &[Signal]) -> Result<std::process::ExitStatus> {
        let began = Instant::now();
        for signal in signals {
            // It may have ended by an earlier one.
            let _ = self.tracer.signal(*signal);
            thread::sleep(Duration::from_millis(500));
        }
        let status = self.tracer.wait()?;
        ensure!(began.elapsed() < patient(ANSWER), "it ended after {:?}", began.elapsed());
        Ok(status)
    }
}

/// Waits for a whole report in a file.
fn report_in(path: &Path) -> Result<()> {
    let text = || fs::read_to_string(path).unwrap_or_default();
    wait_until("the report", || Ok(parse(&text()).ok().map(drop))).with_context(text)
}

/// Processes whose report is longer than the pipe.
const MANY: &str = "for i in $(seq 300); do /bin/true; done";

#[test]
#[ignore = "needs root"]
fn a_signal_ends_a_tracer_whose_report_is_not_read() -> Result<()> {
    // Lines about the trace fill the pipe while it runs. Then the first signal ends the trace, and the next one tracer.
    for (format, signals) in [("json", &[Signal::TERM][..]), ("ndjson", &[Signal::TERM; 2])] {
        for (stream, place) in [(Stream::Stdout, &["-o", "-"][..]), (Stream::Stderr, &[])] {
            let options = [&["-q", "--format", format], place].concat();
            let command = [&options[..], &["--", "sh", "-c", MANY]].concat();
            let mut stalled = Stalled::start(stream, &command)?;
            stalled.fill()?;
            let status = stalled.ends_by(signals)?;
            ensure!(status.code().is_none(), "{format}: {status}");
        }
    }
    Ok(())
}

/// The report is in its file although nothing reads the other stream, after one signal.
fn reports_elsewhere(stream: Stream, options: &[&str], command: &str) -> Result<()> {
    reports_beside(stream, options, command, |_| Ok(()))
}

/// The same after something was done with the full pipe.
fn reports_beside(
    stream: Stream,
    options: &[&str],
    command: &str,
    then: impl FnOnce(&Stalled) -> Result<()>,
) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("report");
    let name = path.display().to_string();
    let mut arguments = vec!["--format", "json", "-o", &name];
    arguments.extend(options);
    arguments.extend(["--", "sh", "-c", command]);
    let mut stalled = Stalled::start(stream, &arguments)?;
    stalled.fill()?;
    then(&stalled)?;
    let status = stalled.ends_by(&[Signal::INT])?;
    check_status(status)?;
    report_in(&path)
}

#[test]
#[ignore = "needs root"]
fn live_lines_that_are_not_read_delay_no_report() -> Result<()> {
    reports_elsewhere(Stream::Stderr, &["--live"], &format!("{MANY}; exec sleep 30"))
}

/// A million lines.
const FLOOD: &str = "head -c 1000000 /dev/zero | tr '\\0' '\\n' >&1; exec sleep 30";

#[test]
#[ignore = "needs root"]
fn shown_output_that_is_not_read_delays_no_report() -> Result<()> {
    reports_elsewhere(Stream::Stderr, &["-q", "--show"], FLOOD)
}

#[test]
#[ignore = "needs root"]
fn shown_output_that_is_read_slowly_delays_no_report() -> Result<()> {
    // Each line is a record, and so a step of the view.
    let lines = "while :; do echo line; done";
    reports_beside(Stream::Stderr, &["-q", "--show"], lines, Stalled::is_read_slowly)
}

#[test]
#[ignore = "needs root"]
fn a_terminal_whose_output_is_not_read_delays_no_report() -> Result<()> {
    reports_elsewhere(Stream::Stdout, &["-q", "--pty"], "yes")
}

/// Runs the program of its arguments on a terminal of its own, which is stopped as by Ctrl-S when a view has it. Says the
/// program's pid, and then how it ended.
const STOPPED_TERMINAL: &str = "
import fcntl, os, pty, struct, sys, termios
TIOCGPTN = 0x80045430  # include/uapi/asm-generic/ioctls.h
pid, terminal = pty.fork()
if pid == 0:
    fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack('4H', 24, 80, 0, 0))
    os.execv(sys.argv[1], sys.argv[1:])
number, = struct.unpack('I', fcntl.ioctl(terminal, TIOCGPTN, bytes(4)))
end = os.open(f'/dev/pts/{number}', os.O_RDWR | os.O_NOCTTY)
seen = b''
while b'\x1b[?1049h' not in seen or b'line' not in seen: seen += os.read(terminal, 1 << 16)
termios.tcflow(end, termios.TCOOFF)
print(pid, flush=True)
print(os.waitpid(pid, 0)[1], flush=True)
";

#[test]
#[ignore = "needs root"]
fn a_view_on_a_terminal_that_takes_nothing_delays_no_report() -> Result<()> {
    require_root()?;
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("report");
    let mut command = Command::new("python3");
    command.args(["-c", STOPPED_TERMINAL]).arg(binary()?).args(["top", "--format", "json", "-o"]);
    command.arg(&path).args(["--", "sh", "-c", "while :; do echo line; sleep 0.05; done"]);
    command.env("TERM", "xterm").stdin(Stdio::null()).stdout(Stdio::piped());
    let mut python = OwnedChild::spawn(&mut command, "python3")?;
    let said = lines(python.take_stdout()?);
    let next = || said.recv_timeout(*DEADLINE).context("python3 says nothing");
    let pid = raw_pid(next()?.parse()?)?;
    // The view draws, and is blocked.
    thread::sleep(Duration::from_secs(1));
    let began = Instant::now();
    kill_process(pid, Signal::TERM)?;
    let ended = said.recv_timeout(patient(ANSWER));
    if ended.is_err() {
        kill_process(pid, Signal::KILL)?;
    }
    let status = ended.context("it does not end")?;
    ensure!(began.elapsed() < patient(ANSWER) && (status == "0" || status == "256"), "{status}");
    report_in(&path)
}

/// Takes the foreground of its terminal, and has the kernel stop all others that write to it.
const TAKES_TERMINAL: &str = "
import os, signal, termios, time
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
os.setpgid(0, 0)
os.tcsetpgrp(2, os.getpgrp())
settings = termios.tcgetattr(2)
settings[3] |= termios.TOSTOP
termios.tcsetattr(2, termios.TCSANOW, settings)
os.write(1, b'took it.')
time.sleep(1)
";

/// Runs the command of its arguments on a terminal of its own until that shows the end of a sentence, and says so.
const SHOWS: &str = "
import os, pty, sys
pid, terminal = pty.fork()
if pid == 0: os.execvp(sys.argv[1], sys.argv[1:])
seen = b''
while b'[delivered]' not in seen: seen += os.read(terminal, 1 << 16)
print('shown', flush=True)
";

/// In a shell with job control the kernel would stop tracer; without it, the write would fail.
#[test]
#[ignore = "needs root"]
fn a_command_that_takes_the_terminal_stops_no_report() -> Result<()> {
    require_root()?;
    let tracer = binary()?;
    let traced = "exec \"$0\" --no-live -- python3 -c \"$1\"";
    let waited = "\"$0\" --no-live -- python3 -c \"$1\"; sleep 1000";
    for shell in [["sh", "-c", traced], ["bash", "-mc", waited]] {
        let mut command = Command::new("python3");
        command.args(["-c", SHOWS]).args(shell).arg(&tracer).arg(TAKES_TERMINAL);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut python = OwnedChild::spawn(&mut command, "python3")?;
        let said = lines(python.take_stdout()?).recv_timeout(*DEADLINE);
        ensure!(said.as_deref() == Ok("shown"), "{}: no report: {said:?}", shell[0]);
    }
    Ok(())
}

/// A command that does not hold tracer's streams.
const QUIET: &str = "exec sleep 30 >/dev/null 2>&1";

#[test]
#[ignore = "needs root"]
fn a_log_that_is_too_long_to_read_delays_no_report() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("worker.log");
    fs::write(&path, "{\"pid\":71,\"stream\":\"stdout\",\"bytes\":12}\n")?;
    let tracer = Tracer::default().arg("--worker-log").arg(&path).args(["--", "sh", "-c", QUIET]);
    let tracer = tracer.start()?;
    fs::File::options().append(true).open(&path)?.set_len(64 << 30)?;
    thread::sleep(Duration::from_millis(200));
    let began = Instant::now();
    tracer.interrupt()?;
    let outcome = tracer.finish()?;
    ensure!(began.elapsed() < patient(ANSWER), "it ended after {:?}", began.elapsed());
    let report = outcome.report()?;
    // The helper process may have had no time to say how much it has not read.
    ensure!(report.worker_logs.iter().all(|log| log.unread > 1 << 30), "{:?}", report.worker_logs);
    ensure!(report.claims.is_empty(), "{:?}", report.claims);
    report.finding("not_seen")?.expect("worker_log", 1).map(drop)
}

/// Files that look like logs of containers, with a quarter of a gigabyte each, written by an unprivileged program.
#[test]
#[ignore = "needs root"]
fn many_long_logs_delay_no_report() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let script =
        "chmod 777 $0; exec setpriv --reuid 65534 --regid 65534 --clear-groups bash -c 'cd $0
        for i in $(seq 64); do d=containers/0123456789abcdef$i; mkdir -p $d
        exec 5>$d/0123456789abcdef$i-json.log; echo x >&5
        truncate -s 250M $d/0123456789abcdef$i-json.log; done; exec sleep 30 >/dev/null 2>&1' $0";
    let tracer = Tracer::default().args(["--all-fds", "--", "bash", "-c", script]);
    let tracer = tracer.arg(directory.path()).start()?;
    let last = directory.path().join("containers/0123456789abcdef64");
    wait_until("the logs", || Ok(last.exists().then_some(())))?;
    thread::sleep(Duration::from_millis(300));
    let began = Instant::now();
    tracer.interrupt()?;
    let outcome = tracer.finish()?;
    ensure!(began.elapsed() < patient(ANSWER), "it ended after {:?}", began.elapsed());
    check_status(outcome.status)
}
