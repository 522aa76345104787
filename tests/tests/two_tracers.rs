//! Two tracers at once, on the same tree or one inside the other. Both are exact.

use std::{fs, path::Path};

use anyhow::{Context, Result, ensure};
use tracer_tests::{
    expect::{self, MatchBy},
    report::Report,
    scenario::Traced,
    tracer::{Tracer, binary, parse},
    truth::{TRUTH_ENV, Truth},
    workload::{Workload, sibling_binary},
};

/// Workloads with process trees, an exec, and a fork storm.
const WORKLOADS: [&[&str]; 3] = [&["deep"], &["write", "exec"], &["storm"]];

fn workload(words: &[&str]) -> Workload {
    let (name, arguments) = words.split_first().expect("a workload has a name");
    arguments.iter().fold(Workload::new(name), |workload, word| workload.arg(word))
}

/// Neither tracer misses anything because of the other one, or counts its writes.
#[test]
#[ignore = "needs root"]
fn two_tracers_on_one_tree_are_both_exact() -> Result<()> {
    for words in WORKLOADS {
        let workload = workload(words);
        let mut running = workload.clone().gated().spawn()?;
        let tracers =
            [Tracer::on_pid(running.pid()).start()?, Tracer::on_pid(running.pid()).start()?];
        running.open_gate()?;
        let mut finished = Some(running.finish()?);
        for tracer in tracers {
            let result = finished.take().context("put back in each round")?;
            let traced = Traced::new(workload.words(), result, tracer.finish()?)?;
            expect::exact(&traced)?;
            finished = Some(traced.workload);
        }
    }
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn a_tracer_that_ends_early_does_not_affect_the_other() -> Result<()> {
    let workload = Workload::new("deep");
    let mut running = workload.clone().gated().spawn()?;
    let stays = Tracer::on_pid(running.pid()).start()?;
    let ends_early = Tracer::on_pid(running.pid()).start()?;
    ends_early.interrupt()?;
    ends_early.finish()?;
    running.open_gate()?;
    let finished = running.finish()?;
    expect::exact(&Traced::new(workload.words(), finished, stays.finish()?)?)
}

fn read(path: &Path) -> Result<Report> {
    parse(&fs::read_to_string(path).with_context(|| path.display().to_string())?)
}

/// `tracer -- tracer -- workload`: the outer tracer traces the inner one like any other process.
#[test]
#[ignore = "needs root"]
fn nested_tracers_are_both_exact() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let [truth, inner, outer] =
        ["truth.jsonl", "inner.json", "outer.json"].map(|name| directory.path().join(name));
    let outcome = Tracer::default()
        .env(TRUTH_ENV, &truth)
        // Without `-q` its own line would be counted in the pipe, like that of any other writer.
        .arg("-q")
        .arg("-o")
        .arg(&outer)
        .arg("--")
        .arg(binary()?)
        .args(["-q", "--format", "json", "-o"])
        .arg(&inner)
        .arg("--")
        .arg(sibling_binary("workload")?)
        .args(["write", "exec"])
        .launch()?
        .finish()?;
    let truth = Truth::load(&truth).with_context(|| outcome.stderr.clone())?;
    ensure!(!truth.processes.is_empty(), "the workload's truth is empty");
    for path in [&inner, &outer] {
        let report = read(path)?;
        expect::rows_agree(&report, &truth, MatchBy::Fd)
            .and_then(|()| expect::pipes_balance(&report, &truth))
            .and_then(|()| expect::no_losses(&report))
            .with_context(|| path.display().to_string())?;
    }
    // Only the outer report lists the inner tracer.
    let is_tracer = |report: &Report| {
        report.processes.iter().any(|process| process.argv.iter().any(|word| word == "-q"))
    };
    ensure!(is_tracer(&read(&outer)?) && !is_tracer(&read(&inner)?), "the reports are mixed up");
    Ok(())
}

/// The same with a shell in between, which starts the inner tracer.
#[test]
#[ignore = "needs root"]
fn a_shell_that_starts_a_tracer_is_traced_to_the_byte() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let [truth, inner] = ["truth.jsonl", "inner.json"].map(|name| directory.path().join(name));
    let line = format!(
        "{} -q --format json -o {} -- {} deep",
        binary()?.display(),
        inner.display(),
        sibling_binary("workload")?
    );
    let outcome = Tracer::default()
        .env(TRUTH_ENV, &truth)
        .arg("-o")
        .arg(directory.path().join("outer.json"))
        .args(["--", "sh", "-c", &line])
        .launch()?
        .finish()?;
    let truth = Truth::load(&truth).with_context(|| outcome.stderr.clone())?;
    for path in [inner, directory.path().join("outer.json")] {
        let report = read(&path)?;
        expect::rows_agree(&report, &truth, MatchBy::Fd)
            .and_then(|()| expect::no_losses(&report))
            .with_context(|| path.display().to_string())?;
    }
    Ok(())
}
