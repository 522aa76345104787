//! Programs with known output, for tests of captures.

use std::{
    env,
    os::fd::{AsRawFd, RawFd},
    sync::{Arc, Barrier},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, ensure};
use tracer_tests::{content, gate};

use crate::{ledger::Ledger, sys};

/// Finds a scenario by name.
pub(super) fn find(name: &str) -> Option<fn(&mut Ledger) -> Result<()>> {
    Some(match name {
        "text" => text,
        "every-byte" => every_byte,
        "cut-characters" => cut_characters,
        "single-bytes" => single_bytes,
        "one-write" => one_write,
        "paced" => paced,
        "many-segments" => many_segments,
        "two-threads" => two_threads,
        "interleaved" => interleaved,
        "secret" => secret,
        _ => return None,
    })
}

/// An argument after the scenario's name, by index.
fn number(index: usize) -> Result<usize> {
    let word =
        env::args().nth(2 + index).with_context(|| format!("argument {index} is missing"))?;
    word.parse().with_context(|| format!("argument {word}"))
}

fn put(ledger: &mut Ledger, fd: RawFd, bytes: &[u8]) -> Result<()> {
    ledger.transfer(fd, bytes.len(), |done, _| sys::write(fd, &bytes[done..]))
}

/// Writes lines of non-ASCII text to stdout, and some to stderr.
fn text(ledger: &mut Ledger) -> Result<()> {
    for number in 0..2000 {
        put(ledger, 1, format!("{number}: grüße aus dem 漢字 land\n").as_bytes())?;
        if number % 7 == 0 {
            put(ledger, 2, format!("warning {number}\n").as_bytes())?;
        }
    }
    Ok(())
}

/// Writes every byte value, in writes of every length up to 700.
fn every_byte(ledger: &mut Ledger) -> Result<()> {
    for size in 1..=700_usize {
        let bytes: Vec<u8> = (0..size).map(|index| (index * 7 + size) as u8).collect();
        put(ledger, 1, &bytes)?;
    }
    Ok(())
}

/// Splits multi-byte characters between two writes, at every possible position.
fn cut_characters(ledger: &mut Ledger) -> Result<()> {
    for character in "ä→漢🎉é".chars() {
        let mut space = [0; 4];
        let bytes = character.encode_utf8(&mut space).as_bytes();
        for cut in 1..bytes.len() {
            let (first, last) = bytes.split_at(cut);
            put(ledger, 1, first)?;
            put(ledger, 2, last)?;
            put(ledger, 1, last)?;
            put(ledger, 2, first)?;
        }
    }
    Ok(())
}

/// Writes single bytes. Argument: their number.
fn single_bytes(ledger: &mut Ledger) -> Result<()> {
    content::fresh(number(0)?).chunks(1).try_for_each(|byte| put(ledger, 1, byte))
}

/// Makes one write. Argument: its size.
fn one_write(ledger: &mut Ledger) -> Result<()> {
    let bytes = content::fresh(number(0)?);
    let written = ledger.note(1, bytes.len(), sys::write(1, bytes));
    ensure!(written == Ok(bytes.len()), "{} bytes in one write: {written:?}", bytes.len());
    Ok(())
}

/// Writes 64 KiB per call at a constant rate. Arguments: number of bytes, bytes per second.
fn paced(ledger: &mut Ledger) -> Result<()> {
    let (bytes, rate) = (content::fresh(number(0)?), number(1)?);
    let start = Instant::now();
    let mut due = 0;
    for piece in bytes.chunks(64 << 10) {
        put(ledger, 1, piece)?;
        due += piece.len();
        let ahead =
            Duration::from_secs_f64(due as f64 / rate as f64).saturating_sub(start.elapsed());
        thread::sleep(ahead);
    }
    Ok(())
}

/// Makes one `writev` with the maximum number of segments. Their lengths vary; some are empty.
fn many_segments(ledger: &mut Ledger) -> Result<()> {
    const SEGMENTS: usize = 1024;
    let lengths: Vec<usize> = (0..SEGMENTS).map(|index| index * 31 % 97).collect();
    ensure!(lengths.contains(&0), "no segment is empty");
    let table: Vec<_> = lengths
        .iter()
        .map(|length| {
            let bytes = content::fresh(*length);
            libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() }
        })
        .collect();
    let size = lengths.iter().sum();
    // SAFETY: the table and its segments outlive the call, which only reads them.
    let returned = unsafe { libc::syscall(libc::SYS_writev, 1, table.as_ptr(), table.len()) };
    let written = ledger.note(1, size, sys::outcome(returned));
    ensure!(written == Ok(size), "{size} bytes in {SEGMENTS} segments: {written:?}");
    Ok(())
}

/// Two threads write lines at the same time. Argument: factor of the line length, up to 40, so that no
/// line exceeds `PIPE_BUF`.
fn two_threads(ledger: &mut Ledger) -> Result<()> {
    const LINES: usize = 5000;
    let times = number(0)?;
    let start = Arc::new(Barrier::new(2));
    let threads = ["left", "right"].map(|name| -> Result<_> {
        let (start, mut own) = (Arc::clone(&start), ledger.fresh()?);
        Ok(thread::spawn(move || -> Result<Ledger> {
            start.wait();
            for line in 0..LINES {
                let padding = ".".repeat(line * 13 % 97 * times);
                put(&mut own, 1, format!("{name} {line} {padding}\n").as_bytes())?;
            }
            Ok(own)
        }))
    });
    for thread in threads {
        ledger.absorb(thread?.join().map_err(|_| anyhow!("a thread panicked"))??);
    }
    Ok(())
}

/// Writes numbered lines to stdout and stderr in an aperiodic order.
fn interleaved(ledger: &mut Ledger) -> Result<()> {
    for (number, byte) in content::bytes(0, 0, 3000).into_iter().enumerate() {
        let fd = RawFd::from(byte % 2) + 1;
        put(ledger, fd, format!("line {number}\n").as_bytes())?;
    }
    Ok(())
}

/// Writes a secret in one write, and split between two writes.
fn secret(ledger: &mut Ledger) -> Result<()> {
    for part in ["before\n", "token=hunter", "2-4711 and more\n", "after\n"] {
        put(ledger, 1, part.as_bytes())?;
    }
    put(ledger, 2, b"token=hunter2-4711 on stderr\n")
}

/// Waits at the gate before each round, writes, and publishes its counts. Arguments: number of rounds,
/// bytes per round.
pub(super) fn flood(ledger: &mut Ledger) -> Result<()> {
    const SIZES: [usize; 8] = [1, 333, 4096, 5000, 16_384, 16_385, 65_536, 100_003];
    let (rounds, size) = (number(0)?, number(1)?);
    let mut sizes = SIZES.into_iter().cycle();
    for round in 0..rounds {
        gate::wait()?;
        let mut rest = &content::bytes(1, (round * size) as u64, size)[..];
        while !rest.is_empty() {
            let (part, others) = rest.split_at(rest.len().min(sizes.next().unwrap_or(1)));
            put(ledger, 1, part)?;
            rest = others;
        }
        ledger.publish()?;
    }
    Ok(())
}

/// Copies a part of this program's file between two words. Keeps the file open until the gate opens
/// again. Argument: number of bytes.
pub(super) fn copied_program(ledger: &mut Ledger) -> Result<()> {
    gate::wait()?;
    put(ledger, 1, b"before")?;
    let program = std::fs::File::open(env::current_exe()?)?;
    let program = sys::move_to_high_fd(program.into())?;
    ledger.transfer(1, number(0)?, |_, rest| {
        let (from, position) = (program.as_raw_fd(), std::ptr::null_mut::<libc::loff_t>());
        // SAFETY: the offset is null, so the call uses the position of the file.
        sys::outcome(unsafe { libc::syscall(libc::SYS_sendfile, 1, from, position, rest) })
    })?;
    put(ledger, 1, b"after")?;
    gate::wait()
}
