//! Nothing that a tracee, a file system or a reader does stops tracer: it answers signals, and it reports.

use std::{
    fs,
    os::unix::process::ExitStatusExt as _,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;
use tracer_tests::{
    deadline::{OwnedChild, patient, wait_until},
    frozen_disk::FrozenDisk,
    report::Report,
    still_fs::{Owner, StillFs},
    tracer::{ATTACHED, Outcome, RunningTracer, Tracer, binary, check_status},
};

/// The time from a signal to the end of tracer: a report begins after two seconds at most.
const ANSWER: Duration = Duration::from_secs(4);

/// The same for what is only slow: longer than the two seconds by what a loaded machine needs.
const SLOW: Duration = Duration::from_secs(3);

/// Interrupts tracer, which must then end in time.
fn end_in_time(tracer: RunningTracer) -> Result<Outcome> {
    end_within(tracer, ANSWER)
}

fn end_within(tracer: RunningTracer, limit: Duration) -> Result<Outcome> {
    tracer.interrupt()?;
    let began = Instant::now();
    let outcome = tracer.finish_within(patient(4 * ANSWER))?;
    ensure!(began.elapsed() < patient(limit), "it ended after {:?}", began.elapsed());
    Ok(outcome)
}

/// Interrupts tracer, which must then report in time.
fn report_in_time(tracer: RunningTracer) -> Result<Report> {
    let outcome = end_in_time(tracer)?;
    check_status(outcome.status)?;
    outcome.report()
}

/// Checks that the report tells this many looks of a kind that were not answered.
fn check_not_seen(report: &Report, kind: &str) -> Result<()> {
    let finding = report.finding("not_seen")?;
    ensure!(finding.fact(kind)?.as_u64() >= Some(1), "{finding:?}");
    ensure!(finding.message.starts_with("not seen: "), "{finding:?}");
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn a_process_that_holds_its_own_memory_is_traced_and_reported() -> Result<()> {
    let mut held = StillFs::prepare(Owner::User)?;
    let pid = held.start("locked")?;
    // Nothing answers for it, also before tracer looks.
    let tracer = Tracer::on_pid(pid).start()?;
    let report = report_in_time(tracer)?;
    check_not_seen(&report, "process")?;
    ensure!(report.processes.iter().any(|process| process.pid == pid), "{:?}", report.processes);
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn a_process_that_locks_its_memory_while_it_is_traced_is_reported() -> Result<()> {
    let held = StillFs::prepare(Owner::User)?;
    // Its server must not hold tracer's streams.
    let shell = ["--", "sh", "-c", "exec \"$@\" >/dev/null 2>&1", "sh"];
    let tracer = Tracer::default().args(shell).args(held.command("locked")).start()?;
    held.wait_ready()?;
    let report = report_in_time(tracer)?;
    ensure!(report.processes.iter().any(|process| process.comm == "stillfs"), "{report:?}");
    Ok(())
}

/// Output goes to a file on a file system that stands still when the trace ends.
fn output_stands_still(owner: Owner) -> Result<()> {
    let mut still = StillFs::prepare(owner)?;
    let pid = still.start("silent")?;
    let tracer = Tracer::on_pid(pid).start()?;
    std::thread::sleep(Duration::from_millis(300));
    still.stand_still()?;
    std::thread::sleep(Duration::from_millis(300));
    let tracer_pid = tracer.pid();
    let report = report_in_time(tracer)?;
    let written: u64 = report.objects.iter().filter_map(|object| object.written).sum();
    ensure!(written > 0, "{report:?}");
    // The kernel refuses to ask a file system of another user namespace, instead of waiting for it.
    if owner == Owner::Root {
        check_not_seen(&report, "file")?;
    }
    let is_gone = || Ok((!fs::exists(format!("/proc/{tracer_pid}"))?).then_some(()));
    wait_until("the end of tracer", is_gone).context("a thread of it is blocked")
}

#[test]
#[ignore = "needs root"]
fn output_on_a_file_system_of_root_that_stands_still_is_reported() -> Result<()> {
    output_stands_still(Owner::Root)
}

#[test]
#[ignore = "needs root"]
fn output_on_a_file_system_of_a_user_that_stands_still_is_reported() -> Result<()> {
    output_stands_still(Owner::User)
}

#[test]
#[ignore = "needs root"]
fn a_main_thread_that_waits_for_ever_is_told_of_after_a_second() -> Result<()> {
    let tracer = Tracer::default().args(["--", "sh", "-c", QUIET]).start()?;
    // Whatever a call waits for: a thread that a debugger has stopped does not come back either.
    let main = Stopped::stop(tracer.pid())?;
    let outcome = end_within(tracer, SLOW)?;
    drop(main);
    ensure!(outcome.status.signal() == Some(libc::SIGINT), "{outcome:?}");
    let sentence = "tracer: SIGINT ends tracer without a report: it could not end the trace";
    ensure!(outcome.stderr.contains(sentence) && outcome.stdout.is_empty(), "{outcome:?}");
    Ok(())
}

/// A thread that a debugger has stopped: all others of its process go on.
struct Stopped(libc::pid_t);

impl Stopped {
    /// Stops the main thread of a process. The calling thread is the debugger (`ptrace(2)`).
    fn stop(pid: u32) -> Result<Self> {
        let thread = libc::pid_t::try_from(pid)?;
        // SAFETY: neither request uses an address.
        let stopped = unsafe {
            libc::ptrace(libc::PTRACE_SEIZE, thread, 0, 0) == 0
                && libc::ptrace(libc::PTRACE_INTERRUPT, thread, 0, 0) == 0
        };
        ensure!(stopped, "{}", std::io::Error::last_os_error());
        let is_stopped = || {
            let stat = fs::read_to_string(format!("/proc/{thread}/task/{thread}/stat"))?;
            Ok(stat.contains(") t ").then_some(()))
        };
        wait_until("the debugger", is_stopped)?;
        Ok(Self(thread))
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        // SAFETY: no address is used. It fails if the process has ended.
        unsafe { libc::ptrace(libc::PTRACE_DETACH, self.0, 0, 0) };
    }
}

/// A file system with an empty file, and the path of that file in tracer's view.
fn empty_file() -> Result<(StillFs, u32, String)> {
    file_on("empty")
}

/// The same in a mode of `stillfs`.
fn file_on(mode: &str) -> Result<(StillFs, u32, String)> {
    let mut still = StillFs::prepare(Owner::Root)?;
    let pid = still.start(mode)?;
    let path = format!("/proc/{pid}/root{}/mnt/f", still.path().display());
    Ok((still, pid, path))
}

#[test]
#[ignore = "needs root"]
fn a_report_to_a_file_system_that_stands_still_goes_to_standard_error() -> Result<()> {
    let (still, pid, path) = empty_file()?;
    let tracer = Tracer::on_pid(pid).args(["-o", &path]).start()?;
    still.stand_still()?;
    let outcome = end_in_time(tracer)?;
    ensure!(outcome.status.code() == Some(3), "{outcome:?}");
    ensure!(outcome.stderr.contains("\"schema\""), "{outcome:?}");
    let sentence =
        format!("tracer: cannot write the report to {path}: its file system does not answer");
    ensure!(outcome.stderr.ends_with(&sentence), "{outcome:?}");
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn a_recording_on_a_file_system_that_stands_still_is_cut_and_the_trace_is_reported() -> Result<()> {
    let (still, pid, path) = empty_file()?;
    let tracer = Tracer::on_pid(pid).args(["--record", &path]).start()?;
    still.stand_still()?;
    let outcome = end_in_time(tracer)?;
    check_status(outcome.status)?;
    ensure!(outcome.report()?.processes.iter().any(|process| process.pid == pid), "{outcome:?}");
    let sentence = format!("the recording {path} is cut: its file system does not answer");
    ensure!(outcome.stderr.contains(&sentence), "{outcome:?}");
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn a_recording_on_a_slow_file_system_is_cut_and_the_trace_is_reported() -> Result<()> {
    let (_slow, _, path) = file_on("slow")?;
    // Long arguments are long lines of the recording. It waits in tracer until the file system takes it.
    let many =
        "a=$(head -c 3000 /dev/zero | tr '\\0' a); for i in $(seq 600); do /bin/true $a; done
        exec sleep 30";
    let tracer = Tracer::default().args(["--record", &path, "--", "sh", "-c"]);
    let tracer = tracer.arg(format!("exec >/dev/null 2>&1; {many}")).start()?;
    wait_until("the last command", || has_child(tracer.pid(), "sleep"))?;
    std::thread::sleep(Duration::from_millis(200));
    let outcome = end_within(tracer, SLOW)?;
    check_status(outcome.status)?;
    ensure!(outcome.report()?.processes.len() > 600, "{}", outcome.stderr);
    let sentence =
        format!("the recording {path} is cut: its file system is too slow: it did not take ");
    ensure!(outcome.stderr.contains(&sentence), "{}", outcome.stderr);
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn a_program_on_a_file_system_that_stands_still_is_named_after_a_signal() -> Result<()> {
    let (_mute, _, path) = file_on("mute")?;
    let directory = tempfile::tempdir()?;
    let log = directory.path().join("log");
    let said = || fs::read_to_string(&log).unwrap_or_default();
    // The command has tracer's streams for as long as its file system does not answer.
    let mut command = Command::new(binary()?);
    command.args(["--", &path]).stdin(Stdio::null()).stdout(Stdio::null());
    let mut tracer = OwnedChild::spawn(command.stderr(fs::File::create(&log)?), "tracer")?;
    wait_until("the trace", || Ok(said().contains(ATTACHED).then_some(()))).with_context(said)?;
    std::thread::sleep(Duration::from_millis(300));
    let began = Instant::now();
    tracer.signal(Signal::INT)?;
    let status = tracer.wait_for(patient(4 * ANSWER))?;
    ensure!(began.elapsed() < patient(SLOW), "it ended after {:?}", began.elapsed());
    let sentence = format!("`{path}` did not start until tracer was told to stop");
    ensure!(status.code() == Some(3) && said().contains(&sentence), "{status}: {}", said());
    Ok(())
}

/// `Some` if a child of the main thread of a process has this name. The name changes with `execve`.
fn has_child(pid: u32, name: &str) -> Result<Option<()>> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
    let is_it = |child: &str| {
        let comm = fs::read_to_string(format!("/proc/{child}/comm"));
        comm.is_ok_and(|comm| comm.trim_end() == name)
    };
    Ok(children.split_whitespace().any(is_it).then_some(()))
}

#[test]
#[ignore = "needs root"]
fn a_file_system_that_stands_still_is_named_before_the_trace() -> Result<()> {
    let (still, pid, path) = empty_file()?;
    still.stand_still()?;
    let folder = format!("{path}older");
    let places =
        [["-o", &path], ["--record", &path], ["--capture", &folder], ["--worker-log", &path]];
    for options in places {
        let outcome = Tracer::on_pid(pid).args(options).launch()?.finish()?;
        ensure!(outcome.status.code() == Some(3), "{outcome:?}");
        let names = outcome.stderr.contains(&path);
        let says = outcome.stderr.contains(": its file system does not answer");
        ensure!(names && says && outcome.stderr.lines().count() == 1, "{outcome:?}");
    }
    Ok(())
}

/// A command that does not hold tracer's streams.
const QUIET: &str = "exec sleep 30 >/dev/null 2>&1";

/// A command that writes lines which nothing reads. It does not hold tracer's streams.
const WRITES: [&str; 4] = [
    "--",
    "sh",
    "-c",
    "exec python3 -c 'import subprocess as s, time\n\
     p = s.Popen([\"sh\", \"-c\", \"while :; do echo line; sleep 0.01; done\"], stdout=s.PIPE)\n\
     time.sleep(60)' >/dev/null 2>&1",
];

/// Waits until a file of the folder has bytes.
fn wait_for_bytes(folder: &Path) -> Result<()> {
    let has_bytes = |entry: std::io::Result<fs::DirEntry>| {
        entry.is_ok_and(|it| {
            it.file_name().to_string_lossy().ends_with(".stdout")
                && it.metadata().is_ok_and(|found| found.len() > 0)
        })
    };
    wait_until("captured bytes", || {
        let entries = fs::read_dir(folder);
        Ok(entries.is_ok_and(|mut all| all.any(has_bytes)).then_some(()))
    })
}

#[test]
#[ignore = "needs root"]
fn a_capture_on_a_disk_that_stands_still_is_cut_and_the_trace_is_reported() -> Result<()> {
    let disk = FrozenDisk::prepare()?;
    let folder = disk.join("out");
    let path = folder.to_str().context("no text")?;
    let tracer = Tracer::default().args(["--capture", path]).args(WRITES).start()?;
    wait_for_bytes(&folder)?;
    disk.stand_still()?;
    std::thread::sleep(Duration::from_millis(300));
    let pid = tracer.pid();
    // No part of it is left that `kill -9` could not end.
    let outcome = end_in_time(tracer)?;
    ensure!(!fs::exists(format!("/proc/{pid}"))?, "a thread of it is blocked");
    let report = outcome.report()?;
    ensure!(report.capture.is_none(), "{report:?}");
    ensure!(report.objects.iter().any(|object| object.written > Some(0)), "{report:?}");
    let sentence =
        format!("the capture was cut short: cannot use {path}: its file system does not answer");
    ensure!(outcome.stderr.contains(&sentence), "{outcome:?}");
    disk.go_on()
}

#[test]
#[ignore = "needs root"]
fn a_capture_on_a_slow_disk_has_gaps_and_the_trace_is_reported() -> Result<()> {
    let disk = FrozenDisk::prepare()?;
    let folder = disk.join("out");
    let path = folder.to_str().context("no text")?;
    // Many small records: the disk takes some of them each time.
    let lines = "while :; do echo line; done | cat >/dev/null";
    let command = format!("exec sh -c '{lines}' >/dev/null 2>&1");
    let tracer = Tracer::default().args(["--capture", path, "--", "sh", "-c", &command]).start()?;
    wait_for_bytes(&folder)?;
    let outcome = disk.slow_during(|| {
        std::thread::sleep(Duration::from_secs(2));
        end_within(tracer, SLOW)
    })?;
    check_status(outcome.status)?;
    let report = outcome.report()?;
    let Some(capture) = report.capture else {
        // This machine is so busy that not even the accounts were closed in time.
        let sentence = format!("the capture was cut short: cannot use {path}");
        ensure!(outcome.stderr.contains(&sentence), "{}", outcome.stderr);
        return Ok(());
    };
    let sentence = format!("the capture {path} is incomplete: its disk was too slow");
    ensure!(outcome.stderr.contains(&sentence), "{}", outcome.stderr);
    ensure!(format!("{capture:?}").contains("slow_output"), "{capture:?}");
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn recovered_output_on_a_disk_that_stands_still_is_quoted_and_not_written() -> Result<()> {
    let (disk, elsewhere) = (FrozenDisk::prepare()?, tempfile::tempdir()?);
    let (folder, back) = (elsewhere.path().join("out"), disk.join("back"));
    let [path, back] = [&folder, &back].map(|path| path.to_str());
    let (path, back) = (path.context("no text")?, back.context("no text")?);
    let options = ["--capture", path, "--recover", back];
    let tracer = Tracer::default().args(options).args(WRITES).start()?;
    wait_for_bytes(&folder)?;
    disk.stand_still()?;
    let outcome = end_in_time(tracer)?;
    check_status(outcome.status)?;
    ensure!(outcome.report()?.objects.iter().any(|object| object.written > Some(0)), "{outcome:?}");
    let sentence = format!("cannot use {path}: its file system does not answer");
    ensure!(outcome.stderr.contains(&sentence), "{outcome:?}");
    disk.go_on()
}

#[test]
#[ignore = "needs root"]
fn a_disk_that_stands_still_is_named_before_the_capture() -> Result<()> {
    let disk = FrozenDisk::prepare()?;
    let elsewhere = tempfile::tempdir()?;
    let free = elsewhere.path().join("out");
    let [free, still] = [&free, &disk.join("out")].map(|path| path.to_string_lossy().into_owned());
    disk.stand_still()?;
    for options in [&["--capture", &still][..], &["--capture", &free, "--recover", &still]] {
        let outcome = Tracer::default().args(options).args(["--", "true"]).launch()?.finish()?;
        ensure!(outcome.status.code() == Some(3), "{outcome:?}");
        let ends = outcome.stderr.ends_with(": its file system does not answer");
        ensure!(ends && outcome.stderr.lines().count() == 1, "{outcome:?}");
    }
    disk.go_on()
}
