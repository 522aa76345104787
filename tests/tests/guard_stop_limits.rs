//! Limits of the system and signals at the wrong moment: tracer says what is wrong, and starts no command too late.

use std::{
    fs,
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;
use tempfile::TempDir;
use tracer_tests::{
    deadline::{OwnedChild, patient, wait_until},
    privilege::require_root,
    refusal::{ENVIRONMENT, check, run_command},
    tracer::{Tracer, binary, check_status, parse},
};

/// The time from a signal to the end of tracer.
const ANSWER: Duration = Duration::from_secs(4);

/// A shell that runs a line, in which `$0` is tracer and `$1` a directory.
fn shell(line: &str, directory: &Path) -> Result<Command> {
    require_root()?;
    let mut command = Command::new("bash");
    command.args(["-c", line]).arg(binary()?).arg(directory);
    Ok(command)
}

/// Sends a signal some time after the start of tracer. If the command was not started by then, it must never be, and
/// tracer ends by the signal.
fn signalled_while_it_starts(signal: Signal, after: Duration) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let line = "exec \"$0\" -q -o \"$1/r\" --capture \"$1/out\" -- touch \"$1/started\"";
    let mut tracer = OwnedChild::spawn(&mut shell(line, directory.path())?, "tracer")?;
    thread::sleep(after);
    let started = directory.path().join("started");
    let was_started = started.exists();
    tracer.signal(signal)?;
    let began = Instant::now();
    let status = tracer.wait()?;
    ensure!(began.elapsed() < patient(ANSWER), "it ended after {:?}", began.elapsed());
    if status.signal() == Some(signal.as_raw()) {
        ensure!(was_started || !started.exists(), "the command was started after the signal");
    } else {
        // The trace had begun.
        check_status(status)?;
    }
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn a_command_is_not_started_after_a_signal() -> Result<()> {
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        for ms in [30, 100, 250] {
            signalled_while_it_starts(signal, Duration::from_millis(ms))
                .with_context(|| format!("{signal:?} after {ms} ms"))?;
        }
    }
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn a_limit_on_file_size_is_named() -> Result<()> {
    let directory = tempfile::tempdir()?;
    // 8 KiB: the recording is longer, the report goes to stderr.
    let busy = "for i in $(seq 100); do /bin/true; done";
    let line = format!("ulimit -f 8; exec \"$0\" --record \"$1/s\" -- sh -c '{busy}'");
    let output = run_command(&mut shell(&line, directory.path())?)?;
    check_status(output.status)?;
    let said = String::from_utf8(output.stderr)?;
    ensure!(said.contains("cannot record to") && said.contains("(ulimit -f)"), "{said}");
    ensure!(said.contains("\ntraced sh -c "), "no report: {said}");

    let line = format!("ulimit -f 1; exec \"$0\" --format json -o \"$1/r\" -- sh -c '{busy}'");
    let output = run_command(&mut shell(&line, directory.path())?)?;
    let said = String::from_utf8(output.stderr)?;
    ensure!(said.contains("cannot write the report") && said.contains("(ulimit -f)"), "{said}");
    ensure!(output.status.code() == Some(ENVIRONMENT), "{}", output.status);
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn a_command_is_killed_by_the_limit_on_file_size_as_without_tracer() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let line = "ulimit -f 1; exec \"$0\" --format json -o - -- sh -c 'cd \"$0\"; yes > big' \"$1\"";
    let output = run_command(&mut shell(line, directory.path())?)?;
    let report = parse(&String::from_utf8(output.stdout)?)?;
    let killed = report
        .processes
        .iter()
        .any(|process| process.exit.is_some_and(|exit| exit.signal == Some(Signal::XFSZ.as_raw())));
    ensure!(killed, "{:?}", report.processes);
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn a_machine_without_dev_null_can_be_traced() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let line = "mount -t tmpfs none /dev && cat | \"$0\" -q -o \"$1/r\" -- touch \"$1/started\"";
    let mut unshare = Command::new("unshare");
    unshare.args(["--mount", "bash", "-c", line]).arg(binary()?).arg(directory.path());
    let output = run_command(&mut unshare)?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(said.is_empty() && directory.path().join("started").exists(), "{said}");
    ensure!(fs::metadata(directory.path().join("r"))?.len() > 0, "no report");
    Ok(())
}

/// Processes that sleep until they are dropped.
struct Sleepers(Vec<Child>);

impl Sleepers {
    fn start(count: usize) -> Result<Self> {
        let mut sleepers = Self(Vec::new());
        for _ in 0..count {
            sleepers.0.push(Command::new("sleep").arg("60").stdout(Stdio::null()).spawn()?);
        }
        Ok(sleepers)
    }

    fn options(&self) -> String {
        self.0.iter().map(|child| format!(" --pid {}", child.id())).collect()
    }
}

impl Drop for Sleepers {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[test]
#[ignore = "needs root"]
fn the_limit_on_open_files_is_raised_or_named() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let sleepers = Sleepers::start(150)?;
    let trace = format!("exec \"$0\" -q --duration 100ms {}", sleepers.options());
    let output = run_command(&mut shell(&format!("ulimit -Sn 128; {trace}"), directory.path())?)?;
    check_status(output.status).context(String::from_utf8_lossy(&output.stderr).into_owned())?;

    let output = run_command(&mut shell(&format!("ulimit -n 256; {trace}"), directory.path())?)?;
    check(&output, ENVIRONMENT, &["150 processes", "open files", "256", "ulimit -Hn"])?;

    let line = "ulimit -Sn 128; exec \"$0\" -q -o \"$1/r\" -- sh -c 'ulimit -Sn > \"$0/n\"' \"$1\"";
    check_status(run_command(&mut shell(line, directory.path())?)?.status)?;
    let of_command = fs::read_to_string(directory.path().join("n"))?;
    ensure!(of_command.trim() == "128", "the command may open {of_command} files");
    Ok(())
}

/// A cgroup that limits the number of processes and threads.
struct PidsLimit(PathBuf);

impl PidsLimit {
    fn create(most: u32) -> Result<Self> {
        let mounts = fs::read_to_string("/proc/self/mounts")?;
        let mut roots = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
        let root = roots.find_map(|words| match words.as_slice() {
            [_, root, "cgroup", options, ..] if options.split(',').any(|it| it == "pids") => {
                Some(PathBuf::from(root))
            }
            [_, root, "cgroup2", ..] => {
                let file = Path::new(root).join("cgroup.subtree_control");
                let has_pids = fs::read_to_string(file).is_ok_and(|text| text.contains("pids"));
                has_pids.then(|| PathBuf::from(root))
            }
            _ => None,
        });
        let path = root.context("no pids controller is mounted")?;
        let path = path.join(format!("tracer-guard-{}", std::process::id()));
        fs::create_dir(&path)?;
        let limit = Self(path);
        fs::write(limit.0.join("pids.max"), most.to_string())?;
        Ok(limit)
    }

    fn current(&self) -> Result<u32> {
        Ok(fs::read_to_string(self.0.join("pids.current"))?.trim().parse()?)
    }
}

impl Drop for PidsLimit {
    fn drop(&mut self) {
        for pid in fs::read_to_string(self.0.join("cgroup.procs")).unwrap_or_default().lines() {
            if let Ok(pid) = pid
                .parse()
                .map_err(drop)
                .and_then(|pid| rustix::process::Pid::from_raw(pid).ok_or(()))
            {
                let _ = rustix::process::kill_process(pid, Signal::KILL);
            }
        }
        let is_empty = || Ok(fs::remove_dir(&self.0).is_ok().then_some(()));
        let _ = wait_until("the end of the cgroup", is_empty);
    }
}

#[test]
#[ignore = "needs root"]
fn a_tree_that_leaves_no_thread_for_tracer_is_reported() -> Result<()> {
    require_root()?;
    let (limit, directory) = (PidsLimit::create(40)?, TempDir::new()?);
    let report = directory.path().join("r");
    let bomb = "exec >/dev/null 2>&1; for i in $(seq 200); do /bin/true; done
        for i in $(seq 60); do sleep 60 & done; wait";
    let tracer = Tracer::default().in_cgroup(&limit.0).arg("-o").arg(&report);
    let tracer = tracer.args(["--", "bash", "-c", bomb]).start()?;
    wait_until("a full cgroup", || Ok((limit.current()? >= 40).then_some(())))?;
    tracer.interrupt()?;
    let outcome = tracer.finish()?;
    ensure!(!outcome.stderr.contains("panicked"), "{}", outcome.stderr);
    check_status(outcome.status)?;
    let report = parse(&fs::read_to_string(&report)?)?;
    ensure!(report.processes.len() > 200, "{} processes", report.processes.len());
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn where_no_thread_can_be_started_tracer_says_so() -> Result<()> {
    let mut refused = 0;
    for tasks in 1..=12 {
        let limit = PidsLimit::create(tasks)?;
        let tracer = Tracer::default().in_cgroup(&limit.0).args(["--", "true"]).launch()?;
        let outcome = tracer.finish()?;
        let code = outcome.status.code();
        if code.is_some_and(|code| code <= 1) {
            outcome.report()?;
            continue;
        }
        refused += 1;
        ensure!(code == Some(ENVIRONMENT), "with {tasks} tasks: {outcome:?}");
        ensure!(outcome.stderr.lines().count() == 1, "with {tasks} tasks: {outcome:?}");
        ensure!(outcome.stderr.contains("limit on processes"), "with {tasks} tasks: {outcome:?}");
    }
    ensure!((1..12).contains(&refused), "{refused} of 12 limits were too low");
    Ok(())
}
