//! Targets by the names that people use, several of them together.

use std::{
    fs,
    io::Write as _,
    os::fd::AsRawFd as _,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use tracer_tests::{
    cgroup::ScratchCgroup,
    deadline::{OwnedChild, wait_until},
    expect::{self, MatchBy},
    procfs::object_of,
    reader::{Pace, Reader},
    tracer::{Tracer, check_status},
    truth::Truth,
    workload::Workload,
};

/// A shell with a name of its own that waits, and then writes six bytes.
struct Named {
    shell: OwnedChild,
    name: String,
    _folder: tempfile::TempDir,
}

impl Named {
    fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let name = format!("tt{}", std::process::id());
        let program = folder.path().join(&name);
        fs::copy(fs::canonicalize("/bin/sh")?, &program)?;
        let mut command = Command::new(&program);
        command.args(["-c", "read go; echo hello"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        // A child of another test, until it executes, still has the program open for writing (ETXTBSY).
        let shell = wait_until("the shell", || Ok(OwnedChild::spawn(&mut command, &name).ok()))?;
        let comm = format!("/proc/{}/comm", shell.pid());
        let is_named = || Ok((fs::read_to_string(&comm)?.trim() == name).then_some(()));
        wait_until("the shell's own name", is_named)?;
        Ok(Self { shell, name, _folder: folder })
    }
}

#[test]
#[ignore = "needs root"]
fn a_unit_a_cgroup_and_a_process_name_are_traced_together() -> Result<()> {
    let (service, cgroup) =
        (ScratchCgroup::of_service("tracer-unit")?, ScratchCgroup::create("tracer-second")?);
    let Named { mut shell, name, _folder } = Named::start()?;
    let workload = Workload::new("write").arg("direct");
    let unit = service.name()?;
    let tracer = Tracer::default()
        .args(["--unit", unit.strip_suffix(".service").context("no suffix")?])
        .arg("--cgroup")
        .arg(cgroup.path())
        .args(["--name", &name[1..]])
        .start()?;
    let mut truth = Truth::default();
    for place in [&service, &cgroup] {
        let mut running = workload.clone().gated().spawn()?;
        place.admit(running.pid())?;
        running.open_gate()?;
        truth.processes.extend(running.finish()?.truth.processes);
    }
    let stdout = shell.take_stdout()?;
    let pipe = object_of(stdout.as_raw_fd()).context("the pipe is not in /proc")?;
    let reader = Reader::spawn(stdout.into(), Pace::Free);
    shell.take_stdin()?.write_all(b"go\n")?;
    let pid = shell.pid();
    shell.wait()?;
    ensure!(reader.finish()?.len() == 6);
    drop((service, cgroup));
    let report = tracer.finish()?.report()?;
    expect::no_losses(&report)?;
    ensure!(report.written_to(&pipe) == 6 && report.bytes_of(pid, 1) == 6, "{report:#?}");
    ensure!(truth.processes.len() >= 2, "{truth:?}");
    let mut of_cgroups = report;
    of_cgroups.processes.retain(|process| process.pid != pid);
    expect::rows_agree(&of_cgroups, &truth, MatchBy::Fd)
}

/// `docker exec` is such a command: what it prints is written by a process of the container.
#[test]
#[ignore = "needs root"]
fn a_trace_of_a_command_and_a_cgroup_ends_with_the_command() -> Result<()> {
    let cgroup = ScratchCgroup::create("tracer-beside")?;
    let workload = Workload::new("write").arg("direct").gated();
    let mut running = workload.spawn()?;
    cgroup.admit(running.pid())?;
    let folder = tempfile::tempdir()?;
    let fifo = folder.path().join("go");
    ensure!(Command::new("mkfifo").arg(&fifo).status()?.success());
    let tracer = Tracer::on_cgroup(cgroup.path())
        .args(["-o", "-", "--", "sh", "-c", "read go <\"$0\"; echo done >&2"])
        .arg(&fifo)
        .start()?;
    running.open_gate()?;
    let truth = running.finish()?.truth;
    fs::write(&fifo, "go\n")?;
    // The cgroup is still there.
    let outcome = tracer.finish()?;
    check_status(outcome.status)?;
    let report = outcome.report()?;
    let shell = report.processes.iter().find(|process| process.comm == "sh").context("no sh")?.pid;
    let by_shell = report.rows().filter(|(pid, _)| *pid == shell).map(|(_, row)| row.bytes);
    ensure!(by_shell.sum::<u64>() == 5, "{report:#?}");
    let mut of_cgroup = report;
    of_cgroup.processes.retain(|process| process.pid != shell);
    expect::rows_agree(&of_cgroup, &truth, MatchBy::Fd)
}

#[test]
#[ignore = "needs root"]
fn a_unit_that_does_not_run_and_a_name_that_no_process_has_are_one_sentence() -> Result<()> {
    for (option, name, words) in [
        ("--unit", "tracer-none", "unit tracer-none.service does not run"),
        ("--name", "^tracer-none$", "no running process matches `--name ^tracer-none$`"),
        ("--pod", "tracer/none", "no container of the pod tracer/none is on this machine"),
    ] {
        let outcome = Tracer::default().args([option, name]).launch()?.finish()?;
        ensure!(outcome.status.code() == Some(3), "{option}: {:?}", outcome.status);
        let lines: Vec<&str> = outcome.stderr.lines().collect();
        ensure!(lines.len() == 1 && lines[0].contains(words), "{option}: {lines:?}");
    }
    Ok(())
}
