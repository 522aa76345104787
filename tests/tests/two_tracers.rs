//! Two tracers at once: on the same tree, and one around the other. Each is exact by itself.

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

/// Workloads that go through different parts of the books: trees, identities, several ways to write.
const WORKLOADS: [&[&str]; 3] = [&["deep"], &["write", "exec"], &["storm"]];

fn workload(words: &[&str]) -> Workload {
    let (name, arguments) = words.split_first().expect("a workload has a name");
    arguments.iter().fold(Workload::new(name), |workload, word| workload.arg(word))
}

/// Neither sees less because of the other, nor the other's own doings.
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
            let outcome = tracer.finish()?;
            let report = outcome.report()?;
            let workload_side = finished.take().context("a side for each")?;
            let words = workload.words();
            let traced = Traced { words, workload: workload_side, tracer: outcome, report };
            expect::exact(&traced)?;
            finished = Some(traced.workload);
        }
    }
    Ok(())
}

/// One that leaves early takes nothing with it.
#[test]
#[ignore = "needs root"]
fn a_tracer_that_leaves_does_not_disturb_the_other() -> Result<()> {
    let workload = Workload::new("deep");
    let mut running = workload.clone().gated().spawn()?;
    let stays = Tracer::on_pid(running.pid()).start()?;
    let leaves = Tracer::on_pid(running.pid()).start()?;
    leaves.interrupt()?;
    leaves.finish()?;
    running.open_gate()?;
    let finished = running.finish()?;
    let outcome = stays.finish()?;
    let report = outcome.report()?;
    expect::exact(&Traced { words: workload.words(), workload: finished, tracer: outcome, report })
}

fn read(path: &Path) -> Result<Report> {
    parse(&fs::read_to_string(path).with_context(|| path.display().to_string())?)
}

/// `tracer -- tracer -- workload`: the inner one is a process like any other to the outer one.
#[test]
#[ignore = "needs root"]
fn a_tracer_in_the_tree_of_another_one_and_both_are_exact() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let [truth, inner, outer] =
        ["truth.jsonl", "inner.json", "outer.json"].map(|name| directory.path().join(name));
    let outcome = Tracer::default()
        .env(TRUTH_ENV, &truth)
        // Its own line would be in the pipe's books, as anybody else's is.
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
    ensure!(!truth.processes.is_empty(), "the workload wrote nothing down");
    for path in [&inner, &outer] {
        let report = read(path)?;
        expect::rows_agree(&report, &truth, MatchBy::Fd)
            .and_then(|()| expect::pipes_balance(&report, &truth))
            .and_then(|()| expect::no_losses(&report))
            .with_context(|| path.display().to_string())?;
    }
    // Only the outer one sees the inner one, and the inner one's command as its child.
    let is_tracer = |report: &Report| {
        report.processes.iter().any(|process| process.argv.iter().any(|word| word == "-q"))
    };
    ensure!(is_tracer(&read(&outer)?) && !is_tracer(&read(&inner)?), "who traced whom?");
    Ok(())
}

/// The same by pid: a tracer that is traced from before it attaches.
#[test]
#[ignore = "needs root"]
fn a_shell_that_starts_a_tracer_is_traced_to_the_byte() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let [truth, inner] = ["truth.jsonl", "inner.json"].map(|name| directory.path().join(name));
    let line = format!(
        "{} -q --format json -o {} -- {} deep",
        binary()?.display(),
        inner.display(),
        sibling_binary("workload")?.display()
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
