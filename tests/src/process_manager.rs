//! A small process manager, as the tests' stand-in for the ones people lose output in: starts a
//! command with two pipes, reads both to the end, and says how much it read.

use std::{
    io::Read,
    os::{fd::AsRawFd, unix::process::ExitStatusExt},
    process::{Command, Stdio},
    thread,
};

use anyhow::{Context, Result, anyhow};
use serde::{Deserialize, Serialize};

use crate::procfs::object_of;

/// What a managed command did, seen from the manager's ends of its pipes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// The command's pid.
    pub pid: u32,
    /// Its words.
    pub argv: Vec<String>,
    /// Its exit code.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// What the manager read from its stdout.
    pub stdout: Stream,
    /// What the manager read from its stderr.
    pub stderr: Stream,
}

/// One pipe, read to its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stream {
    /// The pipe, as `/proc` words it.
    pub object: String,
    /// Bytes read.
    pub bytes: u64,
    /// The same as text, for messages.
    pub text: String,
}

/// Runs a command and accounts for its output.
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
    let stderr = thread::spawn(move || account(stderr));
    let stdout = account(stdout)?;
    let stderr = stderr.join().map_err(|_| anyhow!("the stderr reader panicked"))??;
    let pid = child.id();
    let status = child.wait()?;
    let argv = argv.to_vec();
    Ok(Account { pid, argv, code: status.code(), signal: status.signal(), stdout, stderr })
}

fn account(mut end: impl Read + AsRawFd) -> Result<Stream> {
    let object = object_of(end.as_raw_fd()).context("/proc does not know the pipe")?;
    let mut bytes = Vec::new();
    end.read_to_end(&mut bytes)?;
    Ok(Stream {
        object,
        bytes: bytes.len() as u64,
        text: String::from_utf8_lossy(&bytes).into_owned(),
    })
}
