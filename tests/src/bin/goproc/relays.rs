//! Behaviours with a third process in them: one that takes bytes, one that gets bytes.

use std::{
    io::{Write, stdout},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use rustix::{
    io::Errno,
    net::{AddressFamily, SendFlags, SocketFlags, SocketType, send, socketpair},
};
use tracer_tests::goproc::Thief;

use crate::{child::Child, reading};

/// Lets `dd` take `bytes` out of stdout in one `read`, then reads the rest.
pub(crate) fn share_with_thief(child: &mut Child, bytes: usize) -> Result<()> {
    let mut thief = Command::new("dd")
        .args([&format!("bs={bytes}"), "count=1", "status=none"])
        .stdin(child.stdout.share()?)
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start dd")?;
    let pid = thief.id();
    // What it took is shown to whoever reads the manager's own stdout: nothing is thrown away.
    let mut output = thief.stdout.take().context("stdout was piped")?;
    let taken = std::io::copy(&mut output, &mut stdout())?;
    let status = thief.wait()?;
    ensure!(status.success(), "dd ended with {status}");
    child.thief = Some(Thief { pid, bytes: taken });
    reading::to_the_end(child)
}

/// Reads everything, and writes the first `bytes` to its own stdout.
pub(crate) fn pass_on_a_part(child: &mut Child, bytes: usize) -> Result<()> {
    reading::to_the_end(child)?;
    let all = child.stdout.take();
    let part = all.get(..bytes).context("the command wrote less than shall be passed on")?;
    let mut own = stdout().lock();
    own.write_all(part)?;
    own.flush()?;
    child.stdout.handed_out(part.len());
    Ok(())
}

/// Reads everything, sends it in packets to a socket that nobody reads yet, and goes on after
/// each refusal. Then an attached client, `cat`, reads what the socket took.
pub(crate) fn pass_on_as_packets(child: &mut Child) -> Result<()> {
    const PACKET: usize = 8192;
    reading::to_the_end(child)?;
    let all = child.stdout.take();
    let (end, far) =
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    for packet in all.chunks(PACKET) {
        match send(&end, packet, SendFlags::DONTWAIT) {
            Ok(taken) => child.stdout.handed_out(taken),
            Err(Errno::AGAIN) => {}
            Err(error) => return Err(error).context("cannot send to the attached client"),
        }
    }
    drop(end);
    let status = Command::new("cat").stdin(far).status().context("cannot start cat")?;
    ensure!(status.success(), "cat ended with {status}");
    Ok(())
}
