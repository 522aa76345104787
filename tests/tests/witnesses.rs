//! Programs that hide what they write or make up what they did not: the counts are exact all the same, or in doubt.

use anyhow::{Context as _, Result, ensure};
use tracer_tests::{
    expect,
    report::{Object, Report},
    scenario::{Traced, trace},
    stdio::Kind,
    workload::Workload,
};

#[test]
#[ignore = "needs root"]
fn bits_that_the_kernel_ignores_hide_no_call() -> Result<()> {
    for kind in [Kind::File, Kind::Pipe] {
        let traced = trace(&Workload::new("wide-registers").on(kind))?;
        expect::exact(&traced)?;
        expect::no_losses(&traced.report)?;
    }
    Ok(())
}

/// The stdout of the workload.
fn stdout(traced: &Traced) -> Result<&Object> {
    let process = traced.report.processes.iter().find(|process| process.pid == traced.workload.pid);
    let fd = process.and_then(|process| process.fds.iter().find(|fd| fd.fd == Some(1)));
    let name = fd.map(|fd| fd.object.as_str()).context("the workload has no stdout")?;
    traced.report.object(name).context("it is no object")
}

/// Checks that the stdout is in doubt for this reason only, and that nothing else is lost.
fn is_in_doubt(traced: &Traced, reason: &str) -> Result<()> {
    let object = stdout(traced)?;
    ensure!(object.doubts == [reason], "{object:#?}");
    let losses: Vec<_> = traced.report.losses().into_iter().map(|(name, _)| name).collect();
    ensure!(losses == [reason], "{losses:?}");
    nothing_is_certain(&traced.report)
}

/// Checks that no finding about the workload is certain.
fn nothing_is_certain(report: &Report) -> Result<()> {
    let mut own = report.findings.iter().filter(|finding| finding.pid.is_some_and(|pid| pid > 0));
    let certain = own.find(|finding| finding.confidence == "certain");
    ensure!(certain.is_none(), "{certain:#?}");
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn an_fd_that_is_replaced_during_writes_puts_its_objects_in_doubt() -> Result<()> {
    is_in_doubt(&trace(&Workload::new("raced").on(Kind::File))?, "fd_raced")
}

#[test]
#[ignore = "needs root"]
fn an_fd_that_is_replaced_beside_writes_to_another_one_is_certain() -> Result<()> {
    let traced = trace(&Workload::new("replaced-beside-a-writer"))?;
    expect::exact(&traced)?;
    expect::no_losses(&traced.report)
}

#[test]
#[ignore = "needs root"]
fn lengths_that_another_thread_can_change_are_bounded_and_in_doubt() -> Result<()> {
    lengths_are_in_doubt("forged-lengths")
}

#[test]
#[ignore = "needs root"]
fn lengths_that_another_process_can_change_are_bounded_and_in_doubt() -> Result<()> {
    lengths_are_in_doubt("forged-by-a-process")
}

fn lengths_are_in_doubt(scenario: &str) -> Result<()> {
    let traced = trace(&Workload::new(scenario).on(Kind::Socket))?;
    let written = stdout(&traced)?.written.context("no count")?;
    // 200 messages of at most a send buffer, of which Linux doubles the set size (socket(7)).
    ensure!(written < 200 * 1_000_000, "{written} B");
    is_in_doubt(&traced, "memory_changed")
}

#[test]
#[ignore = "needs root"]
fn messages_of_a_process_whose_arguments_are_read_are_certain() -> Result<()> {
    let traced = trace(&Workload::new("messages-while-read").on(Kind::Socket))?;
    expect::exact(&traced)?;
    expect::no_losses(&traced.report)
}

#[test]
#[ignore = "needs root"]
fn a_file_that_grew_without_a_write_is_no_proof_of_silence() -> Result<()> {
    let traced = trace(&Workload::new("extended").on(Kind::File))?;
    let first = traced.report.headline("own_losses")?;
    ensure!(first.message.contains("grew by 5,000 B without a write"), "{first:#?}");
    is_in_doubt(&traced, "uncounted")
}
