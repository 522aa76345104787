//! `tracer doctor` and a trace agree about this kernel: both succeed, or both name the reason in one
//! sentence. `cargo xtask vm` runs this on kernels that lack a required feature.

use std::{env, process::Output};

use anyhow::{Context as _, Result, ensure};
use tracer_tests::{
    deadline::describe,
    privilege::require_root,
    refusal::{self, ENVIRONMENT, check},
    tracer::check_status,
};

/// Environment variable with a part of the reason why this kernel is unsuitable; unset if it is suitable.
const REFUSED_ENV: &str = "TRACER_TEST_REFUSED";

fn refused() -> Option<String> {
    env::var(REFUSED_ENV).ok()
}

/// The checks of the doctor with this mark, one item for each.
fn marked(doctor: &Output, mark: char) -> Vec<String> {
    let stdout = String::from_utf8_lossy(&doctor.stdout);
    let mut items: Vec<String> = Vec::new();
    for line in stdout.lines() {
        // A wrapped item continues on indented lines.
        match (line.starts_with(' '), items.last_mut()) {
            (true, Some(item)) => *item += &format!(" {}", line.trim()),
            _ => items.push(line.to_owned()),
        }
    }
    items.retain(|item| item.starts_with(mark));
    items
}

#[test]
#[ignore = "needs root"]
fn the_doctor_names_the_reason_once() -> Result<()> {
    require_root()?;
    let doctor = refusal::run(&["doctor", "--color", "never"])?;
    let failures = marked(&doctor, '✗');
    let Some(reason) = refused() else {
        ensure!(doctor.status.success(), "{}: {failures:?}", describe(doctor.status));
        ensure!(failures.is_empty(), "{failures:?}");
        return Ok(());
    };
    ensure!(doctor.status.code() == Some(ENVIRONMENT), "{}", describe(doctor.status));
    ensure!(failures.len() == 1, "not exactly one failure: {failures:#?}");
    ensure!(failures[0].contains(&reason), "`{reason}` is not named in: {failures:?}");
    ensure!(failures[0].contains('→'), "no fix is named: {failures:?}");
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn a_trace_names_the_reason_in_one_sentence() -> Result<()> {
    require_root()?;
    for arguments in [&["--pid", "1", "--duration", "1ms"][..], &["--", "true"]] {
        let trace = refusal::run(arguments)?;
        match refused() {
            Some(reason) => check(&trace, ENVIRONMENT, &[&reason])?,
            None => check_status(trace.status)
                .with_context(|| String::from_utf8_lossy(&trace.stderr).into_owned())?,
        }
    }
    Ok(())
}
