//! Calls that return a result although the kernel did not run them: each is counted as never run, and no byte of it.

use anyhow::{Context, Result, ensure};
use tracer_tests::{
    expect::{self, MatchBy},
    scenario::{Traced, trace},
    stdio::Kind,
    workload::Workload,
};

/// Traces a scenario; the report must be exact and have no doubts.
fn exact(name: &str, kind: Kind) -> Result<Traced> {
    let traced = trace(&Workload::new(name).on(kind))?;
    expect::exact(&traced)?;
    let doubted = traced.report.objects.iter().find(|object| !object.doubts.is_empty());
    ensure!(doubted.is_none(), "{doubted:?}");
    Ok(traced)
}

#[test]
#[ignore = "needs root"]
fn a_call_that_seccomp_traps_moves_nothing() -> Result<()> {
    for kind in [Kind::Pipe, Kind::File] {
        let report = exact("trapped", kind)?.report;
        report.finding("refused")?.expect("error", "NOT_RUN")?;
        let replaced = report.processes.iter().flat_map(|process| &process.facts);
        ensure!(!replaced.into_iter().any(|fact| fact.kind == "fd_replaced"), "an fd was replaced");
    }
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn the_write_at_which_seccomp_kills_moves_nothing() -> Result<()> {
    exact("killed-by-seccomp", Kind::Pipe).map(drop)
}

#[test]
#[ignore = "needs root"]
fn a_write_that_a_supervisor_answers_moves_nothing() -> Result<()> {
    exact("supervised", Kind::File)?;
    exact("supervised", Kind::Pipe)?.report.finding("refused")?.expect("error", "NOT_RUN").map(drop)
}

#[test]
#[ignore = "needs root"]
fn a_child_whose_writes_are_answered_from_its_first_instruction_on() -> Result<()> {
    exact("supervised-child", Kind::Pipe).map(drop)
}

/// The kernel keeps no count of them, so nothing shows who answered.
#[test]
#[ignore = "needs root"]
fn sends_under_a_supervisor_make_their_socket_doubtful_and_nothing_else() -> Result<()> {
    let Traced { workload, report, .. } =
        trace(&Workload::new("supervised-socket").on(Kind::Socket))?;
    if workload.skipped.is_some() {
        return Ok(());
    }
    expect::rows_agree(&report, &workload.truth, MatchBy::Fd)?;
    let doubts = |fd: i32| -> Result<&[String]> {
        let mut rows = workload.truth.rows();
        let (_, row) = rows.find(|(_, row)| row.fd == fd).context("no such fd")?;
        let object = row.object.as_deref().context("a closed fd")?;
        Ok(&report.object(object).context("no such object")?.doubts)
    };
    ensure!(doubts(1)? == ["maybe_answered"] && doubts(2)?.is_empty(), "{:?}", report.objects);
    ensure!(report.losses() == [("maybe_answered".to_owned(), 2.into())], "{:?}", report.losses());
    Ok(())
}

/// As each unit of systemd with a few directives has.
#[test]
#[ignore = "needs root"]
fn sends_of_a_thread_with_many_filters_are_certain() -> Result<()> {
    exact("many-filters", Kind::Socket)?.report.has_no_loss()
}

#[test]
#[ignore = "needs root"]
fn writes_beside_a_supervisor_of_other_calls_are_certain() -> Result<()> {
    for kind in [Kind::Pipe, Kind::File, Kind::Socket] {
        exact("supervised-elsewhere", kind)?.report.has_no_loss()?;
    }
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn the_calls_of_an_emulated_guest_are_no_calls_of_this_kernel() -> Result<()> {
    let traced = trace(&Workload::new("emulated").on(Kind::File))?;
    expect::exact(&traced)?;
    traced.report.headline("out_of_sight")?.expect("why", "emulated").map(drop)
}

#[test]
#[ignore = "needs root"]
fn the_calls_of_a_process_that_a_debugger_steps_through_are_certain() -> Result<()> {
    exact("stepped", Kind::Pipe).map(drop)
}
