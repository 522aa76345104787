//! The least program that a sandbox can send its messages to: it reads and discards them.

use std::{
    os::fd::OwnedFd,
    path::Path,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, ensure};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, accept, bind,
    listen, recv, send, socket_with,
};
use tracer_core::session::LossReason;

use crate::cost::comparison::count::Difference;

/// Room for the largest message that tracer takes.
const LARGEST: usize = 256 << 10;
/// The type of the messages about `write` (gVisor's `MESSAGE_SYSCALL_WRITE`).
const WRITE: u16 = 34;
/// How long the rest may take when the sandbox has ended.
const REST: Duration = Duration::from_secs(10);

/// What a sandbox has told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    /// Messages about `write`.
    pub(super) writes: u64,
    /// Messages that the sandbox has dropped.
    pub(super) dropped: u32,
}

impl Told {
    /// A message: `u16` size of the header, `u16` type, `u32` dropped messages, little-endian.
    fn add(&mut self, message: &[u8]) {
        let [_, _, low, high, dropped @ ..] = message else { return };
        self.writes += u64::from(u16::from_le_bytes([*low, *high]) == WRITE);
        if let Some(dropped) = dropped.first_chunk() {
            self.dropped = self.dropped.max(u32::from_le_bytes(*dropped));
        }
    }

    /// The difference, with what the sandbox says that it has dropped.
    pub(super) fn with_losses(self, mut difference: Difference) -> Difference {
        if self.dropped > 0 {
            difference.losses.insert(LossReason::GuestDropped, self.dropped.into());
        }
        difference
    }
}

/// A thread that reads the messages of one sandbox.
pub(super) struct Sink(JoinHandle<Result<Told>>);

impl Sink {
    /// Listens at a path.
    pub(super) fn listen(path: &Path) -> Result<Self> {
        let kind = SocketType::SEQPACKET;
        let socket = socket_with(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)?;
        bind(&socket, &SocketAddrUnix::new(path)?).context("cannot bind a socket")?;
        listen(&socket, 1)?;
        Ok(Self(thread::spawn(move || serve(&socket))))
    }

    /// Waits until the sandbox has closed the connection.
    pub(super) fn finish(self) -> Result<Told> {
        let began = Instant::now();
        while !self.0.is_finished() {
            ensure!(began.elapsed() < REST, "the sandbox did not close its trace session");
            thread::sleep(Duration::from_millis(2));
        }
        self.0.join().map_err(|_| anyhow!("the sink has panicked"))?
    }
}

fn serve(socket: &OwnedFd) -> Result<Told> {
    let connection = accept(socket)?;
    let mut buffer = vec![0; LARGEST];
    let (greeting, _) = recv(&connection, &mut buffer[..], RecvFlags::empty())?;
    // A handshake with the same version.
    send(&connection, &buffer[..greeting], SendFlags::empty())?;
    let mut told = Told::default();
    loop {
        let (size, _) = recv(&connection, &mut buffer[..], RecvFlags::empty())?;
        if size == 0 {
            return Ok(told);
        }
        told.add(&buffer[..size]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_about_writes_and_the_latest_number_of_dropped_ones_are_taken() {
        let mut told = Told::default();
        told.add(&[8, 0, 34, 0, 0, 0, 0, 0, 1, 2, 3]);
        told.add(&[8, 0, 34, 0, 5, 1, 0, 0]);
        told.add(&[8, 0, 9, 0, 4, 0, 0, 0]);
        told.add(&[8, 0]);
        assert_eq!(told, Told { writes: 2, dropped: 261 });
        let losses = told.with_losses(Difference::default()).losses;
        assert_eq!(losses.into_values().collect::<Vec<_>>(), [261]);
    }
}
