//! Checks decoded records against the offsets of the shared layouts. Uses nothing that decoding uses.

use std::mem::offset_of;

use tracer_common::{
    capture as captured,
    event::{self as layout, Header},
    id::ProcessId,
    ledger::LedgerKey,
    object::{FdState, ObjectId, QueueState},
};
use tracer_core::{
    capture::chunk::{Chunk, Content},
    event::{Event, EventKind, Exit, Image},
};

/// A record, and the position of the next struct in it.
struct At<'a> {
    record: &'a [u8],
    base: usize,
}

impl<'a> At<'a> {
    /// The payload of a record.
    fn payload(record: &'a [u8]) -> Self {
        Self { record, base: size_of::<Header>() }
    }

    fn inside(&self, offset: usize) -> Self {
        Self { record: self.record, base: self.base + offset }
    }

    fn bytes<const N: usize>(&self, offset: usize) -> [u8; N] {
        let start = self.base + offset;
        self.record[start..start + N].try_into().expect("a slice of this length")
    }

    fn u32(&self, offset: usize) -> u32 {
        u32::from_ne_bytes(self.bytes(offset))
    }

    fn i32(&self, offset: usize) -> i32 {
        i32::from_ne_bytes(self.bytes(offset))
    }

    fn u64(&self, offset: usize) -> u64 {
        u64::from_ne_bytes(self.bytes(offset))
    }

    fn process(&self, offset: usize) -> ProcessId {
        let at = self.inside(offset);
        ProcessId {
            start_ns: at.u64(offset_of!(ProcessId, start_ns)),
            tgid: at.u32(offset_of!(ProcessId, tgid)),
            sandbox: at.u32(offset_of!(ProcessId, sandbox)),
        }
    }

    fn object(&self, offset: usize) -> ObjectId {
        let at = self.inside(offset);
        ObjectId {
            ino: at.u64(offset_of!(ObjectId, ino)),
            dev: at.u32(offset_of!(ObjectId, dev)),
            discriminator: at.u32(offset_of!(ObjectId, discriminator)),
        }
    }

    fn state(&self, offset: usize) -> FdState {
        let at = self.inside(offset);
        FdState {
            object: at.object(offset_of!(FdState, object)),
            mode: at.u32(offset_of!(FdState, mode)),
            flags: at.u32(offset_of!(FdState, flags)),
        }
    }

    fn stdio(&self, offset: usize) -> [FdState; 3] {
        [0, 1, 2].map(|fd| self.state(offset + fd * size_of::<FdState>()))
    }

    fn queue(&self, offset: usize) -> QueueState {
        let at = self.inside(offset);
        QueueState {
            unread: at.u64(offset_of!(QueueState, unread)),
            slots: at.u32(offset_of!(QueueState, slots)),
            readers: at.u32(offset_of!(QueueState, readers)),
            writers: at.u32(offset_of!(QueueState, writers)),
            valid: at.u32(offset_of!(QueueState, valid)),
        }
    }

    fn key(&self, offset: usize) -> LedgerKey {
        let at = self.inside(offset);
        LedgerKey {
            process: at.process(offset_of!(LedgerKey, process)),
            object: at.object(offset_of!(LedgerKey, object)),
            fd: at.i32(offset_of!(LedgerKey, fd)),
            direction: at.u32(offset_of!(LedgerKey, direction)),
        }
    }
}

/// The text after a payload, as long as the header says.
fn text<T>(record: &[u8]) -> &[u8] {
    let at = At { record, base: 0 };
    let start = size_of::<Header>() + size_of::<T>();
    &record[start..start + at.u32(offset_of!(Header, text_len)) as usize]
}

/// Checks that an event has the values of its record.
pub(crate) fn check_event(record: &[u8], event: &Event) {
    let head = At { record, base: 0 };
    assert_eq!(event.time_ns, head.u64(offset_of!(Header, time_ns)));
    let tag = head.u32(offset_of!(Header, kind));
    let at = At::payload(record);
    match &event.kind {
        EventKind::Fork { parent, child, ns_pid, comm } => {
            assert_eq!(tag, layout::kind::FORK);
            assert_eq!(*parent, at.process(offset_of!(layout::Fork, parent)));
            assert_eq!(*child, at.process(offset_of!(layout::Fork, child)));
            assert_eq!(*ns_pid, at.u32(offset_of!(layout::Fork, ns_pid)));
            check_name(comm, at.bytes(offset_of!(layout::Fork, comm)));
        }
        EventKind::Image(image) => check_image(record, tag, image),
        EventKind::Exit(exit) => check_exit(&at, exit),
        EventKind::Object { object, .. } => check_object(&at, object),
        EventKind::FirstIo { first, comm } => {
            assert_eq!(first.key, at.key(offset_of!(layout::FirstIo, key)));
            assert_eq!(first.result as u64, at.u64(offset_of!(layout::FirstIo, result)));
            assert_eq!(first.op, at.u32(offset_of!(layout::FirstIo, op)));
            assert_eq!(first.role, at.u32(offset_of!(layout::FirstIo, role)));
            check_name(comm, at.bytes(offset_of!(layout::FirstIo, comm)));
        }
        EventKind::Fact { fact, text: said } => {
            assert_eq!(fact.process, at.process(offset_of!(layout::Fact, process)));
            assert_eq!(fact.fact, at.u32(offset_of!(layout::Fact, fact)));
            assert_eq!(fact.fd, at.i32(offset_of!(layout::Fact, fd)));
            assert_eq!(fact.errno, at.u32(offset_of!(layout::Fact, errno)));
            assert_eq!(fact.detail, at.u32(offset_of!(layout::Fact, detail)));
            assert_eq!(fact.state, at.state(offset_of!(layout::Fact, state)));
            assert_eq!(said, text::<layout::Fact>(record));
        }
        EventKind::Holder { holder, comm, .. } => {
            assert_eq!(holder.process, at.process(offset_of!(layout::Holder, process)));
            assert_eq!(holder.state, at.state(offset_of!(layout::Holder, state)));
            assert_eq!(holder.fd, at.i32(offset_of!(layout::Holder, fd)));
            assert_eq!(holder.role, at.u32(offset_of!(layout::Holder, role)));
            assert_eq!(holder.queue, at.queue(offset_of!(layout::Holder, queue)));
            assert_eq!(holder.incoming, at.queue(offset_of!(layout::Holder, incoming)));
            assert_eq!(holder.size, at.u64(offset_of!(layout::Holder, size)));
            assert_eq!(holder.peer_ino, at.u64(offset_of!(layout::Holder, peer_ino)));
            check_name(comm, at.bytes(offset_of!(layout::Holder, comm)));
        }
        other => panic!("no record says {other:?}"),
    }
}

fn check_image(record: &[u8], tag: u32, image: &Image) {
    let at = At::payload(record);
    assert_eq!(image.executed, tag == layout::kind::EXEC);
    assert_eq!(image.process, at.process(offset_of!(layout::Image, process)));
    assert_eq!(image.parent, at.process(offset_of!(layout::Image, parent)));
    assert_eq!(image.ns_pid, at.u32(offset_of!(layout::Image, ns_pid)));
    assert_eq!(image.role, at.u32(offset_of!(layout::Image, role)));
    assert_eq!(image.stdio, at.stdio(offset_of!(layout::Image, stdio)));
    check_name(&image.comm, at.bytes(offset_of!(layout::Image, comm)));
    let said = text::<layout::Image>(record);
    let length = at.u32(offset_of!(layout::Image, argv_len));
    assert!(image.argv_cut || length as usize <= said.len());
    assert_eq!(image.argv_bytes, if image.argv_cut { length.into() } else { 0 });
    if let Ok(said) = str::from_utf8(said) {
        let (kept, all) = (image.argv.join("\0"), said.strip_suffix('\0').unwrap_or(said));
        assert!(if image.argv_cut { all.starts_with(&kept) } else { all == kept });
    }
    assert!(image.argv.iter().all(|argument| !argument.contains('\0')));
}

fn check_exit(at: &At<'_>, exit: &Exit) {
    assert_eq!(exit.process, at.process(offset_of!(layout::Exit, process)));
    assert_eq!(exit.status, at.u32(offset_of!(layout::Exit, status)));
    assert_eq!(exit.stdio, at.stdio(offset_of!(layout::Exit, stdio)));
    for fd in 0..3 {
        let place = fd * size_of::<QueueState>();
        assert_eq!(exit.queues[fd], at.queue(offset_of!(layout::Exit, queues) + place));
        assert_eq!(exit.incoming[fd], at.queue(offset_of!(layout::Exit, incoming) + place));
        assert_eq!(exit.sizes[fd], at.u64(offset_of!(layout::Exit, sizes) + fd * 8));
        assert_eq!(exit.removed[fd], at.u32(offset_of!(layout::Exit, removed) + fd * 4));
    }
    assert_eq!(exit.other_failed, at.u32(offset_of!(layout::Exit, other_failed)));
    assert_eq!(exit.other_errno, at.u32(offset_of!(layout::Exit, other_errno)));
    let interrupted = at.u32(offset_of!(layout::Exit, interrupted));
    assert_eq!(exit.interrupted.map_or(0, |fd| (fd as u32).wrapping_add(1)), interrupted);
    assert_eq!(exit.other_bytes, at.u64(offset_of!(layout::Exit, other_bytes)));
    assert_eq!(exit.other_calls, at.u64(offset_of!(layout::Exit, other_calls)));
    check_name(&exit.comm, at.bytes(offset_of!(layout::Exit, comm)));
}

fn check_object(at: &At<'_>, object: &layout::Object) {
    use tracer_common::object::{SocketState, TtyState};

    assert_eq!(object.id, at.object(offset_of!(layout::Object, id)));
    assert_eq!(object.process, at.process(offset_of!(layout::Object, process)));
    assert_eq!(object.fd, at.i32(offset_of!(layout::Object, fd)));
    for (value, offset) in [
        (object.mode, offset_of!(layout::Object, mode)),
        (object.rdev, offset_of!(layout::Object, rdev)),
        (object.flags, offset_of!(layout::Object, flags)),
        (object.nlink, offset_of!(layout::Object, nlink)),
        (object.text_kind, offset_of!(layout::Object, text_kind)),
        (object.hop, offset_of!(layout::Object, hop)),
    ] {
        assert_eq!(value, at.u32(offset));
    }
    for (value, offset) in [
        (object.size, offset_of!(layout::Object, size)),
        (object.in_flight, offset_of!(layout::Object, in_flight)),
        (object.magic, offset_of!(layout::Object, magic)),
        (object.taken, offset_of!(layout::Object, taken)),
    ] {
        assert_eq!(value, at.u64(offset));
    }
    assert_eq!(object.queue, at.queue(offset_of!(layout::Object, queue)));
    assert_eq!(object.incoming, at.queue(offset_of!(layout::Object, incoming)));
    assert_eq!(object.joined, at.object(offset_of!(layout::Object, joined)));
    let tty = at.inside(offset_of!(layout::Object, tty));
    assert_eq!(object.tty.index, tty.u32(offset_of!(TtyState, index)));
    assert_eq!(object.tty.major, tty.u32(offset_of!(TtyState, major)));
    assert_eq!(object.tty.valid, tty.u32(offset_of!(TtyState, valid)));
    let socket = at.inside(offset_of!(layout::Object, socket));
    assert_eq!(object.socket.peer_ino, socket.u64(offset_of!(SocketState, peer_ino)));
    assert_eq!(object.socket.local, socket.bytes(offset_of!(SocketState, local)));
    assert_eq!(object.socket.remote, socket.bytes(offset_of!(SocketState, remote)));
    for (value, offset) in [
        (object.socket.family, offset_of!(SocketState, family)),
        (object.socket.kind, offset_of!(SocketState, kind)),
        (object.socket.local_port, offset_of!(SocketState, local_port)),
        (object.socket.remote_port, offset_of!(SocketState, remote_port)),
    ] {
        assert_eq!(value, u16::from_ne_bytes(socket.bytes(offset)));
    }
}

/// Checks that a chunk has the values of its record.
pub(crate) fn check_chunk(record: &[u8], chunk: &Chunk) {
    let at = At::payload(record);
    assert_eq!(chunk.key, at.key(offset_of!(captured::Chunk, key)));
    assert_eq!(chunk.lost, at.u64(offset_of!(captured::Chunk, lost)));
    assert_eq!(chunk.tid, at.u32(offset_of!(captured::Chunk, tid)));
    check_name(&chunk.comm, at.bytes(offset_of!(captured::Chunk, comm)));
    let gap = at.u32(offset_of!(captured::Chunk, gap));
    match &chunk.content {
        Content::Bytes(bytes) => {
            assert_eq!(gap, captured::gap::NONE);
            assert_eq!(bytes, text::<captured::Chunk>(record));
        }
        Content::Missing { length, source, .. } => {
            assert_ne!(gap, captured::gap::NONE);
            assert_eq!(*length, at.u64(offset_of!(captured::Chunk, length)));
            if let Some(source) = source {
                assert_eq!(source.fd, at.i32(offset_of!(captured::Chunk, source_fd)));
                assert_eq!(source.object, at.object(offset_of!(captured::Chunk, source)));
            }
        }
    }
}

/// A kernel name ends at its first NUL.
fn check_name(name: &str, raw: [u8; 16]) {
    let end = raw.iter().position(|byte| *byte == 0).unwrap_or(raw.len());
    assert!(!name.contains('\0'), "{name:?}");
    if let Ok(text) = str::from_utf8(&raw[..end]) {
        assert_eq!(name, text);
    }
}
