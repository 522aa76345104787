//! What is longer than tracer keeps is reported as cut.

use std::fs::{self, File};

use anyhow::{Context as _, Result, ensure};
use tracer_tests::{expect, gated::Gated, scenario::trace, tracer::Tracer, workload::Workload};

/// The kernel side walks up 40 folders. The rest of a longer path is left out, and that shows.
#[test]
#[ignore = "needs root"]
fn a_path_that_is_too_deep_does_not_look_like_one_from_the_root() -> Result<()> {
    const DEPTH: usize = 60;
    let directory = tempfile::tempdir()?;
    let mut path = directory.path().to_owned();
    path.extend((0..DEPTH).map(|level| format!("d{level}")));
    fs::create_dir_all(&path)?;
    let mut shell = Gated::onto("echo deep", File::create(path.join("output"))?.into())?;
    let report = shell.trace(Tracer::on_pid(shell.pid()))?.report()?;
    let row = report.rows().find(|(_, row)| row.fd == Some(1) && row.bytes == 5);
    let (_, row) = row.with_context(|| format!("no 5 bytes: {:#?}", report.processes))?;
    ensure!(row.object.starts_with('…') && row.object.ends_with("/d59/output"), "{}", row.object);
    let of_root = report.objects.iter().find(|object| object.id.starts_with("/d2"));
    ensure!(of_root.is_none(), "{of_root:?}");
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn a_process_with_too_many_facts_says_so_once() -> Result<()> {
    const LIMIT: usize = 32;
    let traced = trace(&Workload::new("failures"))?;
    expect::exact(&traced)?;
    let process = traced.report.of_pid(traced.workload.pid).next().context("no process")?;
    let count = |kind| process.facts.iter().filter(|fact| fact.kind == kind).count();
    let counts = (count("connect_failed"), count("facts_cut"), process.facts.len());
    ensure!(counts == (LIMIT, 1, LIMIT + 1), "{:#?}", process.facts);
    Ok(())
}
