//! What a good refusal looks like: one line that names the thing, and the right exit code.

use std::{
    ffi::OsStr,
    process::{Command, Output, Stdio},
};

use anyhow::{Context, Result, ensure};

use crate::{deadline::OwnedChild, tracer};

/// Exit code for a command line that makes no sense.
pub const USAGE: i32 = 2;

/// Exit code for an environment in which the request cannot be met.
pub const ENVIRONMENT: i32 = 3;

/// Runs the tracer with these arguments to its end.
pub fn run(arguments: &[&str]) -> Result<Output> {
    run_command(Command::new(tracer::binary()?).args(arguments))
}

/// Runs any command to its end: the tracer inside a shell, or under other privileges.
pub fn run_command(command: &mut Command) -> Result<Output> {
    let words: Vec<_> = command.get_args().map(OsStr::to_string_lossy).collect();
    let name = words.join(" ");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = OwnedChild::spawn(command, &name)?;
    let [stdout, stderr] = {
        let inner = child.inner();
        let stdout = inner.stdout.take().context("stdout was piped")?;
        let stderr = inner.stderr.take().context("stderr was piped")?;
        [stdout.into(), stderr.into()]
            .map(|end| crate::reader::Reader::spawn(end, crate::reader::Pace::Free))
    };
    let status = child.wait()?;
    Ok(Output { status, stdout: stdout.finish()?.bytes, stderr: stderr.finish()?.bytes })
}

/// Checks a refusal: the exit code, and one line on stderr with all of `names` in it.
pub fn check(output: &Output, code: i32, names: &[&str]) -> Result<()> {
    let said = String::from_utf8_lossy(&output.stderr);
    let printed = String::from_utf8_lossy(&output.stdout);
    ensure!(
        output.status.code() == Some(code),
        "{} instead of exit code {code}; stderr: {said}; stdout: {printed}",
        crate::deadline::describe(output.status)
    );
    ensure!(!said.contains("panicked"), "it panicked: {said}");
    ensure!(said.trim_end().lines().count() == 1, "not one line: {said}");
    for name in names {
        ensure!(said.contains(name), "`{name}` is not named in: {said}");
    }
    ensure!(output.stdout.is_empty(), "a refusal printed to stdout: {printed}");
    Ok(())
}
