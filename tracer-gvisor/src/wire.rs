//! The messages of a sandbox: a header, then a protobuf message whose type the header names.
//!
//! Field numbers and message types are those of gVisor's `pkg/sentry/seccheck/points/*.proto`, the header is that of
//! `pkg/sentry/seccheck/sinks/remote/wire`. Texts are decoded as bytes, because a guest chooses them. Decoding is total:
//! any packet gives a [`Message`] or an [`Unreadable`].

use prost::Message as _;

/// The protocol version that tracer speaks; sandboxes since 2022 send it.
pub(crate) const VERSION: u32 = 1;
/// Bytes of the header: `u16` its own size, `u16` type, `u32` dropped messages, little-endian.
const HEADER: usize = 8;
/// Bytes of an argument, path or address that are kept.
const TEXT: usize = 4096;

/// A packet that is no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unreadable {
    /// It is shorter than its header.
    #[error("a message of {0} B is shorter than its header")]
    Short(usize),
    /// Its content does not have the form of its type.
    #[error("a message of type {0} is damaged")]
    Damaged(u16),
}

/// The first message in both directions.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct Handshake {
    #[prost(uint32, tag = "1")]
    pub(crate) version: u32,
}

/// What a point says about the guest's thread.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct Context {
    /// Real time in nanoseconds.
    #[prost(int64, tag = "1")]
    pub(crate) time_ns: i64,
    #[prost(int32, tag = "2")]
    pub(crate) tid: i32,
    #[prost(int32, tag = "4")]
    pub(crate) tgid: i32,
    /// Real time at which the thread group started, in nanoseconds.
    #[prost(int64, tag = "5")]
    pub(crate) start_ns: i64,
    #[prost(bytes = "vec", tag = "6")]
    pub(crate) container: Vec<u8>,
    /// Name of the process; only ends tell it.
    #[prost(bytes = "vec", tag = "9")]
    pub(crate) name: Vec<u8>,
}

/// The result of a call; absent when the call begins.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(crate) struct Returned {
    #[prost(int64, tag = "1")]
    pub(crate) result: i64,
    #[prost(int64, tag = "2")]
    pub(crate) errno: i64,
}

impl Returned {
    /// The result, or the positive errno.
    pub(crate) fn outcome(self) -> Result<u64, u32> {
        match (u32::try_from(self.errno), u64::try_from(self.result)) {
            (Ok(0), Ok(result)) => Ok(result),
            (Ok(errno), _) if errno != 0 => Err(errno),
            // A result below 0 without an error, or an errno that no kernel has.
            _ => Err(libc::EINVAL as u32),
        }
    }
}

/// Declares a message with the two members that all calls have.
macro_rules! call {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $kind:ty,)* }) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, prost::Message)]
        pub(crate) struct $name {
            #[prost(message, optional, tag = "1")]
            pub(crate) context: Option<Context>,
            #[prost(message, optional, tag = "2")]
            pub(crate) exit: Option<Returned>,
            $($(#[$field_doc])* pub(crate) $field: $kind,)*
        }
    };
}

call!(
    /// `read`, `write` and their kin.
    Transfer {
        #[prost(uint64, tag = "3")] sysno: u64,
        #[prost(int64, tag = "4")] fd: i64,
        #[prost(bytes = "vec", tag = "5")] path: Vec<u8>,
        #[prost(uint64, tag = "6")] count: u64,
    }
);
call!(
    /// `open`, `openat`, `creat`.
    Open {
        #[prost(bytes = "vec", tag = "6")] path: Vec<u8>,
        #[prost(uint32, tag = "7")] flags: u32,
    }
);
call!(
    /// `close`.
    Close {
        #[prost(int64, tag = "4")] fd: i64,
    }
);
call!(
    /// `connect`.
    Connect {
        #[prost(int64, tag = "4")] fd: i64,
        #[prost(bytes = "vec", tag = "6")] address: Vec<u8>,
    }
);
call!(
    /// `execve`, `execveat`.
    Execve {
        #[prost(bytes = "vec", tag = "6")] path: Vec<u8>,
    }
);
call!(
    /// `socket`.
    Socket {
        #[prost(int32, tag = "5")] kind: i32,
    }
);
call!(
    /// `socketpair`.
    SocketPair {
        #[prost(int32, tag = "5")] kind: i32,
        #[prost(int32, tag = "7")] one: i32,
        #[prost(int32, tag = "8")] other: i32,
    }
);
call!(
    /// `accept`, `accept4`.
    Accept {
        #[prost(int32, tag = "7")] flags: i32,
    }
);
call!(
    /// `pipe`, `pipe2`.
    Pipe {
        #[prost(uint32, tag = "4")] flags: u32,
        #[prost(int32, tag = "5")] reader: i32,
        #[prost(int32, tag = "6")] writer: i32,
    }
);
call!(
    /// `fcntl`.
    Fcntl {
        #[prost(int32, tag = "4")] fd: i32,
        #[prost(int32, tag = "6")] command: i32,
        #[prost(int64, tag = "7")] argument: i64,
    }
);
call!(
    /// `dup`, `dup2`, `dup3`.
    Dup {
        #[prost(int32, tag = "4")] old: i32,
        #[prost(int32, tag = "5")] new: i32,
        #[prost(bytes = "vec", tag = "6")] path: Vec<u8>,
        #[prost(uint32, tag = "7")] flags: u32,
    }
);
call!(
    /// A call of which gVisor gives number and arguments only.
    Raw {
        #[prost(uint64, tag = "4")] sysno: u64,
        #[prost(uint64, tag = "5")] arg1: u64,
        #[prost(uint64, tag = "6")] arg2: u64,
        #[prost(uint64, tag = "7")] arg3: u64,
        #[prost(uint64, tag = "8")] arg4: u64,
        #[prost(uint64, tag = "9")] arg5: u64,
        #[prost(uint64, tag = "10")] arg6: u64,
    }
);

/// A container's first process is about to run.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct Start {
    #[prost(message, optional, tag = "1")]
    pub(crate) context: Option<Context>,
    #[prost(bytes = "vec", repeated, tag = "4")]
    pub(crate) argv: Vec<Vec<u8>>,
}

/// A thread or process was created.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct Clone {
    #[prost(message, optional, tag = "1")]
    pub(crate) context: Option<Context>,
    #[prost(int32, tag = "3")]
    pub(crate) tid: i32,
    #[prost(int32, tag = "4")]
    pub(crate) tgid: i32,
    #[prost(int64, tag = "5")]
    pub(crate) start_ns: i64,
    /// As for `clone(2)`; 0 from releases that do not send them.
    #[prost(uint64, tag = "6")]
    pub(crate) flags: u64,
}

/// A process has a new image.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct Exec {
    #[prost(message, optional, tag = "1")]
    pub(crate) context: Option<Context>,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) path: Vec<u8>,
    #[prost(bytes = "vec", repeated, tag = "3")]
    pub(crate) argv: Vec<Vec<u8>>,
}

/// A thread ended, or a process became a zombie.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct Ended {
    #[prost(message, optional, tag = "1")]
    pub(crate) context: Option<Context>,
    /// As `waitpid` gives it.
    #[prost(int32, tag = "2")]
    pub(crate) status: i32,
}

/// A message of a sandbox.
#[derive(Debug)]
pub(crate) enum Message {
    Start(Start),
    Clone(Clone),
    Exec(Exec),
    /// The last thread of a process ended.
    ProcessEnded(Ended),
    ThreadEnded(Ended),
    Raw(Raw),
    Open(Open),
    Close(Close),
    Read(Transfer),
    Write(Transfer),
    Connect(Connect),
    Execve(Execve),
    Socket(Socket),
    SocketPair(SocketPair),
    Accept(Accept),
    Pipe(Pipe),
    Fcntl(Fcntl),
    Dup(Dup),
    /// A type that says nothing about output.
    Other,
}

/// A packet, decoded.
#[derive(Debug)]
pub(crate) struct Packet {
    /// Messages that the sandbox has dropped on this connection so far.
    pub(crate) dropped: u32,
    pub(crate) message: Message,
}

/// Decodes a packet.
pub(crate) fn decode(packet: &[u8]) -> Result<Packet, Unreadable> {
    let short = Unreadable::Short(packet.len());
    let header: &[u8; HEADER] = packet.first_chunk().ok_or(short)?;
    let [size_low, size_high, type_low, type_high, dropped @ ..] = *header;
    let size = usize::from(u16::from_le_bytes([size_low, size_high]));
    // A later version may have a longer header.
    let body = packet.get(size.max(HEADER)..).ok_or(short)?;
    let number = u16::from_le_bytes([type_low, type_high]);
    let message = message(number, body).map_err(|_| Unreadable::Damaged(number))?;
    Ok(Packet { dropped: u32::from_le_bytes(dropped), message })
}

/// Decodes a body by `MessageType` of `common.proto`.
fn message(number: u16, body: &[u8]) -> Result<Message, prost::DecodeError> {
    Ok(match number {
        1 => Message::Start(Start::decode(body)?),
        2 => Message::Clone(Clone::decode(body)?),
        3 => Message::Exec(Exec::decode(body)?),
        4 => Message::ProcessEnded(Ended::decode(body)?),
        5 => Message::ThreadEnded(Ended::decode(body)?),
        6 => Message::Raw(Raw::decode(body)?),
        7 => Message::Open(Open::decode(body)?),
        8 => Message::Close(Close::decode(body)?),
        9 => Message::Read(Transfer::decode(body)?),
        10 => Message::Connect(Connect::decode(body)?),
        11 => Message::Execve(Execve::decode(body)?),
        12 => Message::Socket(Socket::decode(body)?),
        17 => Message::Pipe(Pipe::decode(body)?),
        18 => Message::Fcntl(Fcntl::decode(body)?),
        19 => Message::Dup(Dup::decode(body)?),
        25 => Message::Accept(Accept::decode(body)?),
        33 => Message::SocketPair(SocketPair::decode(body)?),
        34 => Message::Write(Transfer::decode(body)?),
        _ => Message::Other,
    })
}

/// The container that a packet is about; `None` if it names none.
#[must_use]
pub fn container_of(packet: &[u8]) -> Option<String> {
    let context = match decode(packet).ok()?.message {
        Message::Start(start) => start.context,
        Message::Clone(clone) => clone.context,
        Message::Exec(exec) => exec.context,
        Message::ProcessEnded(ended) | Message::ThreadEnded(ended) => ended.context,
        Message::Raw(call) => call.context,
        Message::Open(call) => call.context,
        Message::Close(call) => call.context,
        Message::Read(call) | Message::Write(call) => call.context,
        Message::Connect(call) => call.context,
        Message::Execve(call) => call.context,
        Message::Socket(call) => call.context,
        Message::SocketPair(call) => call.context,
        Message::Accept(call) => call.context,
        Message::Pipe(call) => call.context,
        Message::Fcntl(call) => call.context,
        Message::Dup(call) => call.context,
        Message::Other => None,
    };
    let container = text(&context?.container);
    (!container.is_empty()).then_some(container)
}

/// A text of the guest, cut to [`TEXT`] bytes.
pub(crate) fn text(raw: &[u8]) -> String {
    String::from_utf8_lossy(raw.get(..TEXT).unwrap_or(raw)).into_owned()
}
