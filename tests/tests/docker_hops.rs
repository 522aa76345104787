//! Hops of a container's output through shim and daemon to the client, and output that the daemon
//! drops. Tracer traces the daemons, so it is attached before the container starts.
//!
//! Needs a running `dockerd` and, in `TRACER_TEST_IMAGE`, an image in a registry on this machine.

use std::{
    process::{Command, Output},
    thread::sleep,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tracer_tests::{
    deadline::{describe, raw_pid, wait_until},
    docker::{Container, docker, image},
    expect,
    procfs::{is_blocked_in_write, named, parent_of},
    refusal,
    report::{Chain, Report, Step},
    tracer::Tracer,
};

/// Runs a docker command while the daemons and their descendants are traced.
fn on_daemons(arguments: &[&str]) -> Result<(Output, Report)> {
    on_daemons_while(|| refusal::run_command(Command::new("docker").args(arguments)))
}

fn on_daemons_while<T>(act: impl FnOnce() -> Result<T>) -> Result<(T, Report)> {
    let daemons = [named("dockerd")?, named("containerd")?].concat();
    ensure!(!daemons.is_empty(), "dockerd is not running");
    let mut tracer = Tracer::default().args(["--follow-readers", "4"]);
    for pid in daemons {
        tracer = tracer.arg("--pid").arg(pid.to_string());
    }
    while_traced(tracer, act)
}

fn while_traced<T>(tracer: Tracer, act: impl FnOnce() -> Result<T>) -> Result<(T, Report)> {
    let tracer = tracer.start()?;
    let outcome = act()?;
    tracer.interrupt()?;
    let report = tracer.finish()?.report()?;
    expect::no_losses(&report)?;
    Ok((outcome, report))
}

/// The pid of the process with exactly this command line.
fn pid_of(report: &Report, argv: &[&str]) -> Result<u32> {
    let found = report.processes.iter().find(|process| process.argv == argv);
    Ok(found.with_context(|| format!("{argv:?} is not in the report"))?.pid)
}

/// The writers in all chains of a process's stdout.
fn hops(report: &Report, pid: u32) -> Result<Vec<Step>> {
    let own = report.hops.iter().filter(|chain| chain.subject_pid == pid && chain.fd == 1);
    let steps: Vec<_> = own.flat_map(Chain::writers).collect();
    ensure!(!steps.is_empty(), "no chain of pid {pid}: {:#?}", report.hops);
    Ok(steps)
}

/// The hop of the first process with this name, which the kernel truncates to 15 characters.
fn hop<'a>(steps: &'a [Step], comm: &str) -> Result<&'a Step> {
    let found = steps.iter().find(|step| step.comm == comm);
    found.with_context(|| format!("{comm} is not a hop: {steps:#?}"))
}

fn succeeded(output: &Output, received: u64) -> Result<()> {
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "docker: {}, {stderr}", describe(output.status));
    ensure!(output.stdout.len() as u64 == received, "the client received {output:?}");
    Ok(())
}

/// A shell command whose process ends as `last`, a program in `/bin`, after two short lines.
///
/// Shim and daemon write to objects that tracer watches from the return of the first write there, and the next process
/// may have read by then (ARCHITECTURE.md, Who counts). A line for each of the two hops that this concerns makes them
/// known before the output that the tests count.
fn after_two_lines(last: &str) -> String {
    format!("for i in 1 2; do echo .; sleep 0.3; done; exec /bin/{last}")
}

/// Bytes of the two lines: counted by the shim, not always by the processes behind it.
const TWO_LINES: u64 = 4;

fn carries(step: &Step, bytes: u64) -> Result<()> {
    let exact = bytes..=bytes + TWO_LINES;
    ensure!(exact.contains(&step.bytes), "not {bytes} bytes and up to {TWO_LINES}: {step:#?}");
    Ok(())
}

/// Container, shim, daemon, client: each hop has every byte. The daemon adds framing.
#[test]
#[ignore = "needs root and docker"]
fn run_is_followed_from_the_container_to_the_client() -> Result<()> {
    let image = image()?;
    let (output, report) =
        on_daemons(&["run", "--rm", &image, "sh", "-c", &after_two_lines("echo hello")])?;
    succeeded(&output, 6 + TWO_LINES)?;
    let pid = pid_of(&report, &["/bin/echo", "hello"])?;
    let steps = hops(&report, pid)?;
    ensure!((steps[0].pid, steps[0].bytes) == (pid, 6 + TWO_LINES), "{steps:#?}");
    ensure!(hop(&steps, "containerd-shim")?.bytes == 6 + TWO_LINES, "{steps:#?}");
    ensure!(hop(&steps, "dockerd")?.bytes >= 6, "{steps:#?}");
    carries(hop(&steps, "docker")?, 6)
}

/// The terminal between container and shim converts a newline into two characters.
#[test]
#[ignore = "needs root and docker"]
fn run_on_a_terminal_is_followed_through_the_terminal() -> Result<()> {
    let image = image()?;
    let (output, report) = on_daemons(&["run", "--tty", "--rm", &image, "echo", "hello"])?;
    succeeded(&output, 7)?;
    let pid = pid_of(&report, &["echo", "hello"])?;
    let steps = hops(&report, pid)?;
    ensure!((steps[0].pid, steps[0].bytes) == (pid, 6), "{steps:#?}");
    ensure!(hop(&steps, "containerd-shim")?.bytes == 7, "{steps:#?}");
    Ok(())
}

/// The container's shim was started before the trace and is not a descendant of a target. Tracer finds it
/// as the reader of the container's output.
#[test]
#[ignore = "needs root and docker"]
fn exec_is_followed_from_the_container_to_the_daemon() -> Result<()> {
    let container = Container::start(&image()?, "exec-hops")?;
    let tracer = Tracer::on_container(container.name()).args(["--follow-readers", "4"]);
    let (output, report) = while_traced(tracer, || {
        let command = after_two_lines("seq 1 3000");
        let exec = ["exec", container.name(), "sh", "-c", &command];
        refusal::run_command(Command::new("docker").args(exec))
    })?;
    succeeded(&output, 13_893 + TWO_LINES)?;
    let steps = hops(&report, pid_of(&report, &["/bin/seq", "1", "3000"])?)?;
    ensure!(steps[0].bytes == 13_893 + TWO_LINES, "{steps:#?}");
    ensure!(hop(&steps, "containerd-shim")?.bytes == 13_893 + TWO_LINES, "{steps:#?}");
    ensure!(hop(&steps, "dockerd")?.bytes >= 13_893, "{steps:#?}");
    Ok(())
}

/// Runs a detached container to its end; returns its log. Removing the container removes the log.
fn run_and_read_log(name: &str, options: &[&str], command: &str) -> Result<(String, Container)> {
    let container = Container::named(name);
    let image = image()?;
    let create =
        [&["create", "--name", container.name()], options, &[&image, "sh", "-c", command]].concat();
    docker(&create)?;
    docker(&["start", container.name()])?;
    let logs = ["logs", "--follow", container.name()];
    let output = refusal::run_command(Command::new("docker").args(logs))?;
    ensure!(output.status.success(), "docker logs: {}", describe(output.status));
    docker(&["wait", container.name()])?;
    // `docker logs --follow` ends with the container, possibly before the last line is in the file.
    let output = refusal::run_command(Command::new("docker").args(["logs", container.name()]))?;
    Ok((String::from_utf8(output.stdout)?, container))
}

/// The output of a container without an attached client goes to the log file.
#[test]
#[ignore = "needs root and docker"]
fn a_detached_container_is_followed_to_its_log_file() -> Result<()> {
    let ((log, _kept), report) =
        on_daemons_while(|| run_and_read_log("logs", &[], &after_two_lines("seq 1 3000")))?;
    ensure!(log.len() as u64 == 13_893 + TWO_LINES, "the log has {} bytes", log.len());
    let pid = pid_of(&report, &["/bin/seq", "1", "3000"])?;
    let steps = hops(&report, pid)?;
    ensure!(hop(&steps, "containerd-shim")?.bytes == 13_893 + TWO_LINES, "{steps:#?}");
    let to_file = steps.iter().find(|step| step.object.ends_with("-json.log"));
    let to_file = to_file.with_context(|| format!("the log file is not a hop: {steps:#?}"))?;
    ensure!(to_file.comm == "dockerd" && to_file.bytes > 13_893, "{to_file:?}");
    report.has_no_finding("read_then_lost")
}

/// A non-blocking log driver drops lines silently.
#[test]
#[ignore = "needs root and docker"]
fn a_log_driver_that_drops_lines_is_reported_with_the_kept_bytes() -> Result<()> {
    let options = ["--log-driver", "json-file", "--log-opt", "mode=non-blocking"];
    let options = [&options[..], &["--log-opt", "max-buffer-size=1k"]].concat();
    let ((log, _kept), report) = on_daemons_while(|| {
        run_and_read_log("dropped", &options, &after_two_lines("seq 1 200000"))
    })?;
    let kept = log.len() as u64;
    ensure!(kept < 1_288_895, "nothing was dropped: {kept} bytes in the log");
    let lost = report.findings.iter().find(|finding| finding.rule == "read_then_lost");
    let lost = lost.with_context(|| format!("no read_then_lost: {:#?}", report.findings))?;
    let read = lost.fact("read")?.as_u64().context("`read` is no number")?;
    ensure!((1_288_895..=1_288_895 + TWO_LINES).contains(&read), "{lost:#?}");
    lost.expect("comm", "dockerd")?.expect("handed_out", kept)?.expect("lost", read - kept)?;
    lost.fact("source").map(drop)
}

/// A stopped process, continued when dropped.
struct Stopped(Pid);

impl Stopped {
    fn new(pid: u32) -> Result<Self> {
        let pid = raw_pid(pid)?;
        kill_process(pid, Signal::STOP)?;
        Ok(Self(pid))
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        // Fails only if the process is gone.
        let _ = kill_process(self.0, Signal::CONT);
    }
}

/// The shim is stopped, and then the container blocks.
#[test]
#[ignore = "needs root and docker"]
fn a_container_behind_a_stopped_shim_is_stuck_with_the_shim_named() -> Result<()> {
    const A_WHILE: Duration = Duration::from_secs(1);
    let container = Container::named("stuck");
    let endless = ["yes", "a line that is never read"];
    let image = image()?;
    let run = ["run", "--detach", "--log-driver", "none", "--name", container.name(), &image];
    docker(&[&run[..], &endless].concat())?;
    let writer = docker(&["inspect", "--format", "{{.State.Pid}}", container.name()])?;
    let writer: u32 = writer.parse().context("docker did not print a pid")?;
    let shim = parent_of(writer)?;
    let tracer = Tracer::on_container(container.name());
    let (_stopped, report) = while_traced(tracer, || {
        let stopped = Stopped::new(shim)?;
        wait_until("the container to block in write", || {
            Ok(is_blocked_in_write(writer, 1).then_some(()))
        })?;
        sleep(A_WHILE);
        Ok(stopped)
    })?;
    let finding = report.headline("stuck")?.about(writer)?;
    finding.expect("reader_pid", shim)?.expect("reader_comm", "containerd-shim")?;
    Ok(())
}
