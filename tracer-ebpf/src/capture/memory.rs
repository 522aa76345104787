//! Locates the data of a syscall.

use tracer_common::{capture::gap, object::ObjectId, op};

use super::{Capturing, at, is_pending, send_write, slot};
use crate::{
    kernel::{
        fdlookup,
        task::{self, FilesTable},
        usermem,
    },
    object,
    syscalls::{SyscallContext, table},
};

/// Where the data of a write is.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Memory {
    /// One of [`kind`].
    pub(super) kind: u32,
    /// Size of a pointer in bytes: 4 for a 32-bit caller.
    pub(super) width: u32,
    /// Address of the data, the segment list, the message or the message list, in the writer's memory. With
    /// [`kind::STORED`], address of the io_uring request.
    pub(super) address: u64,
    /// Number of segments or messages in the list.
    pub(super) count: u64,
}

/// Kinds of [`Memory`].
pub(super) mod kind {
    /// `write(2)`: the data itself.
    pub(in super::super) const BYTES: u32 = 0;
    /// `writev(2)`: a list of `struct iovec`.
    pub(in super::super) const SEGMENTS: u32 = 1;
    /// `sendmsg(2)`: a `struct msghdr`.
    pub(in super::super) const MESSAGE: u32 = 2;
    /// `sendmmsg(2)`: a list of `struct mmsghdr`.
    pub(in super::super) const MESSAGES: u32 = 3;
    /// Not in user memory: the kernel copied the data from another fd.
    pub(in super::super) const COPIED: u32 = 4;
    /// io_uring: the segments were stored when the request was submitted.
    pub(in super::super) const STORED: u32 = 5;
    /// Unknown: an io_uring request completed in another process, or the arguments cannot be read.
    pub(in super::super) const UNKNOWN: u32 = 6;
}

impl Memory {
    /// The reason for a gap if the data is not in known memory.
    #[inline(always)]
    pub(super) fn gap_reason(&self) -> Option<u32> {
        match self.kind {
            kind::COPIED => Some(gap::COPIED),
            kind::UNKNOWN => Some(gap::URING),
            _ => None,
        }
    }
}

/// Captures the pending write of the current syscall, if there is one.
#[inline(always)]
pub(crate) fn capture_pending_call() {
    if is_pending(slot::SYS_EXIT) {
        capture_call();
    }
}

/// Exported, so that the verifier checks it once and not for every path that leads to it.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn capture_call() -> u64 {
    if let Some(this) = at(slot::SYS_EXIT)
        && let Some(call) = SyscallContext::current()
    {
        locate(this, call);
        send_write(this, slot::SYS_EXIT);
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
        return locate_socketcall(first, result, &mut this.memory);
    }
    match op {
        op::WRITEV | op::PWRITEV | op::PWRITEV2 | op::VMSPLICE => this.memory.kind = kind::SEGMENTS,
        op::SENDMSG => this.memory.kind = kind::MESSAGE,
        op::SENDMMSG => (this.memory.kind, this.memory.count) = (kind::MESSAGES, result),
        op::SENDFILE => set_copied(this, second as u32 as i32),
        op::SPLICE | op::TEE | op::COPY_FILE_RANGE => set_copied(this, first as u32 as i32),
        op::FICLONE => {
            if let Some(returned) = SyscallContext::current() {
                set_copied(this, returned.side.source);
            }
        }
        _ => {}
    }
}

/// Stores the source of a copy between two fds.
#[inline(always)]
fn set_copied(this: &mut Capturing, fd: i32) {
    this.memory.kind = kind::COPIED;
    this.head.chunk.source_fd = fd;
    let files = FilesTable::Probed(task::current_files());
    if let Some(id) = fdlookup::file_of(files, fd).and_then(object::id_of) {
        this.head.chunk.source = id;
    }
}

/// `socketcall(2)`: the second argument points to the arguments of the call, 32 bits each.
#[inline(always)]
fn locate_socketcall(number: u64, result: u64, memory: &mut Memory) {
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
