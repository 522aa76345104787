//! Programs that lose their own output, or that seem to.

use std::{
    fs::{self, File},
    os::{fd::AsRawFd, unix::net::UnixStream},
    path::PathBuf,
};

use anyhow::{Context, Result, ensure};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use tracer_tests::truth::path_from_env;

use crate::{ledger::Ledger, process, sys};

/// Finds a scenario by name.
pub(super) fn find(name: &str) -> Option<fn(&mut Ledger) -> Result<()>> {
    Some(match name {
        "ignores-errors" => ignores_errors,
        "fills-stdout" => fills_stdout,
        "fills-stderr" => fills_stderr,
        "never-flushed" => never_flushed,
        "asks-for-terminal" => asks_for_terminal,
        "without-daemon" => without_daemon,
        "over-socket" => over_socket,
        "rotated" => rotated,
        _ => return None,
    })
}

/// Writes 4,000 times 100 bytes to fd 1 and ignores errors.
fn ignores_errors(ledger: &mut Ledger) -> Result<()> {
    const LINE: [u8; 100] = [b'x'; 100];
    for _ in 0..4000 {
        // The outcome is counted, but the program ignores it on purpose.
        let _ = ledger.note(1, LINE.len(), sys::write(1, &LINE));
    }
    Ok(())
}

/// Makes one write that is larger than a pipe.
fn fills_stdout(ledger: &mut Ledger) -> Result<()> {
    ledger.write(1, 200_003)
}

/// Fills stderr before it writes to stdout.
fn fills_stderr(ledger: &mut Ledger) -> Result<()> {
    ledger.write(2, 200_003)?;
    ledger.write(1, 5)
}

/// Is killed before it writes: it buffers its output because stdout is not a terminal.
fn never_flushed(ledger: &mut Ledger) -> Result<()> {
    ensure!(!is_terminal(1), "stdout is a terminal");
    ledger.publish()?;
    // SAFETY: takes no pointer; kills this process.
    unsafe { libc::raise(libc::SIGKILL) };
    Ok(())
}

/// Checks both streams for a terminal, then writes less because there is none.
fn asks_for_terminal(ledger: &mut Ledger) -> Result<()> {
    ensure!(!is_terminal(1) && !is_terminal(2), "a stream is a terminal");
    ledger.write(1, 31)?;
    ledger.write(2, 47)
}

fn is_terminal(fd: i32) -> bool {
    // SAFETY: takes no pointer.
    unsafe { libc::isatty(fd) == 1 }
}

/// Fails to connect to its daemon, writes an error to stderr and exits with 1.
fn without_daemon(ledger: &mut Ledger) -> Result<()> {
    let socket = path_from_env()?.with_extension("sock");
    ensure!(UnixStream::connect(&socket).is_err(), "a daemon listens on {}", socket.display());
    ledger.write(2, 92)?;
    ledger.publish()?;
    std::process::exit(1)
}

/// A child sends its output over a socket to the parent, and nothing to fd 1 or fd 2.
fn over_socket(ledger: &mut Ledger) -> Result<()> {
    const SIZE: usize = 700;
    let (parent, child_end) =
        socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    let (parent, child_end) = (sys::move_to_high_fd(parent)?, sys::move_to_high_fd(child_end)?);
    let child = process::fork(ledger, |own| own.write(child_end.as_raw_fd(), SIZE))?;
    process::wait_success(child)?;
    let received = sys::read(parent.as_raw_fd(), &mut [0; 2 * SIZE]);
    ensure!(received == Ok(SIZE), "the message had {received:?} bytes");
    Ok(())
}

/// Writes to its log file, which is renamed and recreated in between; continues in the old one.
fn rotated(ledger: &mut Ledger) -> Result<()> {
    let path: PathBuf = fs::read_link("/proc/self/fd/1").context("fd 1 is not a file")?;
    ledger.write(1, 100)?;
    fs::rename(&path, path.with_extension("1"))?;
    File::create(&path)?;
    ledger.write(1, 50)
}
