//! Inside gVisor: the guests of a sandbox are processes of the trace, and inside and outside are one story.

use std::{
    fs,
    os::fd::OwnedFd,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use rustix::{
    net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with},
    process::Signal,
};
use tempfile::NamedTempFile;
use tracer_tests::{
    deadline::{OwnedChild, patient, wait_until},
    gvisor::{DO, Sandbox},
    procfs,
    reader::Reader,
    refusal,
    report::{Finding, Report},
    tracer::{self, RunningTracer, Tracer},
};

/// A trace of a shell's line in a new sandbox, whose report goes to a file.
struct Traced {
    running: RunningTracer,
    report: NamedTempFile,
}

impl Traced {
    fn start(options: &[&str], command: &[&str]) -> Result<Self> {
        let report = NamedTempFile::new()?;
        let tracer = Tracer::default().args(options).arg("-o").arg(report.path()).arg("--");
        Ok(Self { running: tracer.args(command).start()?, report })
    }

    fn inside(line: &str) -> Result<Self> {
        Self::start(&[], &in_sandbox(line))
    }

    fn text(self) -> Result<String> {
        let outcome = self.running.finish_within(patient(Duration::from_secs(120)))?;
        tracer::check_status(outcome.status).context(outcome.stderr)?;
        Ok(fs::read_to_string(self.report.path())?)
    }

    fn report(self) -> Result<Report> {
        tracer::parse(&self.text()?)
    }
}

/// The command that runs a shell's line in a new sandbox.
fn in_sandbox(line: &str) -> Vec<&str> {
    DO.into_iter().chain(["/bin/sh", "-c", line]).collect()
}

/// Checks that tracer saw inside, and that it missed nothing.
fn saw_everything(report: &Report) -> Result<()> {
    report.has_no_finding("out_of_sight")?;
    let losses = report.losses();
    ensure!(losses.is_empty(), "tracer missed something: {losses:?}");
    ensure!(report.processes.iter().any(|process| process.sandbox == 1), "no guest");
    Ok(())
}

/// Bytes that guests wrote through an fd.
fn by_guests(report: &Report, fd: i32) -> u64 {
    let guests = report.processes.iter().filter(|process| process.sandbox > 0);
    let rows = guests.flat_map(|process| &process.fds).filter(|row| row.fd == Some(fd));
    rows.map(|row| row.bytes).sum()
}

#[test]
#[ignore = "needs root and runsc"]
fn a_sandbox_is_seen_from_its_first_instruction() -> Result<()> {
    let line = "echo hello; seq 1 2000 | head -1; echo err >&2; exit 3";
    let report = Traced::inside(line)?.report()?;
    saw_everything(&report)?;
    // `hello`, what `head` lets through, `err`, and all numbers of `seq`, which go into the pipe.
    ensure!(by_guests(&report, 1) == 6 + 2 + 4 + 8893, "guests wrote {} B", by_guests(&report, 1));
    let first = report.processes.iter().find(|process| process.sandbox == 1).context("no guest")?;
    ensure!(first.pid == 1 && first.comm == "sh", "{first:?}");
    ensure!(first.exit.is_some_and(|exit| exit.code == Some(3)), "{first:?}");
    Ok(())
}

/// A finding without what differs inside: names, pids and times.
fn in_short(finding: &Finding) -> (String, String, String, Vec<String>) {
    let words: Vec<&str> = finding.message.split_whitespace().collect();
    let sizes = words.windows(2).filter(|pair| pair[1].trim_end_matches([',', '.', ';']) == "B");
    let sizes = sizes.map(|pair| pair[0].to_owned()).collect();
    (finding.rule.clone(), finding.severity.clone(), finding.confidence.clone(), sizes)
}

/// Runs a line outside and inside; the first finding must be the same.
fn same_answer(line: &str) -> Result<()> {
    // `runsc` is one more process above the command.
    let above = ["/bin/sh", "-c", "/bin/sh -c \"$0\"; exit $?", line];
    let outside = Traced::start(&[], &above)?.report()?;
    let inside = Traced::inside(line)?.report()?;
    saw_everything(&inside)?;
    let first = |report: &Report| report.findings.first().map(in_short);
    let (expected, found) = (first(&outside), first(&inside));
    ensure!(
        found.is_some() && found == expected,
        "outside: {expected:?}\ninside: {:#?}",
        inside.findings
    );
    Ok(())
}

/// Declares tests of lines that lose output, or do not.
macro_rules! same_answers {
    ($($name:ident: $line:expr,)*) => {$(
        #[test]
        #[ignore = "needs root and runsc"]
        fn $name() -> Result<()> {
            same_answer($line)
        }
    )*};
}

same_answers! {
    never_wrote: "true",
    only_stderr: "echo oops >&2",
    discarded: "exec >/dev/null; echo gone",
    closed_by_itself: "exec >&-; echo hello",
    exec_failed: "exec /nonexistent",
    late_writer: "sh -c '(sleep 0.5; echo late) & exit 0'; sleep 1",
    unread_at_close: "(printf %05000d 1; sleep 0.5) | (sleep 0.2; exec <&-; sleep 0.6)",
    reader_gone: "(sleep 0.3; printf %05000d 1) | exec true",
    a_pipeline_that_arrives: "printf %05000d 1 | cat | cat >&2",
    redirected: "sh -c 'echo x >/dev/full'",
    delivered: "sh -c 'exec echo hello'",
    socket_pair_unread: r#"exec perl -MSocket -e '
        socketpair(my $own, my $other, AF_UNIX, SOCK_STREAM, PF_UNSPEC);
        if (!fork) { close $own; open STDOUT, ">&", $other; exec "printf", "%0500d", 1 }
        close $other; wait; recv $own, my $some, 10, 0; close $own'"#,
    full_pipe_not_blocking: r#"exec perl -MFcntl -e '
        pipe my $reader, my $writer; fcntl $writer, F_SETFL, O_NONBLOCK | O_WRONLY;
        if (!fork) { open STDOUT, ">&", $writer; close $reader; 1 while syswrite STDOUT, "x" x 4096; exit }
        close $writer; wait; 1 while sysread $reader, my $some, 65536'"#,
    a_file_limit: "ulimit -f 1; exec head -c 100000 /dev/zero >/tmp/limited",
    closed_from_the_start: "sh -c 'echo hello; echo err >&2' <&- >&- 2>&-",
    killed_reader: "(sleep 0.5; echo gone) | sh -c 'kill -9 $$'",
    a_copy: "exec tee /dev/null </etc/hostname >/dev/null",
    a_scripts_output: "printf '#!/bin/sh\\necho x\\n' >/tmp/script; chmod +x /tmp/script; exec /tmp/script",
}

#[test]
#[ignore = "needs root and runsc"]
fn a_writer_that_is_stuck_inside_is_found() -> Result<()> {
    let line = "sh -c 'exec head -c 200000 /dev/zero' | sleep 12";
    let traced = Traced::inside(line)?;
    std::thread::sleep(patient(Duration::from_secs(5)));
    traced.running.interrupt()?;
    let report = traced.report()?;
    saw_everything(&report)?;
    report.headline("stuck")?;
    Ok(())
}

#[test]
#[ignore = "needs root and runsc"]
fn inside_and_outside_are_one_story() -> Result<()> {
    let mut sandbox = Sandbox::start_waiting("echo out; echo err >&2; sleep 1; exit 4")?;
    let out = Reader::of_stdout(&mut sandbox.runsc)?;
    let err = Reader::of_stderr(&mut sandbox.runsc)?;
    let running = Tracer::on_pid(sandbox.kernel).start()?;
    sandbox.wait_for_list()?;
    sandbox.go()?;
    let report = running.finish()?.report()?;
    ensure!(
        out.finish()?.len() == 4 && err.finish()?.len() == 4,
        "the sandbox wrote something else"
    );
    saw_everything(&report)?;
    let own = procfs::own_pid()?;
    // The shell writes `err` through fd 1, which then leads to stderr.
    let found = by_guests(&report, 1);
    ensure!(found == 8, "guests wrote {found} B to fd 1");
    let read_here = report.objects.iter().filter(|object| {
        object.readers.iter().any(|reader| reader.pid == own && reader.bytes == 4)
    });
    ensure!(read_here.count() == 2, "this process read both: {:#?}", report.objects);
    // gVisor's kernel made the same calls for its guests. They count once.
    let total: u64 = report
        .objects
        .iter()
        .filter(|object| object.readers.iter().any(|reader| reader.pid == own))
        .flat_map(|object| &object.writers)
        .map(|writer| writer.bytes)
        .sum();
    ensure!(total == 8, "{total} B were written: {:#?}", report.objects);
    Ok(())
}

/// `docker exec` does the same as `runsc exec`.
#[test]
#[ignore = "needs root and runsc"]
fn a_command_in_a_running_container_has_its_name_and_its_reader() -> Result<()> {
    let sandbox = Sandbox::start("sleep 60")?;
    let running = Tracer::on_pid(sandbox.kernel).start()?;
    sandbox.wait_for_list()?;
    has_name_and_reader(&sandbox, running, "sh (pid 3 in gVisor)")
}

/// tracer's list may have the command or not, and has its arguments then.
#[test]
#[ignore = "needs root and runsc"]
fn a_command_that_starts_while_tracer_lists_what_runs_did_not_run_before() -> Result<()> {
    let sandbox = Sandbox::start("sleep 60")?;
    let running = Tracer::on_pid(sandbox.kernel).start()?;
    sandbox.wait_for_session()?;
    has_name_and_reader(&sandbox, running, "(pid 3 in gVisor)")
}

fn has_name_and_reader(sandbox: &Sandbox, running: RunningTracer, name: &str) -> Result<()> {
    let out = sandbox.exec("echo out; echo error >&2; exit 4")?;
    ensure!(out.stdout == b"out\n" && out.stderr == b"error\n", "{out:?}");
    running.interrupt()?;
    let report = running.finish()?.report()?;
    saw_everything(&report)?;
    let finding = report.finding("delivered")?;
    let said = [name, "4 B to stdout", "6 B to stderr", "exited with 4"];
    let missing = said.into_iter().find(|part| !finding.message.contains(part));
    ensure!(missing.is_none(), "{missing:?}: {}", finding.message);
    ensure!(finding.confidence == "certain", "{finding:?}");
    Ok(())
}

/// Each byte is told once: not of gVisor's starter and again of the first guest.
#[test]
#[ignore = "needs root and runsc"]
fn output_that_arrived_is_told_once() -> Result<()> {
    let report = Traced::inside("echo hello")?.report()?;
    let told = report.findings.iter().filter(|finding| finding.rule == "delivered").count();
    ensure!(told == 1, "{:#?}", report.findings);
    Ok(())
}

#[test]
#[ignore = "needs root and runsc"]
fn a_killed_tracer_leaves_no_session_behind() -> Result<()> {
    let sandbox = Sandbox::start("sleep 60")?;
    let running = Tracer::on_pid(sandbox.kernel).start()?;
    sandbox.wait_for_session()?;
    running.kill()?;
    wait_until("its end", || Ok((sandbox.sessions()? == 0).then_some(())))
}

#[test]
#[ignore = "needs root and runsc"]
fn the_session_of_another_program_is_left_alone() -> Result<()> {
    let sandbox = Sandbox::start("sleep 60")?;
    let first = Tracer::on_pid(sandbox.kernel).start()?;
    sandbox.wait_for_session()?;
    let second = Tracer::on_pid(sandbox.kernel).args(["--duration", "3s"]).start()?;
    let outcome = second.finish()?;
    let said = "another program has the only trace session";
    ensure!(outcome.stderr.contains(said), "{}", outcome.stderr);
    outcome.report()?.headline("out_of_sight")?;
    ensure!(sandbox.sessions()? == 1, "the session is gone");
    first.interrupt()?;
    let outcome = first.finish()?;
    outcome.report()?.has_no_finding("out_of_sight").with_context(|| outcome.stderr.clone())
}

/// The sandbox is idle, so it sends nothing that says which one it is.
#[test]
#[ignore = "needs root and runsc"]
fn connections_of_others_do_not_hide_an_idle_sandbox() -> Result<()> {
    let sandbox = Sandbox::start("sleep 60")?;
    let running = Tracer::on_pid(sandbox.kernel).start()?;
    let strangers = wait_until("the socket", || Ok(connect_to_sink().ok()))?;
    sandbox.wait_for_list()?;
    running.interrupt()?;
    let outcome = running.finish()?;
    drop(strangers);
    saw_everything(&outcome.report()?).context(outcome.stderr)
}

/// Three silent connections to the socket that sandboxes with a configuration send to; one is closed at once.
fn connect_to_sink() -> Result<[OwnedFd; 2]> {
    let connected = || -> Result<OwnedFd> {
        let (domain, kind) = (AddressFamily::UNIX, SocketType::SEQPACKET);
        let socket = socket_with(domain, kind, SocketFlags::CLOEXEC, None)?;
        connect(&socket, &SocketAddrUnix::new("/run/tracer/gvisor.sock")?)?;
        Ok(socket)
    };
    drop(connected()?);
    Ok([connected()?, connected()?])
}

#[test]
#[ignore = "needs root and runsc"]
fn a_killed_sandbox_ends_the_trace() -> Result<()> {
    let sandbox = Sandbox::start("while :; do echo tick; sleep 0.1; done")?;
    let running = Tracer::on_pid(sandbox.kernel).start()?;
    sandbox.wait_for_list()?;
    let kernel = rustix::process::Pid::from_raw(sandbox.kernel.cast_signed()).context("pid")?;
    rustix::process::kill_process(kernel, Signal::KILL)?;
    let report = running.finish()?.report()?;
    report.has_no_finding("out_of_sight")
}

#[test]
#[ignore = "needs root and runsc"]
fn a_killed_guest_is_told_with_its_signal() -> Result<()> {
    let report = Traced::inside("sh -c 'echo x; kill -9 $$'; exit 0")?.report()?;
    saw_everything(&report)?;
    let killed = report.processes.iter().find(|process| process.sandbox == 1 && process.pid == 2);
    let exit = killed.context("no such guest")?.exit.context("it runs")?;
    ensure!(exit.signal == Some(9), "{exit:?}");
    Ok(())
}

#[test]
#[ignore = "needs root and runsc"]
fn short_guest_processes_are_counted_exactly() -> Result<()> {
    const PROCESSES: usize = 1000;
    let line = format!("i=0; while [ $i -lt {PROCESSES} ]; do /bin/echo line; i=$((i+1)); done");
    let traced = || Traced::inside(&line)?.report();
    let dropped = |report: &Report| report.losses().iter().any(|(why, _)| why == "guest_dropped");
    let mut report = traced()?;
    // Where other programs use all processors, gVisor may drop a message, and says so.
    for _ in 0..2 {
        if dropped(&report) {
            report.headline("own_losses")?;
            report = traced()?;
        }
    }
    saw_everything(&report)?;
    ensure!(by_guests(&report, 1) == 5 * PROCESSES as u64, "{} B", by_guests(&report, 1));
    let guests =
        report.processes.iter().filter(|process| process.sandbox == 1 && process.comm == "echo");
    ensure!(guests.count() == PROCESSES, "not {PROCESSES} guests");
    Ok(())
}

/// Releases of 2022 do not say who made a call that they tell by number.
#[test]
#[ignore = "needs root and runsc"]
fn a_call_by_number_is_counted_for_the_only_process_that_can_have_made_it() -> Result<()> {
    let text = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/gvisor.rs");
    let line = format!(
        "exec perl -e 'open my $f, q(<), q({text}); syscall(40, 1, fileno $f, 0, 5000) == 5000 or die'"
    );
    let report = Traced::inside(&line)?.report()?;
    saw_everything(&report)?;
    ensure!(by_guests(&report, 1) == 5000, "{} B", by_guests(&report, 1));
    Ok(())
}

#[test]
#[ignore = "needs root and runsc"]
fn a_recording_of_a_sandbox_gives_the_same_report() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("sandbox.rec");
    let path = file.to_str().context("path")?;
    let traced = Traced::start(&["--record", path], &in_sandbox("seq 1 100 | cat; echo err >&2"))?;
    let live = traced.text()?;
    let again =
        Command::new(tracer::binary()?).args(["report", "--format", "json", path]).output()?;
    ensure!(live == String::from_utf8(again.stdout)?, "the report of the recording differs");
    Ok(())
}

/// A manager inside reads 5,000 B, and its log says that it returned 100.
#[test]
#[ignore = "needs root and runsc"]
fn a_manager_inside_is_held_against_its_log() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let log = folder.path().join("worker.log");
    fs::write(&log, "")?;
    let manager = r#"pid=$( { sh -c 'echo $$ >&3; exec head -c 5000 /dev/zero' | cat >/dev/null; } 3>&1 )
        echo "{\"pid\":$pid,\"stream\":\"stdout\",\"bytes\":100}" >&2"#;
    let report = NamedTempFile::new()?;
    let mut command = Command::new("sh");
    command.args(["-c", "log=$1; shift; \"$@\" 2>&1 >/dev/null | cat >>\"$log\"", "sh"]);
    command.arg(&log).arg(tracer::binary()?).args(["--format", "json", "-o"]).arg(report.path());
    command.arg("--worker-log").arg(&log).arg("--").args(in_sandbox(manager));
    OwnedChild::spawn(command.stdin(Stdio::null()), "tracer")?.wait()?;
    let report = tracer::parse(&fs::read_to_string(report.path())?)?;
    saw_everything(&report)?;
    report.finding("read_then_lost")?;
    Ok(())
}

/// tracer gives `runsc` an option, and says so unless it is to be quiet.
#[test]
#[ignore = "needs root and runsc"]
fn a_quiet_trace_adds_nothing_to_the_output_of_a_sandbox() -> Result<()> {
    let command = in_sandbox("echo out; echo err >&2");
    let report = NamedTempFile::new()?;
    let path = report.path().to_str().context("path")?;
    for (quiet, said) in [(&["-q"][..], false), (&[], true)] {
        let arguments = [quiet, &["--no-live", "-o", path, "--"], &command].concat();
        let output = refusal::run(&arguments)?;
        ensure!(output.stdout == b"out\n", "{output:?}");
        let errors = String::from_utf8(output.stderr)?;
        ensure!(errors.contains("gives runsc the option") == said, "{errors}");
        ensure!(errors.contains("err\n") && (said || errors == "err\n"), "{errors}");
    }
    Ok(())
}
