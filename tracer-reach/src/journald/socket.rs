//! The socket of journald.

use std::{
    fs::File,
    io::{self, IoSlice, Write as _},
    mem::MaybeUninit,
    os::{fd::AsFd as _, unix::net::UnixDatagram},
    path::Path,
};

use rustix::{
    fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create},
    io::Errno,
    net::{
        SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, sendmsg_addr, sendto,
    },
};

/// A socket that never waits.
#[derive(Debug)]
pub(super) struct Socket {
    socket: UnixDatagram,
    /// The address and no connection: journald may be restarted with a new socket.
    address: SocketAddrUnix,
}

impl Socket {
    /// Opens a socket for what listens at this path.
    ///
    /// # Errors
    /// An error if nothing listens there.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        UnixDatagram::unbound()?.connect(path)?;
        Ok(Self { socket, address: SocketAddrUnix::new(path)? })
    }

    /// Sends an entry. One that is too large for a datagram goes in a file in memory, as the protocol wants it
    /// (<https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>).
    ///
    /// # Errors
    /// An error if journald does not take it now.
    pub(super) fn send(&self, entry: &[u8]) -> io::Result<()> {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        match sendto(&self.socket, entry, flags, &self.address) {
            Err(Errno::MSGSIZE) => self.send_as_file(entry, flags),
            sent => sent.map(drop).map_err(io::Error::from),
        }
    }

    fn send_as_file(&self, entry: &[u8], flags: SendFlags) -> io::Result<()> {
        let create = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let mut file = File::from(memfd_create("tracer", create)?);
        file.write_all(entry)?;
        // journald takes a file of which nothing can change any more.
        fcntl_add_seals(
            &file,
            SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL,
        )?;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let fds = [file.as_fd()];
        if !control.push(SendAncillaryMessage::ScmRights(&fds)) {
            return Err(Errno::NOBUFS.into());
        }
        let nothing: [IoSlice<'_>; 0] = [];
        sendmsg_addr(&self.socket, &self.address, &nothing, &mut control, flags)?;
        Ok(())
    }

    /// For tests: how many bytes may wait to be taken.
    #[cfg(test)]
    pub(super) fn set_buffer(&self, bytes: usize) {
        rustix::net::sockopt::set_socket_send_buffer_size(&self.socket, bytes).unwrap();
    }
}
