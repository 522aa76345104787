//! Findings in a collector of OpenTelemetry: rotel, which passes them on to the test.

use std::{
    fs,
    io::Read as _,
    net::TcpListener,
    ops::RangeInclusive,
    path::Path,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;
use tracer_tests::{
    cgroup::ScratchCgroup,
    collector::{Record, Rotel, Sink, free_address},
    deadline::{patient, wait_until},
    recorder::{Recorder, entries, entry, run_and_leave, start_in},
};

/// Log records that the queue holds: 2,048, or fewer if they are large.
const QUEUE: RangeInclusive<u64> = 1_000..=2_048;

/// A manager whose commands write five bytes that no process reads.
const LOSES: &str = "import subprocess as s\n\
    for i in range(int(__import__('sys').argv[1])):\n \
    p = s.Popen(['/bin/echo', 'lost'], stdout=s.PIPE); p.wait(); p.stdout.close()";

/// Has such a manager run this many commands, and waits until the history has them all.
fn lose(cgroup: &ScratchCgroup, history: &Path, jobs: u64, all: u64) -> Result<()> {
    let mut manager = start_in(cgroup, &["python3", "-c", LOSES, &jobs.to_string()])?;
    manager.wait_for(patient(Duration::from_secs(120)))?;
    let began = Instant::now();
    loop {
        let found = echoes(history)?.len() as u64;
        if found >= all {
            return Ok(());
        }
        ensure!(began.elapsed() < patient(Duration::from_secs(120)), "{found} of {all} entries");
        // Each question takes longer the more there are.
        sleep(Duration::from_secs(1));
    }
}

/// The entries of its commands.
fn echoes(history: &Path) -> Result<Vec<Value>> {
    entries(history, &["--name", "^echo$", "--lost", "--limit", "100000"])
}

/// What arrived of a process.
fn arrived(sink: &Sink, name: &str) -> Result<Record> {
    wait_until(name, || Ok(sink.of(name).into_iter().next()))
}

/// The lost bytes that the metric tells.
fn lost_bytes(sink: &Sink) -> u64 {
    sink.sums("tracer.output.lost").iter().map(|(_, sum)| sum).sum()
}

#[test]
#[ignore = "needs root"]
fn a_finding_arrives_with_its_attributes_and_its_bytes_and_nothing_private() -> Result<()> {
    let (folder, cgroup) = (TempDir::new()?, ScratchCgroup::create("tracer-otlp")?);
    let sink = Sink::start()?;
    let rotel = Rotel::start(free_address()?, &sink)?;
    let url = rotel.url();
    let arguments = ["--cgroup", cgroup.name()?, "--otlp", &url, "--redact", "secret-[a-z]*"];
    let recorder = Recorder::start(folder.path(), &arguments)?;
    let mut read = start_in(&cgroup, &["seq", "10"])?;
    read.take_stdout()?.read_to_end(&mut Vec::new())?;
    read.wait()?;
    let secret = folder.path().join("secret-file");
    fs::write(&secret, [0; 9_000])?;
    let secret = secret.to_str().context("no text")?;
    let pid = run_and_leave(&cgroup, &["head", "-c", "3000", secret], 1_000)?;
    // Its file is removed before anything reads it.
    let removes = format!("exec >{secret}; /usr/bin/printf gone; rm {secret}");
    start_in(&cgroup, &["sh", "-c", &removes])?.wait()?;
    let record = arrived(&sink, "head")?;
    let kept = entry(folder.path(), "head")?;
    ensure!(record.severity == 17 && record.event == "tracer.finding", "{record:#?}");
    ensure!(Some(record.body.as_str()) == kept["sentence"].as_str(), "{record:#?} {kept:#}");
    ensure!(record.body.contains("2,000 B are lost"), "{record:#?}");
    let place = format!("/{}", cgroup.name()?);
    for (key, value) in [
        ("service.name", "tracer"),
        ("host.name", &rustix::system::uname().nodename().to_string_lossy()),
        ("process.pid", &pid.to_string()),
        ("process.linux.cgroup", &place),
        ("tracer.rule", "unread"),
        ("tracer.confidence", "certain"),
        ("tracer.lost_bytes", "2000"),
        ("tracer.interim", "false"),
        ("tracer.stdout.written_bytes", "3000"),
        ("tracer.stdout.lost_bytes", "2000"),
        ("tracer.stdout.outcome", kept["streams"][0]["outcome"].as_str().context("no outcome")?),
    ] {
        ensure!(record.attributes.get(key).is_some_and(|it| it == value), "{key}: {record:#?}");
    }
    ensure!(!format!("{record:?}").contains("secret-file"), "{record:#?}");
    wait_until("the lost bytes", || {
        let sums = sink.sums("tracer.output.lost");
        let unread =
            sums.iter().filter(|(of, _)| of.get("tracer.rule").is_some_and(|it| it == "unread"));
        Ok((unread.map(|sum| sum.1).sum::<u64>() == 2_000).then_some(()))
    })?;
    let lost = arrived(&sink, "sh")?;
    ensure!(lost.attributes["tracer.rule"] == "file_lost", "{lost:#?}");
    ensure!(lost.attributes["tracer.stdout.destination"].contains("[redacted]"), "{lost:#?}");
    recorder.stop()?;
    ensure!(sink.of("seq").is_empty() && sink.records().len() == 2, "{:#?}", sink.records());
    ensure!(!format!("{:?}", sink.records()).contains("secret-"), "{:#?}", sink.records());
    Ok(())
}

/// What happens while there is no collector is told by the next one, and nothing is told twice by the sum.
#[test]
#[ignore = "needs root"]
fn a_collector_that_is_killed_and_started_again_gets_what_it_missed() -> Result<()> {
    const MISSED: u64 = 40;
    let (folder, cgroup) = (TempDir::new()?, ScratchCgroup::create("tracer-otlp")?);
    let sink = Sink::start()?;
    let address = free_address()?;
    let rotel = Rotel::start(address, &sink)?;
    let arguments = ["--cgroup", cgroup.name()?, "--otlp", &rotel.url()];
    let recorder = Recorder::start(folder.path(), &arguments)?;
    run_and_leave(&cgroup, &["head", "-c", "3000", "/dev/zero"], 1_000)?;
    arrived(&sink, "head")?;
    rotel.kill()?;
    lose(&cgroup, folder.path(), MISSED, MISSED)?;
    // Some tries fail.
    sleep(Duration::from_secs(3));
    ensure!(sink.of("echo").is_empty());
    let rotel = Rotel::start(address, &sink)?;
    let all = wait_until("what was missed", || {
        Ok(Some(sink.of("echo")).filter(|all| all.len() as u64 >= MISSED))
    })?;
    ensure!(all.len() as u64 == MISSED, "{} arrived", all.len());
    let mut pids: Vec<_> = all.iter().map(|it| &it.attributes["process.pid"]).collect();
    pids.sort();
    pids.dedup();
    ensure!(pids.len() as u64 == MISSED, "{pids:?}");
    let expected = 2_000 + 5 * MISSED;
    wait_until("the sum", || Ok((lost_bytes(&sink) == expected).then_some(())))?;
    let dropped: u64 = sink.sums("tracer.export.dropped").iter().map(|(_, sum)| sum).sum();
    ensure!(dropped == 0, "{dropped} dropped");
    let (took, printed) = recorder.end()?;
    ensure!(took < patient(Duration::from_secs(2)), "{took:?}");
    ensure!(printed.len() == 1 && printed[0].contains("it is tried again"), "{printed:?}");
    drop(rotel);
    Ok(())
}

/// It takes connections (the kernel does), and never answers.
#[test]
#[ignore = "needs root"]
fn a_collector_that_never_answers_costs_counted_drops_and_neither_memory_nor_time() -> Result<()> {
    // More than the queue holds.
    const JOBS: u64 = 2_600;
    let (folder, cgroup) = (TempDir::new()?, ScratchCgroup::create("tracer-otlp")?);
    let silent = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("http://{}", silent.local_addr()?);
    let recorder = Recorder::start(folder.path(), &["--cgroup", cgroup.name()?, "--otlp", &url])?;
    lose(&cgroup, folder.path(), JOBS, JOBS)?;
    let full = recorder.resident()?;
    lose(&cgroup, folder.path(), JOBS, 2 * JOBS)?;
    let after = recorder.resident()?;
    // The recorder takes some for a file of the history that grows. As many records again would take 9 MiB.
    ensure!(after < full + (8 << 20), "memory: {full} and then {after}");
    let began = Instant::now();
    let (took, printed) = recorder.end()?;
    ensure!(took < patient(Duration::from_secs(2)), "{took:?} of {:?}", began.elapsed());
    let last = printed.last().context("nothing is told")?;
    let unsent = last.split_whitespace().find_map(|word| word.parse::<u64>().ok());
    ensure!(last.contains("did not take the latest"), "{printed:?}");
    ensure!(unsent.is_some_and(|unsent| QUEUE.contains(&unsent)), "{printed:?}");
    ensure!(printed.iter().all(|line| line.contains("OpenTelemetry")), "{printed:?}");
    // Each entry is in the history all the same, and exact.
    let all = echoes(folder.path())?;
    ensure!(all.len() as u64 == 2 * JOBS, "{}", all.len());
    ensure!(all.iter().all(|entry| entry["streams"][0]["bytes"] == 5), "{all:#?}");
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn what_does_not_fit_is_counted_and_the_next_collector_is_told_how_much() -> Result<()> {
    const JOBS: u64 = 2_200;
    let (folder, cgroup) = (TempDir::new()?, ScratchCgroup::create("tracer-otlp")?);
    let (address, sink) = (free_address()?, Sink::start()?);
    let url = format!("http://{address}");
    let recorder = Recorder::start(folder.path(), &["--cgroup", cgroup.name()?, "--otlp", &url])?;
    lose(&cgroup, folder.path(), JOBS, JOBS)?;
    let _rotel = Rotel::start(address, &sink)?;
    // A pause between two tries can take longer than one wait.
    sleep(Duration::from_secs(20));
    let dropped = || -> u64 {
        let sums = sink.sums("tracer.export.dropped");
        sums.iter().filter(|(of, _)| of["tracer.drop.reason"] == "queue_full").map(|it| it.1).sum()
    };
    wait_until("all that found room, and the number of the others", || {
        // The interpreter can be a script that has findings of its own.
        let all = entries(folder.path(), &["--limit", "100000"])?;
        let findings = all.iter().filter(|entry| entry["severity"] != "info").count() as u64;
        let arrived = sink.records().len() as u64;
        Ok((arrived + dropped() == findings && QUEUE.contains(&arrived)).then_some(()))
    })?;
    ensure!(lost_bytes(&sink) == 5 * JOBS, "{}", lost_bytes(&sink));
    recorder.end()?;
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn a_url_that_cannot_be_used_is_told_in_one_sentence() -> Result<()> {
    let folder = TempDir::new()?;
    let path = folder.path().to_string_lossy().into_owned();
    let check = |url: &str| {
        std::process::Command::new(tracer_tests::tracer::binary()?)
            .args(["daemon", "--check", "--cgroup", "nothing-*", "--history", &path])
            .args(["--otlp", url])
            .output()
            .map_err(anyhow::Error::from)
    };
    let refused = check("https://collector.example:4318")?;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    ensure!(refused.status.code() == Some(2) && said.contains("tracer has no TLS"), "{said}");
    let local = check("http://127.0.0.1:4318/")?;
    let said = String::from_utf8_lossy(&local.stdout).into_owned();
    ensure!(said.contains("go to the collector at http://127.0.0.1:4318.\n"), "{local:?}");
    let remote = check("http://192.0.2.1:4318")?;
    let said = String::from_utf8_lossy(&remote.stdout).into_owned();
    ensure!(said.contains("leave this machine unencrypted"), "{remote:?}");
    Ok(())
}
