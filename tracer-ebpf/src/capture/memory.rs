//! Where the bytes of a syscall lie.

use tracer_common::{capture::gap, object::ObjectId, op};

use super::{Capturing, at, is_pending, place, send_write};
use crate::{
    fdlookup, object,
    syscalls::{SyscallContext, table},
    task::{self, FilesTable},
    usermem,
};

/// Where the bytes of a write lie.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Memory {
    /// One of [`kind`].
    pub(super) kind: u32,
    /// Bytes of a pointer: 4 for a 32-bit caller.
    pub(super) width: u32,
    /// In the writer's memory: of the bytes, the segment list, the message or the message list.
    pub(super) address: u64,
    /// Segments or messages in the list.
    pub(super) count: u64,
}

/// Forms of [`Memory`].
pub(super) mod kind {
    /// `write(2)`: the bytes themselves.
    pub(in super::super) const BYTES: u32 = 0;
    /// `writev(2)`: a list of `struct iovec`.
    pub(in super::super) const SEGMENTS: u32 = 1;
    /// `sendmsg(2)`: a `struct msghdr`.
    pub(in super::super) const MESSAGE: u32 = 2;
    /// `sendmmsg(2)`: a list of `struct mmsghdr`.
    pub(in super::super) const MESSAGES: u32 = 3;
    /// Nowhere: the kernel moved them from another fd.
    pub(in super::super) const COPIED: u32 = 4;
    /// io_uring: segments that were noted when the request was submitted.
    pub(in super::super) const STORED: u32 = 5;
    /// Not known: io_uring that completes somewhere else, arguments that cannot be read.
    pub(in super::super) const UNKNOWN: u32 = 6;
}

impl Memory {
    /// Why the bytes lie nowhere, where they do not.
    #[inline(always)]
    pub(super) fn lacks(&self) -> Option<u32> {
        match self.kind {
            kind::COPIED => Some(gap::COPIED),
            kind::UNKNOWN => Some(gap::URING),
            _ => None,
        }
    }
}

/// Captures the write that was noted, if there is one.
#[inline(always)]
pub(crate) fn of_call() {
    if is_pending(place::SYS_EXIT) {
        capture_call();
    }
}

/// Exported, so that the verifier checks it once and not for each way that leads to it.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn capture_call() -> u64 {
    if let Some(this) = at(place::SYS_EXIT)
        && let Some(call) = SyscallContext::noted()
    {
        locate(this, call);
        send_write(this, place::SYS_EXIT);
    }
    0
}

#[inline(always)]
fn locate(this: &mut Capturing, call: &SyscallContext) {
    let [first, second, third, ..] = call.args;
    let result = call.result as u64;
    let op = this.head.chunk.op;
    this.head.chunk.source_fd = -1;
    this.head.chunk.source = ObjectId::NONE;
    this.memory = Memory { kind: kind::BYTES, width: 8, address: second, count: third };
    if call.compat == 1 {
        this.memory.width = 4;
    }
    if call.class == table::SOCKETCALL {
        return of_socketcall(first, result, &mut this.memory);
    }
    match op {
        op::WRITEV | op::PWRITEV | op::PWRITEV2 | op::VMSPLICE => this.memory.kind = kind::SEGMENTS,
        op::SENDMSG => this.memory.kind = kind::MESSAGE,
        op::SENDMMSG => (this.memory.kind, this.memory.count) = (kind::MESSAGES, result),
        op::SENDFILE => copied(this, second as u32 as i32),
        op::SPLICE | op::TEE | op::COPY_FILE_RANGE => copied(this, first as u32 as i32),
        _ => {}
    }
}

/// The bytes came from another fd.
#[inline(always)]
fn copied(this: &mut Capturing, fd: i32) {
    this.memory.kind = kind::COPIED;
    this.head.chunk.source_fd = fd;
    let files = FilesTable::Probed(task::current_files());
    if let Some(id) = fdlookup::file_of(files, fd).and_then(object::id_of) {
        this.head.chunk.source = id;
    }
}

/// `socketcall(2)`: a pointer to the arguments, 32 bits each.
#[inline(always)]
fn of_socketcall(number: u64, result: u64, memory: &mut Memory) {
    memory.kind = kind::UNKNOWN;
    let Some([_, second]) = usermem::read::<[u32; 2]>(memory.address) else { return };
    memory.address = u64::from(second);
    memory.count = result;
    // Numbers: include/uapi/linux/net.h.
    memory.kind = match number {
        16 => kind::MESSAGE,
        20 => kind::MESSAGES,
        _ => kind::BYTES,
    };
}
