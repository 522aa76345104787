//! A process that forks helpers later, when tracer has threads: a recorder runs for months, and each process that holds its
//! own memory or files may cost it a helper.

use std::{
    io,
    mem::MaybeUninit,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::net::UnixStream,
    },
};

use rustix::{
    cmsg_space,
    io::{Errno, IoSlice, IoSliceMut},
    net::{
        RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
        SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
    },
    process::{WaitOptions, wait},
    thread::set_name,
};

use super::{Helper, Kept, NAME, serve_and_end};
use crate::sys::privileges::Rights;

/// How many of the helpers may be blocked or asked at a time.
const MOST: u32 = 16;

/// Work of a helper with its end of the connection.
pub(super) type Serve = fn(UnixStream) -> io::Result<()>;

/// The process, seen from tracer. It ends with tracer.
#[derive(Debug)]
pub struct HelperSource(Helper);

impl HelperSource {
    /// Forks it. To be called while this process has one thread.
    ///
    /// # Errors
    /// An error if the system allows no further process.
    pub fn fork(serve: Serve) -> io::Result<Self> {
        Helper::fork(Kept::Nothing, |orders| provide(&orders, serve)).map(Self)
    }

    /// A new helper. If too many are blocked, its connection is closed at once.
    ///
    /// # Errors
    /// An error if it takes no order now.
    pub fn helper(&self) -> io::Result<Helper> {
        let (socket, end) = UnixStream::pair()?;
        let fds = [end.as_fd()];
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(&fds));
        let order = [IoSlice::new(&[0])];
        sendmsg(&self.0.socket, &order, &mut control, SendFlags::DONTWAIT)?;
        Ok(Helper { socket, pid: None })
    }
}

/// Forks a helper for each connection that comes.
fn provide(orders: &UnixStream, serve: Serve) -> io::Result<()> {
    Rights::Look.take()?;
    set_name(c"tracer-source")?;
    let mut living = 0;
    while let Some(end) = next(orders)? {
        while living > 0 && matches!(wait(WaitOptions::NOHANG), Ok(Some(_))) {
            living -= 1;
        }
        if living == MOST {
            continue;
        }
        // SAFETY: this process has one thread, so no lock is held by a thread that the child does not have.
        match unsafe { libc::fork() } {
            0 => serve_and_end(|| {
                set_name(NAME)?;
                serve(end.into())
            }),
            -1 => {}
            _ => living += 1,
        }
    }
    Ok(())
}

/// The next connection; `None` when tracer has ended.
fn next(orders: &UnixStream) -> io::Result<Option<OwnedFd>> {
    loop {
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut order = [0];
        let flags = RecvFlags::CMSG_CLOEXEC;
        match recvmsg(orders, &mut [IoSliceMut::new(&mut order)], &mut control, flags) {
            Ok(message) if message.bytes == 0 => return Ok(None),
            Err(Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
            Ok(_) => {}
        }
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(mut fds) = message {
                return Ok(fds.next());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, Write as _};

    use super::*;

    /// Answers each line with the same line, and blocks at "block".
    #[expect(clippy::needless_pass_by_value, reason = "it is served with its connection")]
    fn echo(socket: UnixStream) -> io::Result<()> {
        let mut line = String::new();
        let mut lines = BufReader::new(socket.try_clone()?);
        while lines.read_line(&mut line)? > 0 && line != "block\n" {
            (&socket).write_all(line.as_bytes())?;
            line.clear();
        }
        // Until the other end is closed.
        lines.read_line(&mut line).map(drop)
    }

    fn answer(helper: &Helper, line: &str) -> String {
        let mut answer = String::new();
        // The connection of a refused helper is closed.
        let _ = (&helper.socket).write_all(line.as_bytes());
        BufReader::new(&helper.socket).read_line(&mut answer).unwrap_or_default();
        answer
    }

    #[test]
    fn helpers_come_until_too_many_are_blocked() {
        let source = HelperSource::fork(echo).unwrap();
        let first = source.helper().unwrap();
        assert_eq!(answer(&first, "one\n"), "one\n");
        let others: Vec<Helper> = (1..MOST).map(|_| source.helper().unwrap()).collect();
        for helper in &others {
            assert_eq!(answer(helper, "two\n"), "two\n");
            (&helper.socket).write_all(b"block\n").unwrap();
        }
        assert_eq!(answer(&source.helper().unwrap(), "three\n"), "");
        drop(source);
    }
}
