//! Programs whose every byte is known: what a capture of them must hold.

use std::{
    env,
    os::fd::{AsRawFd, RawFd},
    sync::{Arc, Barrier},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, ensure};
use tracer_tests::{content, gate};

use crate::{fresh, ledger::Ledger, sys};

/// The story of this name.
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

/// What the command line says behind the name.
fn number(index: usize) -> Result<usize> {
    let word =
        env::args().nth(2 + index).with_context(|| format!("argument {index} is missing"))?;
    word.parse().with_context(|| format!("argument {word}"))
}

fn put(ledger: &mut Ledger, fd: RawFd, bytes: &[u8]) -> Result<()> {
    ledger.transfer(fd, bytes.len(), |done, _| sys::write(fd, &bytes[done..]))
}

/// Lines on stdout, some on stderr.
fn text(ledger: &mut Ledger) -> Result<()> {
    for number in 0..2000 {
        put(ledger, 1, format!("{number}: grüße aus dem 漢字 land\n").as_bytes())?;
        if number % 7 == 0 {
            put(ledger, 2, format!("warning {number}\n").as_bytes())?;
        }
    }
    Ok(())
}

/// Every value of a byte, in writes of every length up to 700.
fn every_byte(ledger: &mut Ledger) -> Result<()> {
    for size in 1..=700_usize {
        let bytes: Vec<u8> = (0..size).map(|place| (place * 7 + size) as u8).collect();
        put(ledger, 1, &bytes)?;
    }
    Ok(())
}

/// Each character cut in two wherever that is possible, by the end of a write.
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

/// As many writes of one byte as the command line says.
fn single_bytes(ledger: &mut Ledger) -> Result<()> {
    fresh::bytes(number(0)?).chunks(1).try_for_each(|byte| put(ledger, 1, byte))
}

/// One call with as many bytes as the command line says.
fn one_write(ledger: &mut Ledger) -> Result<()> {
    let bytes = fresh::bytes(number(0)?);
    let written = ledger.note(1, bytes.len(), sys::write(1, bytes));
    ensure!(written == Ok(bytes.len()), "{} bytes in one write: {written:?}", bytes.len());
    Ok(())
}

/// So many bytes, so many of them in a second, 64 KiB in a call.
fn paced(ledger: &mut Ledger) -> Result<()> {
    let (bytes, rate) = (fresh::bytes(number(0)?), number(1)?);
    let began = Instant::now();
    let mut due = 0;
    for piece in bytes.chunks(64 << 10) {
        put(ledger, 1, piece)?;
        due += piece.len();
        let ahead =
            Duration::from_secs_f64(due as f64 / rate as f64).saturating_sub(began.elapsed());
        thread::sleep(ahead);
    }
    Ok(())
}

/// One call with as many segments as there may be, none like the other, some empty.
fn many_segments(ledger: &mut Ledger) -> Result<()> {
    const SEGMENTS: usize = 1024;
    let lengths: Vec<usize> = (0..SEGMENTS).map(|index| index * 31 % 97).collect();
    ensure!(lengths.contains(&0), "no segment is empty");
    let table: Vec<_> = lengths
        .iter()
        .map(|length| {
            let bytes = fresh::bytes(*length);
            libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() }
        })
        .collect();
    let size = lengths.iter().sum();
    // SAFETY: the table and its segments outlive the call, which only reads them.
    let taken = unsafe { libc::syscall(libc::SYS_writev, 1, table.as_ptr(), table.len()) };
    let written = ledger.note(1, size, sys::outcome(taken));
    ensure!(written == Ok(size), "{size} bytes in {SEGMENTS} segments: {written:?}");
    Ok(())
}

/// Two threads write lines at the same moment; no line is longer than a pipe takes at once. The command
/// line says how many times longer they are than short ones, up to 40.
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

/// Numbered lines to stdout and stderr in an order that has no period.
fn interleaved(ledger: &mut Ledger) -> Result<()> {
    for (number, byte) in content::bytes(0, 0, 3000).into_iter().enumerate() {
        let fd = RawFd::from(byte % 2) + 1;
        put(ledger, fd, format!("line {number}\n").as_bytes())?;
    }
    Ok(())
}

/// A secret in one write, and the same cut in two.
fn secret(ledger: &mut Ledger) -> Result<()> {
    for part in ["before\n", "token=hunter", "2-4711 and more\n", "after\n"] {
        put(ledger, 1, part.as_bytes())?;
    }
    put(ledger, 2, b"token=hunter2-4711 on stderr\n")
}

/// As many rounds as the command line says, each with so many bytes, and each behind the gate. Its
/// books are published after each.
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

/// A part of this very program between two words; its file stays open until the gate opens again.
pub(super) fn copied_program(ledger: &mut Ledger) -> Result<()> {
    gate::wait()?;
    put(ledger, 1, b"before")?;
    let program = std::fs::File::open(env::current_exe()?)?;
    let program = sys::out_of_the_way(program.into())?;
    ledger.transfer(1, number(0)?, |_, rest| {
        let (from, position) = (program.as_raw_fd(), std::ptr::null_mut::<libc::loff_t>());
        // SAFETY: the position is null: the file's own is used and moved.
        sys::outcome(unsafe { libc::syscall(libc::SYS_sendfile, 1, from, position, rest) })
    })?;
    put(ledger, 1, b"after")?;
    gate::wait()
}
