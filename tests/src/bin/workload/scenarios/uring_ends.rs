//! io_uring requests that end without a completion, or with two, and io_uring in processes that are not traced.

use std::{
    fs::{File, OpenOptions},
    io::{Read as _, Write as _},
    net::{Ipv4Addr, TcpListener, TcpStream},
    os::fd::{AsRawFd as _, RawFd},
};

use anyhow::{Context as _, Result, ensure};
use io_uring::{IoUring, cqueue, opcode, squeue::Flags, types};
use tracer_tests::truth::path_from_env;

use crate::{
    ledger::Ledger,
    paths::uring::{CURRENT, complete, push, ring, silent_ring},
    sys::{self, Outcome},
};

/// Writes to fd 1 without completions (`IOSQE_CQE_SKIP_SUCCESS`), which no tracer can count, and sends through a
/// socket on fd 2 without copies (`IORING_OP_SEND_ZC`), which completes twice.
pub(crate) fn silent_ends(ledger: &mut Ledger) -> Result<()> {
    const ROUNDS: usize = 8;
    const SENDS: usize = 64;
    let mut ring = silent_ring()?;
    for _ in 0..ROUNDS {
        write_silently(ledger, &mut ring)?;
    }
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let near = TcpStream::connect(listener.local_addr()?)?;
    let (mut far, _) = listener.accept()?;
    sys::dup2(near.as_raw_fd(), 2)?;
    for size in 1..=SENDS {
        let bytes = vec![b'z'; size];
        let sent = ledger.note(2, size, send_zero_copy(&mut ring, 2, &bytes)?);
        ensure!(sent == Ok(size), "SEND_ZC of {size} bytes returned {sent:?}");
        far.read_exact(&mut vec![0; size])?;
    }
    Ok(())
}

/// Several writes without completions, and one with a completion that is linked to them, so that it is the last.
fn write_silently(ledger: &mut Ledger, ring: &mut IoUring) -> Result<()> {
    const SILENT: usize = 15;
    const LINE: &[u8] = b"silent\n";
    const LAST: &[u8] = b"the last one\n";
    let write = |bytes: &'static [u8]| {
        let length = bytes.len() as u32;
        opcode::Write::new(types::Fd(1), bytes.as_ptr(), length).offset(CURRENT).build()
    };
    for _ in 0..SILENT {
        push(ring, &write(LINE).flags(Flags::SKIP_SUCCESS | Flags::IO_LINK))?;
    }
    push(ring, &write(LAST))?;
    let (_, written) = *complete(ring, 1)?.first().context("no completion")?;
    let written = ledger.note(1, LAST.len(), written);
    ensure!(written == Ok(LAST.len()), "the last write returned {written:?}");
    Ok(())
}

fn send_zero_copy(ring: &mut IoUring, fd: RawFd, bytes: &[u8]) -> Result<Outcome> {
    push(ring, &opcode::SendZc::new(types::Fd(fd), bytes.as_ptr(), bytes.len() as u32).build())?;
    let (mut outcome, mut is_over) = (None, false);
    while !is_over {
        ring.submit_and_wait(1).context("io_uring_enter")?;
        for done in ring.completion() {
            if !cqueue::notif(done.flags()) {
                outcome = Some(usize::try_from(done.result()).map_err(|_| -done.result()));
            }
            is_over = !cqueue::more(done.flags());
        }
    }
    outcome.context("no completion")
}

/// Writes several hundred times to a file of its own.
pub(crate) fn own_file(ledger: &mut Ledger) -> Result<()> {
    const ROUNDS: usize = 40;
    const AT_ONCE: usize = 16;
    const LINE: &[u8] = b"of another program\n";
    let file = File::create(path_from_env()?.with_extension("own"))?;
    let fd = file.as_raw_fd();
    let mut ring = ring()?;
    for _ in 0..ROUNDS {
        for _ in 0..AT_ONCE {
            let request = opcode::Write::new(types::Fd(fd), LINE.as_ptr(), LINE.len() as u32);
            push(&mut ring, &request.offset(CURRENT).build())?;
        }
        for (_, written) in complete(&mut ring, AT_ONCE)? {
            let written = ledger.note(fd, LINE.len(), written);
            ensure!(written == Ok(LINE.len()), "a write to the own file returned {written:?}");
        }
    }
    Ok(())
}

/// Reads fd 0 to its end. After the first read it writes to `/dev/null`, by io_uring and by `write`, and publishes.
pub(crate) fn discards(ledger: &mut Ledger) -> Result<()> {
    const TIMES: usize = 5;
    const LINE: &[u8] = b"0123456789";
    let mut null = OpenOptions::new().write(true).open("/dev/null")?;
    let mut ring = ring()?;
    let mut buffer = [0; 4096];
    let first = sys::read(0, &mut buffer);
    ensure!(first.is_ok_and(|count| count > 0), "the first read returned {first:?}");
    for fd in [null.as_raw_fd(), 1] {
        for _ in 0..TIMES {
            let request = opcode::Write::new(types::Fd(fd), LINE.as_ptr(), LINE.len() as u32);
            push(&mut ring, &request.offset(CURRENT).build())?;
            let (_, written) = *complete(&mut ring, 1)?.first().context("no completion")?;
            let written = ledger.note(fd, LINE.len(), written);
            ensure!(written == Ok(LINE.len()), "a write to /dev/null returned {written:?}");
        }
        ledger.write(fd, LINE.len())?;
    }
    null.write_all(LINE)?;
    ledger.publish()?;
    while sys::read(0, &mut buffer).is_ok_and(|count| count > 0) {}
    Ok(())
}
