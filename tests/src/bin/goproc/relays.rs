//! Behaviours with a third process: a competing reader or a downstream reader.

use std::{
    io::{Write, stdout},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use rustix::{
    io::Errno,
    net::{AddressFamily, SendFlags, SocketFlags, SocketType, send, socketpair},
};
use tracer_tests::goproc::OtherReader;

use crate::{child::Child, reading};

/// Lets `dd` read `bytes` of stdout in one call, then reads the rest.
pub(crate) fn share_with_other_reader(child: &mut Child, bytes: usize) -> Result<()> {
    let mut other_reader = Command::new("dd")
        .args([&format!("bs={bytes}"), "count=1", "status=none"])
        .stdin(child.stdout.share()?)
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start dd")?;
    let pid = other_reader.id();
    // Forwarded to the manager's stdout, so that no byte is discarded.
    let mut output = other_reader.stdout.take().context("stdout was piped")?;
    let taken = std::io::copy(&mut output, &mut stdout())?;
    let status = other_reader.wait()?;
    ensure!(status.success(), "dd ended with {status}");
    child.other_reader = Some(OtherReader { pid, bytes: taken });
    reading::to_the_end(child)
}

/// Reads everything and writes the first `bytes` to its own stdout.
pub(crate) fn forward_part(child: &mut Child, bytes: usize) -> Result<()> {
    reading::to_the_end(child)?;
    let all = child.stdout.take();
    let part = all.get(..bytes).context("the command wrote fewer bytes than --bytes")?;
    let mut own = stdout().lock();
    own.write_all(part)?;
    own.flush()?;
    child.stdout.add_delivered(part.len());
    Ok(())
}

/// Reads everything and sends it in packets to a socket without a reader, ignoring `EAGAIN`. Then an
/// attached client, `cat`, reads what the socket accepted.
pub(crate) fn forward_as_packets(child: &mut Child) -> Result<()> {
    const PACKET: usize = 8192;
    reading::to_the_end(child)?;
    let all = child.stdout.take();
    let (end, peer) =
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    for packet in all.chunks(PACKET) {
        match send(&end, packet, SendFlags::DONTWAIT) {
            Ok(taken) => child.stdout.add_delivered(taken),
            Err(Errno::AGAIN) => {}
            Err(error) => return Err(error).context("cannot send to the attached client"),
        }
    }
    drop(end);
    let status = Command::new("cat").stdin(peer).status().context("cannot start cat")?;
    ensure!(status.success(), "cat ended with {status}");
    Ok(())
}
