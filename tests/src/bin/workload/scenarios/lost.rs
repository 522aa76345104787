//! Programs whose output goes missing by their own doing, or that are easily suspected of it.

use std::{
    fs::{self, File},
    os::{fd::AsRawFd, unix::net::UnixStream},
    path::PathBuf,
};

use anyhow::{Context, Result, ensure};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use tracer_tests::truth::path_from_env;

use crate::{ledger::Ledger, process, sys};

/// The story of this name.
pub(super) fn find(name: &str) -> Option<fn(&mut Ledger) -> Result<()>> {
    Some(match name {
        "heedless" => heedless,
        "fills-stdout" => fills_stdout,
        "fills-stderr" => fills_stderr,
        "never-flushed" => never_flushed,
        "asks-for-terminal" => asks_for_terminal,
        "without-daemon" => without_daemon,
        "by-message" => by_message,
        "rotated" => rotated,
        _ => return None,
    })
}

/// 4,000 times 100 bytes to fd 1, whatever the kernel says to it.
fn heedless(ledger: &mut Ledger) -> Result<()> {
    const LINE: [u8; 100] = [b'x'; 100];
    for _ in 0..4000 {
        // The outcome is booked; not caring about it is what this program is about.
        let _ = ledger.note(1, LINE.len(), sys::write(1, &LINE));
    }
    Ok(())
}

/// One write that is larger than any pipe.
fn fills_stdout(ledger: &mut Ledger) -> Result<()> {
    ledger.write(1, 200_003)
}

/// Fills stderr before it says anything on stdout.
fn fills_stderr(ledger: &mut Ledger) -> Result<()> {
    ledger.write(2, 200_003)?;
    ledger.write(1, 5)
}

/// Asks about a terminal, keeps its output in a buffer because there is none, and is killed.
fn never_flushed(ledger: &mut Ledger) -> Result<()> {
    ensure!(!is_terminal(1), "stdout is a terminal");
    ledger.publish()?;
    // SAFETY: takes no pointer; ends this process, buffers and all.
    unsafe { libc::raise(libc::SIGKILL) };
    Ok(())
}

/// Asks about a terminal on both streams, is told no, and says less for that.
fn asks_for_terminal(ledger: &mut Ledger) -> Result<()> {
    ensure!(!is_terminal(1) && !is_terminal(2), "a stream is a terminal");
    ledger.write(1, 31)?;
    ledger.write(2, 47)
}

fn is_terminal(fd: i32) -> bool {
    // SAFETY: takes no pointer.
    unsafe { libc::isatty(fd) == 1 }
}

/// Cannot reach its daemon, says so on stderr and fails.
fn without_daemon(ledger: &mut Ledger) -> Result<()> {
    let socket = path_from_env()?.with_extension("sock");
    ensure!(UnixStream::connect(&socket).is_err(), "somebody listens on {}", socket.display());
    ledger.write(2, 92)?;
    ledger.publish()?;
    std::process::exit(1)
}

/// Sends what others print over a socket to its parent: nothing on fd 1 or fd 2.
fn by_message(ledger: &mut Ledger) -> Result<()> {
    const SIZE: usize = 700;
    let (ours, theirs) =
        socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    let (ours, theirs) = (sys::out_of_the_way(ours)?, sys::out_of_the_way(theirs)?);
    let child = process::fork(ledger, |own| own.write(theirs.as_raw_fd(), SIZE))?;
    process::wait_success(child)?;
    let received = sys::read(ours.as_raw_fd(), &mut [0; 2 * SIZE]);
    ensure!(received == Ok(SIZE), "the message had {received:?} bytes");
    Ok(())
}

/// Its log file is renamed and made anew while it runs; it goes on writing to the old one.
fn rotated(ledger: &mut Ledger) -> Result<()> {
    let path: PathBuf = fs::read_link("/proc/self/fd/1").context("fd 1 is no file")?;
    ledger.write(1, 100)?;
    fs::rename(&path, path.with_extension("1"))?;
    File::create(&path)?;
    ledger.write(1, 50)
}
