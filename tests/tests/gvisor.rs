//! A guest of gVisor: its calls are no calls of this kernel, and the report says so first.

use anyhow::{Context, Result, ensure};
use tracer_tests::tracer::Tracer;

/// runsc's ptrace platform runs the guest's threads as processes of this kernel whose calls gVisor emulates.
#[test]
#[ignore = "needs root and runsc"]
fn a_guest_on_the_ptrace_platform_is_out_of_sight() -> Result<()> {
    let runsc = "exec runsc --platform=ptrace --network=none --ignore-cgroups do \
                 /bin/sh -c 'echo out; echo err >&2; exit 3' >/dev/null 2>&1";
    let tracer = Tracer::default().args(["--all-fds", "--", "sh", "-c", runsc]).launch()?;
    let report = tracer.finish()?.report()?;
    let finding = report.headline("out_of_sight")?;
    finding.expect("why", "gvisor")?.expect("platform", "ptrace")?;
    // What the guest wrote is counted where gVisor writes it: in the sandbox's own process.
    let stubs: Vec<_> = report
        .processes
        .iter()
        .filter(|process| process.facts.iter().any(|fact| fact.kind == "emulated"))
        .collect();
    ensure!(!stubs.is_empty(), "no process has the guest's calls");
    let of_stubs =
        report.rows().find(|(pid, row)| row.bytes > 0 && stubs.iter().any(|stub| stub.pid == *pid));
    ensure!(of_stubs.is_none(), "a guest's call is counted: {of_stubs:?}");
    let status = report.processes.first().context("no process")?.exit;
    ensure!(status.is_some_and(|exit| exit.code == Some(3)), "exit status of runsc");
    Ok(())
}
