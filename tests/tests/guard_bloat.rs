//! No program and no other program of the machine makes tracer's memory, its recording or its work grow: each is bounded
//! by what the target itself does.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    thread::{self, JoinHandle, sleep},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tracer_tests::{
    cgroup::ScratchCgroup,
    deadline::wait_until,
    gated::Gated,
    procfs,
    tracer::{Outcome, Tracer},
    workload::Workload,
};

/// The most memory that tracer may take in these tests.
const MEMORY: u64 = 200 << 20;
/// Bytes of arguments that tracer keeps.
const KEPT: usize = 4096;

/// Watches the memory of a process until it has ended. Returns the most that it had.
fn peak_of(pid: u32) -> JoinHandle<u64> {
    thread::spawn(move || {
        let mut peak = 0;
        while let Some(now) = procfs::memory_peak(pid) {
            peak = now;
            sleep(Duration::from_millis(5));
        }
        peak
    })
}

fn json(outcome: &Outcome) -> Result<Value> {
    outcome.report()?;
    Ok(serde_json::from_str(&outcome.stdout)?)
}

/// The processes of a report that have this name.
fn named<'a>(report: &'a Value, comm: &str) -> Vec<&'a Value> {
    let processes = report["processes"].as_array().into_iter().flatten();
    processes.filter(|process| process["comm"] == comm).collect()
}

/// Bytes of the arguments in a report, NUL bytes included.
fn bytes_of_arguments(process: &Value) -> usize {
    let arguments = process["argv"].as_array().into_iter().flatten();
    arguments.filter_map(|argument| Some(argument.as_str()?.len() + 1)).sum()
}

#[test]
#[ignore = "needs root"]
fn a_process_that_declares_its_memory_to_be_its_arguments_takes_no_memory_of_tracer() -> Result<()>
{
    let mut running = Workload::new("declares-memory").gated().spawn()?;
    let pid = running.pid();
    // It has declared its memory when it waits at the gate.
    wait_until("64 MiB of arguments", || {
        let declared =
            fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|all| all.len() == 64 << 20);
        Ok(declared.then_some(()))
    })?;
    let began = Instant::now();
    let tracer = Tracer::on_pid(pid).start()?;
    let attached = began.elapsed();
    let peak = peak_of(tracer.pid());
    running.open_gate()?;
    running.finish()?;
    let report = json(&tracer.finish()?)?;
    let process = &report["processes"][0];
    ensure!(bytes_of_arguments(process) <= KEPT + 1, "{process}");
    ensure!(process["argv_bytes"] == 64 << 20, "{process}");
    ensure!(process["environment_cut"] == true, "{process}");
    ensure!(process["fds"][0]["bytes"] == 71, "{process}");
    let peak = peak.join().ok().context("a thread panicked")?;
    ensure!((1..MEMORY).contains(&peak), "tracer took {peak} B");
    ensure!(attached < Duration::from_secs(10), "attaching took {attached:?}");
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn of_long_arguments_the_beginning_and_the_length_are_kept() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let recording = folder.path().join("session");
    let mut running = Workload::new("long-arguments").gated().spawn()?;
    let tracer = Tracer::on_pid(running.pid()).arg("--record").arg(&recording).start()?;
    let peak = peak_of(tracer.pid());
    running.open_gate()?;
    running.finish()?;
    let report = json(&tracer.finish()?)?;
    let programs = named(&report, "true");
    ensure!(programs.len() == 60, "{} programs", programs.len());
    for program in programs {
        ensure!(bytes_of_arguments(program) == KEPT + 1, "{program}");
        ensure!(program["argv_bytes"] == "true".len() + 1 + 16 * 100_001, "{program}");
    }
    let peak = peak.join().ok().context("a thread panicked")?;
    ensure!((1..MEMORY).contains(&peak), "tracer took {peak} B");
    // A kilobyte for each event of a program, and its arguments.
    let recorded = fs::metadata(&recording)?.len();
    ensure!(recorded < 60 * (KEPT as u64 + 8 * 1024), "the recording has {recorded} B");
    Ok(())
}

/// Number of records that say that a survey found a file open, by process and fd.
fn sightings(recording: &Path) -> Result<BTreeMap<(String, i64), usize>> {
    let mut sightings = BTreeMap::new();
    for line in fs::read_to_string(recording)?.lines() {
        let line: Value = serde_json::from_str(line)?;
        if line["event"] == "holder" && line["sighting"] == "open" {
            let process = line["holder"]["process"].to_string();
            let fd = line["holder"]["fd"].as_i64().unwrap_or(0);
            *sightings.entry((process, fd)).or_default() += 1;
        }
    }
    Ok(sightings)
}

/// 100 workers share one pipe, and new pipes come ten times a second.
#[test]
#[ignore = "needs root"]
fn a_recording_does_not_repeat_who_holds_a_pipe() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let recording = folder.path().join("session");
    let mut shell = Gated::piped(
        "for i in $(seq 100); do sleep 5 & done; \
         for i in $(seq 25); do echo a | cat >/dev/null; sleep 0.1; done; wait",
    )?;
    let tracer = Tracer::on_pid(shell.pid()).arg("--record").arg(&recording);
    shell.trace(tracer)?.report()?;
    let sightings = sightings(&recording)?;
    ensure!(sightings.len() >= 100, "{} holders were seen", sightings.len());
    let often = sightings.values().filter(|times| **times > 2).count();
    // Reader and shell are looked at again at the end.
    ensure!(often <= 4, "{often} of {} holders are repeated: {sightings:?}", sightings.len());
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn what_others_have_open_costs_a_trace_next_to_nothing() -> Result<()> {
    let mut strangers = Workload::new("hoards").gated().spawn()?;
    wait_until("360,000 open files", || Ok(strangers.truth_so_far().ok()))?;
    let mut shell =
        Gated::piped("for i in $(seq 60); do echo a | cat >/dev/null; sleep 0.1; done; echo end")?;
    let tracer = Tracer::on_pid(shell.pid()).start()?;
    let pid = tracer.pid();
    let cost = thread::spawn(move || {
        sleep(Duration::from_secs(1));
        let before = procfs::cpu_time(pid)?;
        sleep(Duration::from_secs(4));
        procfs::cpu_time(pid)?.checked_sub(before)
    });
    shell.run()?;
    strangers.open_gate()?;
    strangers.finish()?;
    let report = tracer.finish()?.report()?;
    let cost = cost.join().ok().flatten().context("tracer ended too soon")?;
    ensure!(cost < Duration::from_millis(600), "tracer took {cost:?} of 4 s");
    let lost = report.findings.iter().find(|finding| finding.severity == "loss");
    ensure!(lost.is_none(), "{lost:?}");
    ensure!(report.findings.iter().any(|finding| finding.rule == "delivered"), "{report:#?}");
    Ok(())
}

/// Twice 5,000 children, each of which writes to a pipe of its own, in a fraction of the memory that they would take.
#[test]
#[ignore = "needs root"]
fn processes_that_ended_are_summed_up_and_every_byte_is_in_the_sums() -> Result<()> {
    const CHILDREN: u64 = 5000;
    let cgroup = ScratchCgroup::create("tracer-test-sums")?;
    let tracer = Tracer::on_cgroup(cgroup.path()).args(["--max-memory", "2MiB"]).start()?;
    for _ in 0..2 {
        let mut running = Workload::new("pipes").gated().spawn()?;
        cgroup.admit(running.pid())?;
        for _ in 0..3 {
            running.open_gate()?;
        }
        running.finish()?;
        // Processes are summed up two seconds after their end, when there are new ones.
        sleep(Duration::from_millis(2_500));
    }
    let report = {
        tracer.interrupt()?;
        json(&tracer.finish()?)?
    };
    let sum = |list: &str, what: &dyn Fn(&Value) -> u64| -> u64 {
        report[list].as_array().into_iter().flatten().map(what).sum()
    };
    let number = |name: &'static str| move |entry: &Value| entry[name].as_u64().unwrap_or(0);
    let rows = |process: &Value| -> u64 {
        let rows = process["fds"].as_array().into_iter().flatten();
        rows.map(number("bytes")).sum()
    };
    let (summed, listed) = (sum("summed_up", &number("processes")), sum("processes", &|_| 1));
    ensure!(summed > CHILDREN / 4, "{summed} processes were summed up");
    // Each workload itself, its first child, and the others.
    ensure!(summed + listed == 2 * (CHILDREN + 2), "{summed} and {listed} processes");
    let written = sum("summed_up", &number("written")) + sum("processes", &rows);
    let of_children: u64 = (0..CHILDREN).map(|number| number % 97 + 1).sum();
    ensure!(written == 2 * (10 + 70 + of_children + 72), "{written} bytes");
    ensure!(report["losses"]["summed_up"] == 0, "{}", report["losses"]);
    Ok(())
}
