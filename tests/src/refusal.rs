//! Checks how tracer refuses a request: with one line that names the cause, and an exit code.

use std::{
    ffi::OsStr,
    process::{Command, Output, Stdio},
};

use anyhow::{Result, ensure};

use crate::{
    deadline::{OwnedChild, describe},
    reader::Reader,
    tracer,
};

/// Exit code for an invalid command line.
pub const USAGE: i32 = 2;

/// Exit code for a request that cannot be fulfilled in this environment.
pub const ENVIRONMENT: i32 = 3;

/// Runs tracer with these arguments to its end.
pub fn run(arguments: &[&str]) -> Result<Output> {
    run_command(Command::new(tracer::binary()?).args(arguments))
}

/// Runs a command to its end, such as tracer in a shell or with other privileges.
pub fn run_command(command: &mut Command) -> Result<Output> {
    let words: Vec<_> = command.get_args().map(OsStr::to_string_lossy).collect();
    let name = words.join(" ");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = OwnedChild::spawn(command, &name)?;
    let (stdout, stderr) = (Reader::of_stdout(&mut child)?, Reader::of_stderr(&mut child)?);
    let status = child.wait()?;
    Ok(Output { status, stdout: stdout.finish()?.bytes, stderr: stderr.finish()?.bytes })
}

/// Checks a refusal: the exit code, empty stdout, and one line on stderr with all of `names`.
pub fn check(output: &Output, code: i32, names: &[&str]) -> Result<()> {
    let stderr = String::from_utf8_lossy(&output.stderr);
    let stdout = String::from_utf8_lossy(&output.stdout);
    ensure!(
        output.status.code() == Some(code),
        "{} instead of exit code {code}; stderr: {stderr}; stdout: {stdout}",
        describe(output.status)
    );
    ensure!(!stderr.contains("panicked"), "it panicked: {stderr}");
    ensure!(stderr.trim_end().lines().count() == 1, "not one line: {stderr}");
    for name in names {
        ensure!(stderr.contains(name), "`{name}` is not named in: {stderr}");
    }
    ensure!(output.stdout.is_empty(), "a refusal printed to stdout: {stdout}");
    Ok(())
}
