//! Bytes that wait in pipes, sockets and terminals are looked at, not assumed: before the first counted write, and when
//! an end is closed.

use anyhow::{Context as _, Result, bail, ensure};
use tracer_tests::{expect, report::Object, scenario::trace, workload::Workload};

/// Bytes of the workload: written before the queue is watched, written after that, read, and left.
const BEFORE: u64 = 1_000;
const WRITTEN: u64 = 500;
const READ: u64 = 700;
const LEFT: u64 = BEFORE + WRITTEN - READ;

/// Kinds whose bytes keep their number between writer and reader.
const EXACT: [&str; 5] = ["pipe", "packet-pipe", "stream", "seqpacket", "datagram"];
/// Kinds that keep the bytes of a write apart.
const PACKETS: [&str; 3] = ["packet-pipe", "seqpacket", "datagram"];

/// The stdout of the workload's child.
fn queue(kind: &str, order: &str) -> Result<Object> {
    let traced = trace(&Workload::new("partly-read").arg(kind).arg(order))?;
    expect::exact(&traced).context("the rows")?;
    let mut rows = traced.workload.truth.rows();
    let name = rows.find_map(|(pid, row)| Some(row).filter(|_| pid != traced.workload.pid));
    let name = name.and_then(|row| row.object.clone()).context("the child wrote nothing")?;
    traced.report.object(&name).cloned().context(name)
}

/// Checks everything but the look at the end.
fn counts(object: &Object) -> Result<()> {
    let counts = (object.unread_before, object.written, object.read);
    ensure!(counts == (Some(BEFORE), Some(WRITTEN), Some(READ)), "{object:#?}");
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn bytes_that_were_left_are_seen_when_the_writer_ends() -> Result<()> {
    for kind in EXACT {
        let object = queue(kind, "writer-first").context(kind)?;
        counts(&object).context(kind)?;
        let end = (object.inside, object.unread, object.balanced);
        ensure!(end == (Some(LEFT), Some(LEFT), Some(true)), "{kind}: {object:#?}");
    }
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn bytes_that_were_left_are_seen_when_the_reader_ends_with_its_read_end_open() -> Result<()> {
    for kind in EXACT {
        let object = queue(kind, "by-exit").context(kind)?;
        counts(&object).context(kind)?;
        let end = (object.inside, object.unread, object.balanced);
        ensure!(end == (Some(LEFT), Some(LEFT), Some(true)), "{kind}: {object:#?}");
        let close = object.closes.last();
        ensure!(
            !kind.ends_with("pipe") || close.is_some_and(|close| close.by == "exit"),
            "{object:#?}"
        );
    }
    Ok(())
}

/// The last close of a socket discards what is in it: no look can follow the last read. That of a pipe does not, while
/// a writer has it open.
#[test]
#[ignore = "needs root"]
fn after_the_last_close_only_a_look_proves_a_balance() -> Result<()> {
    for kind in EXACT {
        let object = queue(kind, "reader-first").context(kind)?;
        counts(&object).context(kind)?;
        let balanced = object.inside.map(|inside| inside == LEFT);
        ensure!((object.unread, object.balanced) == (Some(LEFT), balanced), "{kind}: {object:#?}");
        ensure!(!kind.ends_with("pipe") || balanced == Some(true), "{object:#?}");
    }
    Ok(())
}

/// A read that is shorter than a packet discards its rest: no process got it, and it is not in the queue.
#[test]
#[ignore = "needs root"]
fn what_short_reads_of_packets_discard_is_counted() -> Result<()> {
    let (read, discarded) = (7 * 60, 7 * 40);
    for kind in PACKETS {
        let object = queue(kind, "short-reads").context(kind)?;
        let counts = (object.unread_before, object.written, object.read);
        ensure!(counts == (Some(BEFORE), Some(WRITTEN), Some(read)), "{kind}: {object:#?}");
        let end = (object.inside, object.unread, object.balanced);
        ensure!(end == (Some(LEFT), Some(LEFT + discarded), None), "{kind}: {object:#?}");
    }
    Ok(())
}

/// A terminal may change the number of bytes: a look gives what is unread, and no balance.
#[test]
#[ignore = "needs root"]
fn a_terminal_is_looked_into_and_never_balanced() -> Result<()> {
    for order in ["writer-first", "by-exit"] {
        let object = queue("pty", order).context(order)?;
        counts(&object).context(order)?;
        let end = (object.inside, object.unread, object.balanced);
        ensure!(end == (Some(LEFT), Some(LEFT), None), "{order}: {object:#?}");
    }
    Ok(())
}

/// The other end of a connection is not known, so nothing is claimed about what it has read.
#[test]
#[ignore = "needs root"]
fn of_a_tcp_connection_nothing_is_claimed() -> Result<()> {
    let object = queue("tcp", "writer-first")?;
    let claims = (object.unread_before, object.unread, object.inside, object.balanced);
    ensure!(claims == (None, None, None, None), "{object:#?}");
    Ok(())
}

/// What had arrived and was not read is known at the end that reads.
#[test]
#[ignore = "needs root"]
fn bytes_that_arrived_on_a_tcp_connection_and_were_not_read_are_seen() -> Result<()> {
    let report = trace(&Workload::new("partly-read-connection"))?.report;
    let waiting: Vec<_> =
        report.objects.iter().filter(|object| object.incoming.is_some()).collect();
    let [object] = waiting.as_slice() else { bail!("{:#?}", report.objects) };
    ensure!(object.kind == "socket" && object.incoming == Some(LEFT), "{object:#?}");
    ensure!((object.unread, object.balanced) == (None, None), "{object:#?}");
    Ok(())
}
