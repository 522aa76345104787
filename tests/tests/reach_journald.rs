//! Findings in the journal of the real systemd-journald.

use std::{fs, io::Read as _, os::unix::fs::symlink, time::SystemTime};

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;
use tracer_tests::{
    cgroup::ScratchCgroup,
    deadline::wait_until,
    journal::{Journald, journalctl},
    recorder::{Recorder, entry, run_and_leave, start_in},
};

/// Only what the test itself planted: the journal may be the machine's.
fn of_pid(entries: Vec<Value>, pid: u32) -> Vec<Value> {
    let pid = pid.to_string();
    entries.into_iter().filter(|entry| entry["TRACER_PID"] == pid.as_str()).collect()
}

#[test]
#[ignore = "needs root"]
fn journalctl_finds_exactly_the_planted_finding() -> Result<()> {
    let _journald = Journald::start()?;
    let (folder, cgroup) = (TempDir::new()?, ScratchCgroup::create("tracer-journal")?);
    // A file name with a line feed and a field after it.
    let hostile = folder.path().join("he\nPRIORITY=0");
    symlink("/usr/bin/head", &hostile)?;
    let hostile = hostile.to_str().context("no text")?;
    let since = format!("@{}", SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs());
    let history = folder.path().join("history");
    let arguments = ["--cgroup", cgroup.name()?, "--journald", "--redact", "secret-[a-z]*"];
    let recorder = Recorder::start(&history, &arguments)?;
    let mut read = start_in(&cgroup, &["seq", "10"])?;
    read.take_stdout()?.read_to_end(&mut Vec::new())?;
    read.wait()?;
    let pid = run_and_leave(&cgroup, &["head", "-c", "3000", "/dev/zero"], 1_000)?;
    let other =
        run_and_leave(&cgroup, &[hostile, "-c", "2000", "--", "/dev/zero", "secret-file"], 1_000)?;
    entry(&history, "head")?;
    let by_rule =
        || -> Result<Vec<Value>> { journalctl(&["TRACER_RULE=unread", "--since", &since]) };
    let all = wait_until("the entries", || {
        let all = by_rule()?;
        Ok((all.len() >= 2).then_some(all))
    })?;
    recorder.stop()?;
    ensure!(all.len() == 2 && by_rule()?.len() == 2, "{all:#?}");
    let found = of_pid(all.clone(), pid);
    ensure!(found.len() == 1, "{all:#?}");
    for (field, value) in [
        ("PRIORITY", "3"),
        ("SYSLOG_IDENTIFIER", "tracer"),
        ("MESSAGE_ID", "5658f187d6a64dd0971b0e164624a650"),
        ("TRACER_COMM", "head"),
        ("TRACER_CONFIDENCE", "certain"),
        ("TRACER_LOST_BYTES", "2000"),
        ("TRACER_STREAM", "stdout"),
        ("TRACER_EXIT_CODE", "0"),
        ("_TRANSPORT", "journal"),
    ] {
        ensure!(found[0][field] == value, "{field}: {:#}", found[0]);
    }
    let sentence = found[0]["MESSAGE"].as_str().context("no message")?;
    ensure!(sentence.contains("2,000 B are lost"), "{sentence}");
    // The name is one field, and its second line is none.
    let found = of_pid(all, other);
    ensure!(found.len() == 1 && found[0]["PRIORITY"] == "3", "{found:#?}");
    ensure!(found[0]["TRACER_COMM"] == "he\nPRIORITY=0", "{found:#?}");
    ensure!(!found[0].to_string().contains("secret-file"), "{found:#?}");
    Ok(())
}

/// A journald that takes nothing costs no time, and what waits arrives when it goes on.
#[test]
#[ignore = "needs root"]
fn a_journald_that_hangs_holds_up_nothing() -> Result<()> {
    let journald = Journald::start()?;
    if !journald.is_own() {
        eprintln!("left out: the journald of this machine is not to be stopped");
        return Ok(());
    }
    let (folder, cgroup) = (TempDir::new()?, ScratchCgroup::create("tracer-journal")?);
    let queue = fs::read_to_string("/proc/sys/net/unix/max_dgram_qlen")?.trim().parse::<u64>()?;
    let recorder = Recorder::start(folder.path(), &["--cgroup", cgroup.name()?, "--journald"])?;
    journald.signal(Signal::STOP)?;
    let jobs = queue + 40;
    let line = "import subprocess as s\n\
                for i in range(int(__import__('sys').argv[1])):\n \
                p = s.Popen(['/bin/echo', 'lost'], stdout=s.PIPE); p.wait(); p.stdout.close()";
    let mut manager = start_in(&cgroup, &["python3", "-c", line, &jobs.to_string()])?;
    manager.wait()?;
    wait_until("all entries of the history", || {
        let lost = tracer_tests::recorder::entries(
            folder.path(),
            &["--name", "^echo$", "--lost", "--limit", "100000"],
        )?;
        Ok((lost.len() as u64 == jobs).then_some(()))
    })?;
    journald.signal(Signal::CONT)?;
    wait_until("all entries of the journal", || {
        let found = journalctl(&["TRACER_RULE=unread", "TRACER_COMM=echo"])?;
        Ok((found.len() as u64 == jobs).then_some(()))
    })?;
    recorder.stop()
}

#[test]
#[ignore = "needs root"]
fn without_a_journal_the_recorder_says_so() -> Result<()> {
    if Journald::start()?.is_own() {
        let folder = TempDir::new()?;
        let path = folder.path().to_string_lossy().into_owned();
        for action in [&["--check"][..], &[]] {
            let output = std::process::Command::new(tracer_tests::tracer::binary()?)
                .args(["daemon", "--cgroup", "nothing-*", "--journald", "--history", &path])
                .args(action)
                .output()?;
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            ensure!(!output.status.success() && said.lines().count() == 1, "{output:?}");
            ensure!(said.contains("/run/systemd/journal/socket"), "{said}");
            ensure!(said.contains("start systemd-journald, or leave out --journald"), "{said}");
        }
    }
    Ok(())
}
