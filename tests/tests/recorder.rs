//! The always-on recorder: it answers afterwards what a trace would have answered.

use std::{
    io::Read as _, os::unix::net::UnixDatagram, process::Command, thread::sleep, time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use serde_json::Value;
use tempfile::TempDir;
use tracer_tests::{
    cgroup::ScratchCgroup,
    deadline::{DEADLINE, wait_until},
    recorder::{Recorder, entries, entry, history, run_and_leave, start_in, why},
};

/// Runs a command in a cgroup, reads what it writes to stdout, and returns that.
fn run(cgroup: &ScratchCgroup, argv: &[&str]) -> Result<Vec<u8>> {
    let mut child = start_in(cgroup, argv)?;
    drop(child.take_stdin()?);
    let mut read = Vec::new();
    child.take_stdout()?.read_to_end(&mut read)?;
    let status = child.wait()?;
    ensure!(status.success(), "{argv:?}: {status}");
    Ok(read)
}

fn text(answer: &std::process::Output) -> String {
    String::from_utf8_lossy(&answer.stdout).into_owned()
}

#[test]
#[ignore = "needs root"]
fn yesterdays_loss_and_yesterdays_success_are_told() -> Result<()> {
    let (folder, cgroup) = (TempDir::new()?, ScratchCgroup::create("tracer-rec")?);
    let recorder = Recorder::start(folder.path(), &["--cgroup", cgroup.name()?])?;
    ensure!(run(&cgroup, &["seq", "100"])?.len() == 292);
    run_and_leave(&cgroup, &["head", "-c", "3000", "/dev/zero"], 1_000)?;
    let (read, lost) = (entry(folder.path(), "seq")?, entry(folder.path(), "head")?);
    recorder.stop()?;
    ensure!(read["rule"] == "delivered" && read["has_loss"] == false, "{read:#}");
    ensure!(read["streams"][0]["bytes"] == 292, "{read:#}");
    ensure!(read["streams"][0]["fate"]["delivered"] == 292, "{read:#}");
    ensure!(read["report"].is_null(), "{read:#}");
    ensure!(lost["rule"] == "unread" && lost["confidence"] == "certain", "{lost:#}");
    ensure!(lost["streams"][0]["bytes"] == 3_000, "{lost:#}");
    let fate = &lost["streams"][0]["fate"];
    ensure!(fate["lost"] == 2_000 && fate["delivered"] == 1_000, "{lost:#}");
    let answer = why(folder.path(), &["--name", "head"])?;
    ensure!(answer.status.code() == Some(1), "{answer:?}");
    ensure!(text(&answer).contains("2,000 B"), "{}", text(&answer));
    let answer = why(folder.path(), &["--name", "^seq$"])?;
    ensure!(answer.status.code() == Some(0), "{answer:?}");
    ensure!(text(&answer).contains("292 B"), "{}", text(&answer));
    Ok(())
}

/// It does not end, and the recorder goes on: the answer does not wait for either.
#[test]
#[ignore = "needs root"]
fn a_command_that_hangs_is_told_while_it_hangs() -> Result<()> {
    let (folder, cgroup) = (TempDir::new()?, ScratchCgroup::create("tracer-hang")?);
    let recorder = Recorder::start(folder.path(), &["--cgroup", cgroup.name()?])?;
    let mut stuck = start_in(&cgroup, &["seq", "1", "100000"])?;
    let mut reader = stuck.take_stdout()?;
    // The looks are five seconds apart, and a hang is what lasts for three of them, twice.
    sleep(HANG);
    let found = entry(folder.path(), "seq")?;
    ensure!(found["rule"] == "stuck" && found["is_interim"] == true, "{found:#}");
    ensure!(entries(folder.path(), &["--lost"])?.len() == 1);
    let answer = why(folder.path(), &["--name", "^seq$"])?;
    ensure!(answer.status.code() == Some(1), "{answer:?}");
    ensure!(text(&answer).contains("65,536 B"), "{}", text(&answer));
    reader.read_to_end(&mut Vec::new())?;
    stuck.wait()?;
    wait_until("the entry of its end", || {
        let ended = entries(folder.path(), &["--name", "^seq$"])?;
        Ok(ended
            .into_iter()
            .find(|entry| entry["is_interim"] == false && entry["rule"] == "delivered"))
    })?;
    recorder.stop()
}

/// How long a command hangs at least until it has an entry.
const HANG: Duration = Duration::from_secs(25);

/// A refusal leaves no object behind, and the pid that a process writes to enter a cgroup is no output.
#[test]
#[ignore = "needs root"]
fn a_closed_stdout_is_told_of_a_process_that_entered_by_itself() -> Result<()> {
    let (folder, cgroup) = (TempDir::new()?, ScratchCgroup::create("tracer-enter")?);
    let recorder = Recorder::start(folder.path(), &["--cgroup", cgroup.name()?])?;
    let members = cgroup.path().join("cgroup.procs");
    let enters = "echo $$ >\"$0\"; exec sh -c \"$1\"";
    let run = |line: &str| -> Result<()> {
        let mut command = Command::new("sh");
        command.args(["-c", enters]).arg(&members).arg(line);
        let output = command.output().context("cannot start sh")?;
        ensure!(output.stderr.is_empty() || line.contains("seq"), "{output:?}");
        Ok(())
    };
    run("exec dd if=/dev/zero of=/proc/self/fd/1 bs=70 count=1 status=none")?;
    run("exec seq 1 1000 >&-")?;
    let (written, refused) = (entry(folder.path(), "dd")?, entry(folder.path(), "seq")?);
    recorder.stop()?;
    let sentence = written["sentence"].as_str().context("no sentence")?;
    ensure!(written["rule"] == "delivered" && sentence.starts_with("dd"), "{written:#}");
    ensure!(sentence.contains("wrote 70 B to stdout"), "{written:#}");
    ensure!(refused["rule"] == "refused", "{refused:#}");
    let sentence = refused["sentence"].as_str().context("no sentence")?;
    ensure!(sentence.contains("EBADF") && sentence.contains("seq"), "{refused:#}");
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn a_cgroup_that_appears_later_is_recorded() -> Result<()> {
    let folder = TempDir::new()?;
    let other = ScratchCgroup::create("tracer-other")?;
    let root = other.path().parent().context("no root")?;
    let wanted = root.join("tracer-late-*").to_string_lossy().into_owned();
    let recorder = Recorder::start(folder.path(), &["--cgroup", &wanted])?;
    let cgroup = ScratchCgroup::create("tracer-late")?;
    run(&other, &["seq", "5"])?;
    run(&cgroup, &["seq", "100"])?;
    let found = entry(folder.path(), "seq")?;
    ensure!(found["streams"][0]["bytes"] == 292, "{found:#}");
    let place = format!("/{}", cgroup.name()?);
    ensure!(found["place"]["cgroup"] == place.as_str(), "{found:#}");
    recorder.stop()?;
    ensure!(entries(folder.path(), &[])?.len() == 1);
    Ok(())
}

/// A process that was met in one cgroup and executes a program in another one, as a container's first process does.
#[test]
#[ignore = "needs root"]
fn a_command_is_in_its_own_cgroup_and_not_in_that_of_what_started_it() -> Result<()> {
    let (folder, cgroup) = (TempDir::new()?, ScratchCgroup::create("tracer-own")?);
    let below = cgroup.path().join("below");
    std::fs::create_dir(&below)?;
    let recorder = Recorder::start(folder.path(), &["--cgroup", cgroup.name()?])?;
    let line = "echo $$ >\"$0/cgroup.procs\"; exec seq 3000";
    run_and_leave(&cgroup, &["sh", "-c", line, below.to_str().context("no text")?], 10)?;
    let found = entry(folder.path(), "seq")?;
    ensure!(found["place"]["cgroup"] == format!("/{}/below", cgroup.name()?), "{found:#}");
    recorder.stop()?;
    std::fs::remove_dir(below).map_err(Into::into)
}

/// A manager that lives for long: its commands are judged when they end, and itself in the end.
#[test]
#[ignore = "needs root"]
fn commands_of_a_manager_are_judged_while_it_runs() -> Result<()> {
    let (folder, cgroup) = (TempDir::new()?, ScratchCgroup::create("tracer-manager")?);
    let recorder = Recorder::start(folder.path(), &["--cgroup", cgroup.name()?])?;
    let line = "x=$(seq 10); seq 1 2000 | head -1; y=$(dd if=/dev/zero bs=50 count=3 2>/dev/null | tr '\\0' x); read go";
    let mut manager = start_in(&cgroup, &["sh", "-c", line])?;
    let found = entry(folder.path(), "seq")?;
    ensure!(found["rule"] == "delivered" && found["streams"][0]["bytes"] == 21, "{found:#}");
    let told = found["streams"][0]["reader"].as_str().context("no reader")?;
    ensure!(told.starts_with("sh (pid "), "{found:#}");
    // A part of a pipeline is no job.
    ensure!(entries(folder.path(), &["--name", "^head$"])?.is_empty());
    drop(manager.take_stdin()?);
    let mut read = String::new();
    manager.take_stdout()?.read_to_string(&mut read)?;
    ensure!(read == "1\n", "{read}");
    manager.wait()?;
    let whole = entry(folder.path(), "sh")?;
    ensure!(whole["is_interim"] == false, "{whole:#}");
    recorder.stop()
}

#[test]
#[ignore = "needs root"]
fn after_a_kill_the_time_without_a_recorder_is_told() -> Result<()> {
    let (folder, cgroup) = (TempDir::new()?, ScratchCgroup::create("tracer-killed")?);
    let arguments = ["--cgroup", cgroup.name()?];
    let recorder = Recorder::start(folder.path(), &arguments)?;
    run(&cgroup, &["seq", "100"])?;
    entry(folder.path(), "seq")?;
    recorder.kill()?;
    sleep(Duration::from_secs(2));
    run(&cgroup, &["head", "-c", "5", "/dev/zero"])?;
    let recorder = Recorder::start(folder.path(), &arguments)?;
    run(&cgroup, &["tail", "-c", "7", "/etc/passwd"])?;
    entry(folder.path(), "tail")?;
    recorder.stop()?;
    let gaps: Vec<Value> =
        history(folder.path(), &[])?.into_iter().filter(|item| item["type"] == "gap").collect();
    ensure!(gaps.len() == 1 && gaps[0]["reason"] == "not_running", "{gaps:#?}");
    let span = gaps[0]["until_us"].as_i64().zip(gaps[0]["from_us"].as_i64());
    let (until, from) = span.context("no times")?;
    ensure!((1_900_000..60_000_000).contains(&(until - from)), "{gaps:#?}");
    ensure!(entries(folder.path(), &["--name", "^head$"])?.is_empty());
    let middle = Timestamp::from_microsecond(from + (until - from) / 2)?.to_string();
    let answer = why(folder.path(), &["--name", "^head$", "--at", &middle])?;
    ensure!(answer.status.code() == Some(0), "{answer:?}");
    ensure!(text(&answer).contains("not running"), "{}", text(&answer));
    Ok(())
}

/// Each line: a process, two pipes, output that arrives. Some lose it.
#[test]
#[ignore = "needs root"]
fn thousands_of_jobs_leave_no_memory_and_every_loss_is_found() -> Result<()> {
    const ROUNDS: u64 = 6;
    const JOBS: u64 = 400;
    let (folder, cgroup) = (TempDir::new()?, ScratchCgroup::create("tracer-many")?);
    let recorder = Recorder::start(folder.path(), &["--cgroup", cgroup.name()?])?;
    let mut sizes = Vec::new();
    for round in 1..=ROUNDS {
        let line = format!("for i in $(seq {JOBS}); do x=$(/bin/echo hello); done");
        run(&cgroup, &["sh", "-c", &line])?;
        run_and_leave(&cgroup, &["head", "-c", "3000", "/dev/zero"], 1_000)?;
        let all = round * (JOBS + 3);
        let number =
            || -> Result<u64> { Ok(entries(folder.path(), &["--limit", "100000"])?.len() as u64) };
        let found = wait_until("all entries", || Ok(Some(number()?).filter(|found| *found >= all)));
        found.with_context(|| format!("{:?} of {all} in round {round}", number()))?;
        sizes.push(recorder.resident()?);
    }
    recorder.stop()?;
    let all = entries(folder.path(), &["--limit", "100000"])?;
    let of = |name: &str| all.iter().filter(|entry| entry["name"] == name).collect::<Vec<_>>();
    ensure!(of("echo").len() as u64 == ROUNDS * JOBS, "{} echo", of("echo").len());
    let exact = |entry: &&&Value| entry["streams"][0]["bytes"] == 6 && entry["rule"] == "delivered";
    ensure!(of("echo").iter().all(|entry| exact(&entry)), "{:#?}", of("echo"));
    let lost: Vec<_> = all.iter().filter(|entry| entry["has_loss"] == true).collect();
    ensure!(lost.len() as u64 == ROUNDS, "{lost:#?}");
    ensure!(lost.iter().all(|entry| entry["name"] == "head"), "{lost:#?}");
    let (third, last) = (sizes[2], sizes[sizes.len() - 1]);
    ensure!(last <= third + (4 << 20), "memory: {sizes:?}");
    Ok(())
}

/// `sd_notify(3)`: systemd waits for the first message, and restarts a service whose watchdog messages stop.
#[test]
#[ignore = "needs root"]
fn the_service_manager_hears_that_it_is_ready_and_alive_and_that_it_stops() -> Result<()> {
    let folder = TempDir::new()?;
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path)?;
    socket.set_read_timeout(Some(*DEADLINE))?;
    let heard = || -> Result<String> {
        let mut buffer = [0; 256];
        let length = socket.recv(&mut buffer)?;
        Ok(String::from_utf8_lossy(&buffer[..length]).into_owned())
    };
    let history = folder.path().join("history");
    let address = path.to_string_lossy();
    let variables = [("NOTIFY_SOCKET", &*address), ("WATCHDOG_USEC", "400000")];
    let recorder = Recorder::start_with(&history, &["--cgroup", "nothing-*"], &variables)?;
    let first = heard()?;
    ensure!(first.contains("READY=1"), "{first}");
    for _ in 0..3 {
        let alive = heard()?;
        ensure!(alive.contains("WATCHDOG=1"), "{alive}");
    }
    recorder.stop()?;
    let last = wait_until("the last message", || {
        Ok(Some(heard()?).filter(|said| said.contains("STOPPING=1")))
    })?;
    ensure!(!last.is_empty());
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn what_cannot_be_recorded_or_answered_is_told_in_one_line() -> Result<()> {
    let folder = TempDir::new()?;
    let empty = why(folder.path(), &["--name", "x"])?;
    ensure!(empty.status.code() == Some(3), "{empty:?}");
    let path = folder.path().to_string_lossy().into_owned();
    ensure!(String::from_utf8_lossy(&empty.stderr).contains(&path), "{empty:?}");
    let nothing = Command::new(tracer_tests::tracer::binary()?).arg("daemon").output()?;
    ensure!(nothing.status.code() == Some(2), "{nothing:?}");
    let check = Command::new(tracer_tests::tracer::binary()?)
        .args(["daemon", "--check", "--cgroup", "nothing-*", "--history", &path])
        .output()?;
    ensure!(check.status.success(), "{check:?}");
    Ok(())
}
