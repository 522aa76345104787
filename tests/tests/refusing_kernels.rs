//! `tracer doctor` and a trace agree about this kernel: both work, or both say in one sentence why
//! not. `cargo xtask vm` runs this on kernels that were made to refuse.

use std::{env, process::Output};

use anyhow::{Result, ensure};
use tracer_tests::{
    deadline::describe,
    privilege::require_root,
    refusal::{self, ENVIRONMENT, check},
};

/// Words of the reason for which this kernel cannot work; not set where it can.
const REFUSED_ENV: &str = "TRACER_TEST_REFUSED";

/// Why this kernel cannot work.
fn refused() -> Option<String> {
    env::var(REFUSED_ENV).ok()
}

/// What the doctor says with this mark in front, one item for each check.
fn marked(doctor: &Output, mark: char) -> Vec<String> {
    let said = String::from_utf8_lossy(&doctor.stdout);
    let mut items: Vec<String> = Vec::new();
    for line in said.lines() {
        // What is too long for a line goes on in the next one, below its beginning.
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
    ensure!(failures.len() == 1, "not one reason: {failures:#?}");
    ensure!(failures[0].contains(&reason), "`{reason}` is not named in: {failures:?}");
    ensure!(failures[0].contains('→'), "no cure is told: {failures:?}");
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn a_trace_says_the_reason_in_one_sentence() -> Result<()> {
    require_root()?;
    for arguments in [&["--pid", "1", "--duration", "1ms"][..], &["--", "true"]] {
        let trace = refusal::run(arguments)?;
        match refused() {
            Some(reason) => check(&trace, ENVIRONMENT, &[&reason])?,
            None => ensure!(
                trace.status.code().is_some_and(|code| code <= 1),
                "{}: {}",
                describe(trace.status),
                String::from_utf8_lossy(&trace.stderr)
            ),
        }
    }
    Ok(())
}
