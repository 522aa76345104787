//! What jobs with a program of their own do: `jobs do WHAT`.

use std::{io::Read as _, process::ExitCode, thread::sleep, time::Duration};

use anyhow::{Context as _, Result, bail};

use crate::spawn::write_all;

/// Runs one. It fails where its output is refused, as most programs do.
pub(super) fn run(what: &str, rest: &[&str]) -> Result<ExitCode> {
    let number = |index: usize| -> Result<usize> {
        let word: &&str = rest.get(index).context("too few arguments")?;
        Ok(word.parse()?)
    };
    let is_written = match what {
        "write" => write_all(1, number(0)?) && write_all(2, number(1)?),
        // Complains, and fails.
        "complain" => {
            write_all(2, number(0)?);
            false
        }
        // Pieces of 4 KiB, with a pause after each.
        "slow" => (0..number(0)?).all(|_| {
            sleep(Duration::from_millis(5));
            write_all(1, 4_096)
        }),
        // Some bytes for each that it reads.
        "steady" => {
            let mut stdin = std::io::stdin();
            let bytes = number(0)?;
            while stdin.read(&mut [0])? == 1 {
                write_all(1, bytes);
            }
            true
        }
        // Writes, waits until it may go on, and writes the rest.
        "two" => {
            let is_first = write_all(1, number(0)?) && write_all(2, number(1)?);
            wait()?;
            is_first && write_all(1, number(2)?)
        }
        "two-dies" => {
            // SAFETY: takes no pointer to anything of this program.
            unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
            write_all(1, number(0)?);
            wait()?;
            write_all(1, number(1)?)
        }
        "hurry" => refuse(number(0)?),
        "closed" => {
            // SAFETY: no Rust value owns fd 1.
            unsafe { libc::close(1) };
            write_all(1, number(0)?)
        }
        "killed" => {
            // SAFETY: takes no pointer. A C program asks for a terminal before its first write.
            unsafe { libc::isatty(1) };
            // SAFETY: takes no pointer; kills this process.
            unsafe { libc::raise(libc::SIGKILL) };
            false
        }
        "late" => return late(number(0)?, number(1)?),
        _ => bail!("no such work: {what}"),
    };
    Ok(if is_written { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn wait() -> Result<()> {
    std::io::stdin().read_exact(&mut [0]).context("the manager is gone")
}

/// Writes to stdout, which this program has made non-blocking, and gives up when it is full.
fn refuse(bytes: usize) -> bool {
    let text = vec![b'e'; bytes];
    // SAFETY: takes no pointer.
    unsafe { libc::fcntl(1, libc::F_SETFL, libc::O_WRONLY | libc::O_NONBLOCK) };
    let mut left = &text[..];
    while !left.is_empty() {
        // SAFETY: the buffer is valid for its length.
        let wrote = unsafe { libc::write(1, left.as_ptr().cast(), left.len()) };
        match usize::try_from(wrote) {
            Ok(wrote) => left = &left[wrote..],
            Err(_) => return false,
        }
    }
    true
}

/// A child writes a while after this process has ended.
fn late(first: usize, then: usize) -> Result<ExitCode> {
    // SAFETY: this process has one thread.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        sleep(Duration::from_millis(300));
        write_all(1, then);
    } else {
        write_all(1, first);
    }
    Ok(ExitCode::SUCCESS)
}
