//! A minimal, correct process manager: starts a command with two pipes, reads both to the end, and
//! records how much it read.

use std::{
    io::Read,
    os::{fd::AsRawFd, unix::process::ExitStatusExt},
    process::{Command, Stdio},
    thread,
};

use anyhow::{Context, Result, anyhow};
use serde::{Deserialize, Serialize};

use crate::procfs::object_of;

/// The manager's record of a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// The command's pid.
    pub pid: u32,
    /// The command line.
    pub argv: Vec<String>,
    /// Its exit code.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// What the manager read from the command's stdout.
    pub stdout: Stream,
    /// What the manager read from the command's stderr.
    pub stderr: Stream,
}

/// A pipe that was read to the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stream {
    /// Name of the pipe in `/proc`, like `pipe:[88123]`.
    pub object: String,
    /// Number of bytes read.
    pub bytes: u64,
    /// The bytes as text, for messages.
    pub text: String,
}

/// Runs a command to its end.
pub fn run(argv: &[String]) -> Result<Account> {
    let (program, arguments) = argv.split_first().context("no command to run")?;
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {program}"))?;
    let stdout = child.stdout.take().context("stdout was piped")?;
    let stderr = child.stderr.take().context("stderr was piped")?;
    let stderr = thread::spawn(move || read_to_end(stderr));
    let stdout = read_to_end(stdout)?;
    let stderr = stderr.join().map_err(|_| anyhow!("the stderr reader panicked"))??;
    let pid = child.id();
    let status = child.wait()?;
    let argv = argv.to_vec();
    Ok(Account { pid, argv, code: status.code(), signal: status.signal(), stdout, stderr })
}

fn read_to_end(mut end: impl Read + AsRawFd) -> Result<Stream> {
    let object = object_of(end.as_raw_fd()).context("/proc does not know the pipe")?;
    let mut bytes = Vec::new();
    end.read_to_end(&mut bytes)?;
    Ok(Stream {
        object,
        bytes: bytes.len() as u64,
        text: String::from_utf8_lossy(&bytes).into_owned(),
    })
}
