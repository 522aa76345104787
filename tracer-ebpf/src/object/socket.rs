//! The state of a socket: family, addresses and, for a unix socket, the connected peer.

use aya_ebpf::helpers::generated::bpf_probe_read_kernel;
use tracer_common::{
    event::{self, TEXT},
    offsets::MISSING,
};

use super::queue;
use crate::{
    events::emit::Record,
    kernel::{
        constants::{
            INODE_INO, SOCK_DADDR, SOCK_DPORT, SOCK_FAMILY, SOCK_FLAGS, SOCK_NUM, SOCK_PROTOCOL,
            SOCK_RCV_SADDR, SOCK_RECEIVE_QUEUE, SOCK_SOCKET, SOCK_STATE, SOCK_V6_DADDR,
            SOCK_V6_RCV_SADDR, SOCKET_ALLOC_INODE, SOCKET_ALLOC_SOCKET, SOCKET_FILE, SOCKET_SK,
            SOCKET_TYPE, TCP_ARRIVED, TCP_COPIED, UNIX_ADDR, UNIX_ADDRESS_LEN, UNIX_ADDRESS_NAME,
            UNIX_CONSUMED, UNIX_PEER,
        },
        kread::{Kptr, bounded},
    },
};

const AF_UNIX: u16 = 1;
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;
const SOCK_STREAM: u16 = 1;
const SOCK_DGRAM: u16 = 2;
/// Bit 0 of `skc_flags`, `SOCK_DEAD` (`enum sock_flags`, include/net/sock.h): the last open file is closed.
const DEAD: u64 = 1;
/// Bit 1, `SOCK_DONE`: the other end of a TCP connection has sent its last byte.
const DONE: u64 = 2;
/// `IPPROTO_TCP` (include/uapi/linux/in.h).
const IPPROTO_TCP: u16 = 6;
/// States without received bytes (include/net/tcp_states.h).
const TCP_SYN_SENT: u8 = 2;
const TCP_SYN_RECV: u8 = 3;
const TCP_LISTEN: u8 = 10;
/// `sizeof(struct sockaddr_un)` (`unix(7)`).
const SOCKADDR_UN: u32 = 110;
/// `sun_path` follows the two bytes of `sun_family`.
const SUN_PATH: u32 = 2;

/// Whether the last open file of the socket of this inode is closed (`container_of(inode, struct socket_alloc,
/// vfs_inode)`, include/net/sock.h).
#[inline(always)]
pub(super) fn is_released(inode: Kptr) -> bool {
    of_inode(inode).follow(&SOCKET_SK).is_none()
}

/// The `struct socket` of an inode.
#[inline(always)]
pub(super) fn of_inode(inode: Kptr) -> Kptr {
    let alloc = Kptr(inode.0.wrapping_sub(SOCKET_ALLOC_INODE.load()));
    alloc.at(&SOCKET_ALLOC_SOCKET)
}

/// Bytes in the receive queue of a unix socket or a TCP connection.
#[inline(always)]
pub(super) fn incoming(socket: Kptr) -> Option<u64> {
    let sk = socket.follow(&SOCKET_SK)?;
    match sk.member::<u16, _>(&SOCK_FAMILY)? {
        AF_UNIX => unread(sk, socket.member::<u16, _>(&SOCKET_TYPE)?),
        AF_INET | AF_INET6 if sk.member::<u16, _>(&SOCK_PROTOCOL)? == IPPROTO_TCP => arrived(sk),
        _ => None,
    }
}

/// Bytes that have arrived on a TCP connection and are unread (`tcp_inq`, include/net/tcp.h).
#[inline(always)]
fn arrived(sk: Kptr) -> Option<u64> {
    if TCP_ARRIVED.load() == MISSING || TCP_COPIED.load() == MISSING {
        return None;
    }
    if matches!(sk.member::<u8, _>(&SOCK_STATE)?, TCP_SYN_SENT | TCP_SYN_RECV | TCP_LISTEN) {
        return None;
    }
    let unread = sk.member::<u32, _>(&TCP_ARRIVED)?.wrapping_sub(sk.member(&TCP_COPIED)?);
    // The end of the stream takes a number of its own.
    let ends = unread > 0 && sk.member::<u64, _>(&SOCK_FLAGS)? & DONE != 0;
    Some(u64::from(unread - u32::from(ends)))
}

/// Bytes that were written to a unix socket and are in the receive queue of its peer, which need not be accepted yet.
#[inline(always)]
pub(super) fn written(socket: Kptr) -> Option<u64> {
    let peer = unix_peer(socket)?;
    unread(peer, socket.member::<u16, _>(&SOCKET_TYPE)?)
}

/// Bytes in the receive queue of a `struct sock` of `AF_UNIX`; `None` if it is released, which purges the queue.
#[inline(always)]
fn unread(sk: Kptr, kind: u16) -> Option<u64> {
    let is_stream = kind == SOCK_STREAM;
    if is_stream && UNIX_CONSUMED.load() == MISSING {
        return None;
    }
    let bytes = queue::skbs(sk.at(&SOCK_RECEIVE_QUEUE), is_stream)?;
    // Checked last: `unix_release_sock` (net/unix/af_unix.c) sets the flag before it purges the queue.
    (sk.member::<u64, _>(&SOCK_FLAGS)? & DEAD == 0).then_some(bytes)
}

/// Fills in the socket members of an object's record.
#[inline(always)]
pub(super) fn describe(socket: Kptr, record: &mut Record<event::Object>) {
    let Some(sk) = socket.follow(&SOCKET_SK) else { return };
    let out = &mut record.payload;
    let family = sk.member::<u16, _>(&SOCK_FAMILY).unwrap_or(0);
    out.socket.family = family;
    out.socket.kind = socket.member::<u16, _>(&SOCKET_TYPE).unwrap_or(0);
    match family {
        AF_UNIX => {
            let length = unix(sk, out, &mut record.text);
            record.set_text_len(length);
        }
        AF_INET | AF_INET6 => inet(sk, family, out),
        _ => {}
    }
}

#[inline(always)]
fn inet(sk: Kptr, family: u16, out: &mut event::Object) {
    out.socket.local_port = sk.member::<u16, _>(&SOCK_NUM).unwrap_or(0);
    out.socket.remote_port = u16::from_be(sk.member::<u16, _>(&SOCK_DPORT).unwrap_or(0));
    if family == AF_INET {
        let local: [u8; 4] = sk.member(&SOCK_RCV_SADDR).unwrap_or_default();
        let remote: [u8; 4] = sk.member(&SOCK_DADDR).unwrap_or_default();
        out.socket.local[..4].copy_from_slice(&local);
        out.socket.remote[..4].copy_from_slice(&remote);
    } else if SOCK_V6_DADDR.load() != MISSING {
        out.socket.local = sk.member(&SOCK_V6_RCV_SADDR).unwrap_or_default();
        out.socket.remote = sk.member(&SOCK_V6_DADDR).unwrap_or_default();
    }
}

#[inline(always)]
fn unix(sk: Kptr, out: &mut event::Object, text: &mut [u8; TEXT]) -> u32 {
    let peer = sk.follow(&UNIX_PEER);
    if let Some(peer) = peer {
        out.socket.peer_ino = inode_of_sock(peer).unwrap_or(0);
    }
    // A connected client usually has no address; its peer, the server side, has one.
    let length = address(sk, text);
    let length = match peer {
        Some(peer) if length == 0 => address(peer, text),
        _ => length,
    };
    if length > 0 {
        out.text_kind = event::text::UNIX;
    }
    length
}

/// The `struct sock` of a unix socket; `None` for other families.
#[inline(always)]
fn unix_sock(socket: Kptr) -> Option<Kptr> {
    let sk = socket.follow(&SOCKET_SK)?;
    (sk.member::<u16, _>(&SOCK_FAMILY)? == AF_UNIX).then_some(sk)
}

/// The connected unix socket. Of datagram sockets, only those that are connected to each other: then no other socket
/// may send to them (`unix_may_send`, net/unix/af_unix.c).
#[inline(always)]
fn unix_peer(socket: Kptr) -> Option<Kptr> {
    let sk = unix_sock(socket)?;
    let peer = sk.follow(&UNIX_PEER)?;
    if socket.member::<u16, _>(&SOCKET_TYPE)? == SOCK_DGRAM && peer.follow(&UNIX_PEER)?.0 != sk.0 {
        return None;
    }
    Some(peer)
}

/// The open file of the connected unix socket.
#[inline(always)]
pub(super) fn peer_file(socket: Kptr) -> Option<Kptr> {
    unix_peer(socket)?.follow(&SOCK_SOCKET)?.follow(&SOCKET_FILE)
}

/// The inode number of the connected unix socket; 0 if there is none.
#[inline(always)]
pub(crate) fn peer_inode(socket: Kptr) -> u64 {
    unix_peer(socket).and_then(inode_of_sock).unwrap_or(0)
}

/// `SOCK_INODE(sk->sk_socket)->i_ino` (`include/net/sock.h`).
#[inline(always)]
fn inode_of_sock(sk: Kptr) -> Option<u64> {
    let socket = sk.follow(&SOCK_SOCKET)?;
    let alloc = Kptr(socket.0.wrapping_sub(SOCKET_ALLOC_SOCKET.load()));
    alloc.at(&SOCKET_ALLOC_INODE).member(&INODE_INO)
}

#[inline(always)]
fn address(sk: Kptr, text: &mut [u8; TEXT]) -> u32 {
    let Some(address) = sk.follow(&UNIX_ADDR) else { return 0 };
    let length = address.member::<u32, _>(&UNIX_ADDRESS_LEN).unwrap_or(0);
    if length <= SUN_PATH || length > SOCKADDR_UN {
        return 0;
    }
    let length = bounded((length - SUN_PATH) & 127);
    let source = address.at(&UNIX_ADDRESS_NAME).0 + u64::from(SUN_PATH);
    // SAFETY: at most 127 bytes are written to a buffer of TEXT bytes; the helper checks the source.
    let failed =
        unsafe { bpf_probe_read_kernel(text.as_mut_ptr().cast(), length, source as *const _) };
    if failed == 0 { length } else { 0 }
}
