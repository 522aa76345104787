//! A connection to a socket that somebody else serves.

use std::{
    io,
    os::unix::net::UnixStream,
    path::Path,
    time::{Duration, Instant},
};

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

/// The shortest time that the kernel takes as a limit.
const LEAST: Duration = Duration::from_millis(1);

/// Connects, and waits until a deadline at the latest: `connect(2)` waits for a server whose backlog is full, for as long as
/// `SO_SNDTIMEO` says (`unix_stream_connect`, `net/unix/af_unix.c`). Later writes have the same limit.
///
/// # Errors
/// Those of `connect(2)`; [`io::ErrorKind::WouldBlock`] if the server takes no connection in time.
pub(crate) fn connect_by(path: &Path, deadline: Instant) -> io::Result<UnixStream> {
    let address = SocketAddrUnix::new(path)?;
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    let stream = UnixStream::from(socket);
    let left = deadline.saturating_duration_since(Instant::now());
    stream.set_write_timeout(Some(left.max(LEAST)))?;
    connect(&stream, &address)?;
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use rustix::net::{bind, listen};

    use super::*;

    #[test]
    fn a_server_with_a_full_backlog_is_not_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("engine.sock");
        let server =
            socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None);
        let server = server.unwrap();
        bind(&server, &SocketAddrUnix::new(&path).unwrap()).unwrap();
        listen(&server, 0).unwrap();
        let soon = || Instant::now() + Duration::from_millis(100);
        // It takes one connection that it has not accepted.
        let mut taken = Vec::new();
        let error = loop {
            match connect_by(&path, soon()) {
                Ok(stream) => taken.push(stream),
                Err(error) => break error,
            }
            assert!(taken.len() < 10, "the backlog is not full");
        };
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        let refused = connect_by(&directory.path().join("none"), soon()).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::NotFound);
    }
}
