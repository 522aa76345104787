//! `tracer daemon --pinned`: recorders follow one another without a gap.

use std::{
    fs,
    io::Read as _,
    path::{Path, PathBuf},
    process::Command,
    thread::sleep,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;
use tracer_tests::{
    cgroup::ScratchCgroup,
    recorder::{Recorder, detach, entries, entry, history, require_bpffs, start_in, why},
    recorder_storm::{Goal, Size, run_with_restarts},
    refusal,
    tracer::binary,
    workload::sibling_binary,
};

/// Folder of bpffs below which recorders pin.
const PINS: &str = "/sys/fs/bpf/tracer";

/// What is pinned there: each version of the programs.
fn versions(history: &Path) -> Result<Vec<PathBuf>> {
    use std::os::unix::fs::MetadataExt as _;
    let found = fs::metadata(history)?;
    let folder = Path::new(PINS).join(format!("{:x}-{}", found.dev(), found.ino()));
    let Ok(entries) = fs::read_dir(folder) else { return Ok(Vec::new()) };
    entries.map(|entry| Ok(entry?.path())).collect()
}

fn gaps(history: &Path) -> Result<Vec<Value>> {
    let all = self::history(history, &[])?;
    Ok(all.into_iter().filter(|item| item["type"] == "gap").collect())
}

/// Commands that begin before a recorder ends, and end while there is none, or later; and one that no recorder has seen.
fn restarted_by(signal: Signal) -> Result<()> {
    require_bpffs()?;
    let (folder, cgroup) = (TempDir::new()?, ScratchCgroup::create("tracer-pin")?);
    let arguments = ["--pinned", "--cgroup", cgroup.name()?];
    let recorder = Recorder::start(folder.path(), &arguments)?;
    let shell = |line: &str| start_in(&cgroup, &["bash", "-c", line]);
    let mut spanning = shell(
        "exec -a spans dd if=<(printf 'a%.0s' {1..100}; read go; printf 'b%.0s' {1..200}) bs=1 status=none",
    )?;
    let mut early = shell("printf 12345; read go; printf 678; exit 3")?;
    let mut read = [0; 2];
    let mut early_out = early.take_stdout()?;
    early_out.read_exact(&mut read)?;
    // The first bytes are on their way, and the recorder has read of them.
    sleep(Duration::from_millis(700));
    recorder.end_by(signal)?;
    drop(early.take_stdin()?);
    early.wait()?;
    drop(early_out);
    let mut absent = start_in(&cgroup, &["head", "-c", "3000", "/dev/zero"])?;
    let mut absent_out = absent.take_stdout()?;
    absent_out.read_exact(&mut [0; 1_000])?;
    absent.wait()?;
    drop(absent_out);
    let recorder = Recorder::start(folder.path(), &arguments)?;
    drop(spanning.take_stdin()?);
    let mut whole = Vec::new();
    spanning.take_stdout()?.read_to_end(&mut whole)?;
    spanning.wait()?;
    ensure!(whole.len() == 300, "{}", whole.len());
    let told = |name: &str| -> Result<Value> {
        entry(folder.path(), name)?;
        let found = entries(folder.path(), &["--name", &format!("^{name}$")])?;
        let mut ended = found.into_iter().filter(|entry| entry["is_interim"] == false);
        let (first, second) = (ended.next(), ended.next());
        ensure!(second.is_none(), "{name} has two entries: {first:#?} {second:#?}");
        first.with_context(|| format!("{name} has not ended"))
    };
    sleep(Duration::from_secs(4));
    let (absent, spans) = (told("head")?, told("dd")?);
    let early = entries(folder.path(), &["--lost"])?;
    recorder.stop()?;
    ensure!(absent["rule"] == "unread" && absent["confidence"] == "certain", "{absent:#}");
    ensure!(absent["streams"][0]["bytes"] == 3_000, "{absent:#}");
    ensure!(spans["rule"] == "delivered" && spans["confidence"] == "certain", "{spans:#}");
    ensure!(spans["streams"][0]["bytes"] == 300, "{spans:#}");
    let is_early = |entry: &&Value| entry["exit_code"] == 3 && entry["is_interim"] == false;
    let early = early.iter().find(is_early).context("the command that ended in between")?;
    let sentence = early["sentence"].as_str().context("no sentence")?;
    ensure!(sentence.contains("wrote 8 B") && sentence.contains("6 B are lost"), "{early:#}");
    ensure!(early["confidence"] == "certain", "{early:#}");
    // Only a cgroup that came and went in between may be missing.
    let gaps = gaps(folder.path())?;
    ensure!(gaps.iter().all(|gap| gap["reason"] == "containers_missed"), "{gaps:#?}");
    let answer = why(folder.path(), &["--name", "^head$"])?;
    ensure!(answer.status.code() == Some(1), "{answer:?}");
    ensure!(detach(folder.path(), &arguments)? == "detached\n");
    ensure!(versions(folder.path())?.is_empty());
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn a_recorder_that_is_stopped_is_followed_by_one_that_goes_on() -> Result<()> {
    restarted_by(Signal::TERM)
}

#[test]
#[ignore = "needs root"]
fn a_recorder_that_is_killed_is_followed_by_one_that_goes_on() -> Result<()> {
    restarted_by(Signal::KILL)
}

/// Kills at many moments: no loss is missing, none is told twice, and every byte is counted once.
#[test]
#[ignore = "needs root"]
fn recorders_that_are_killed_tell_together_what_one_would_tell() -> Result<()> {
    let size = Size { jobs: 1_500, rate: 100, loss_each: 25, parts: 1 };
    let lasts = Duration::from_millis(1_300);
    let jobs = sibling_binary("jobs")?;
    let (account, goals, recorders) = run_with_restarts(jobs.as_ref(), size, lasts, Signal::KILL)?;
    ensure!(account.planted.len() == 60 && recorders >= 4, "{recorders} recorders");
    // A cgroup that came and went while there was none may be missing.
    let is_told = |goal: &&Goal| !goal.is_reached && goal.measured != "containers_missed 0";
    let wrong: Vec<_> = goals.iter().filter(is_told).collect();
    ensure!(wrong.is_empty(), "{recorders} recorders: {wrong:#?}");
    Ok(())
}

/// What is judged is kept once, however many recorders follow one another.
#[test]
#[ignore = "needs root"]
fn a_restart_writes_nothing_again() -> Result<()> {
    require_bpffs()?;
    let (folder, cgroup) = (TempDir::new()?, ScratchCgroup::create("tracer-pin")?);
    let arguments = ["--pinned", "--cgroup", cgroup.name()?];
    let recorder = Recorder::start(folder.path(), &arguments)?;
    let line = "for i in $(seq 150); do x=$(seq $i); done";
    start_in(&cgroup, &["sh", "-c", line])?.wait()?;
    entry(folder.path(), "sh")?;
    // The history has had them for a while.
    sleep(Duration::from_secs(4));
    recorder.stop()?;
    let before = log_bytes(folder.path())?;
    ensure!(before > 100_000, "{before}");
    for _ in 0..2 {
        let recorder = Recorder::start(folder.path(), &arguments)?;
        sleep(Duration::from_secs(4));
        recorder.stop()?;
    }
    let after = log_bytes(folder.path())?;
    detach(folder.path(), &arguments)?;
    ensure!(after < before + 8_192, "{before} and then {after}");
    ensure!(entries(folder.path(), &["--name", "^seq$"])?.len() == 151);
    Ok(())
}

/// Size of the log that recorders leave to one another.
fn log_bytes(history: &Path) -> Result<u64> {
    use std::os::unix::fs::MetadataExt as _;
    let found = fs::metadata(history)?;
    let log = format!("/run/tracer/daemon-{:x}-{}.log", found.dev(), found.ino());
    Ok(fs::metadata(log)?.len())
}

/// One with other settings cannot go on, and says so. One without the option leaves nothing attached.
#[test]
#[ignore = "needs root"]
fn a_recorder_that_cannot_go_on_detaches_and_the_gap_is_told() -> Result<()> {
    require_bpffs()?;
    let (folder, cgroup) = (TempDir::new()?, ScratchCgroup::create("tracer-pin")?);
    let pinned = ["--pinned", "--cgroup", cgroup.name()?];
    Recorder::start(folder.path(), &pinned)?.stop()?;
    ensure!(versions(folder.path())?.len() == 1);
    // As a version of tracer whose programs are others.
    let old = versions(folder.path())?.remove(0);
    let other = old.with_file_name("0-0-1-0000000000000000");
    fs::rename(&old, &other).or_else(|_| fs::create_dir(&other))?;
    sleep(Duration::from_secs(1));
    let recorder = Recorder::start(folder.path(), &pinned)?;
    ensure!(!other.exists(), "{} is still there", other.display());
    // Its coverage is in the history.
    sleep(Duration::from_secs(3));
    recorder.kill()?;
    ensure!(versions(folder.path())?.len() == 1);
    Recorder::start(folder.path(), &["--cgroup", cgroup.name()?])?.stop()?;
    ensure!(versions(folder.path())?.is_empty());
    ensure!(detach(folder.path(), &pinned)? == "nothing was attached\n");
    let reasons: Vec<Value> =
        gaps(folder.path())?.iter().map(|gap| gap["reason"].clone()).collect();
    ensure!(reasons == ["version_changed", "version_changed"], "{reasons:?}");
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn what_cannot_be_pinned_is_refused_with_the_cure() -> Result<()> {
    let folder = TempDir::new()?;
    let mut command = Command::new(binary()?);
    command.args(["daemon", "--all", "--pinned", "--keep-tail", "4KiB", "--history"]);
    let output = refusal::run_command(command.arg(folder.path()))?;
    ensure!(output.status.code() == Some(2), "{output:?}");
    // In a mount namespace without bpffs.
    let line = "umount /sys/fs/bpf; exec \"$0\" daemon --all --pinned --history \"$1\"";
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", line]).arg(binary()?).arg(folder.path());
    let output = refusal::run_command(&mut command)?;
    let told = String::from_utf8_lossy(&output.stderr);
    ensure!(told.contains("mount -t bpf bpf /sys/fs/bpf"), "{output:?}");
    ensure!(!output.status.success() && told.lines().count() == 1, "{output:?}");
    Ok(())
}
