//! Transfers of which the result may not be what moved: numbers in the caller's memory that something has changed, and
//! calls that fail after the transfer.

use core::ptr::NonNull;

use tracer_common::{limits, loss::Reason, op};

use super::{
    Call,
    io_side::{IoSide, sk_of},
    table,
};
use crate::{
    kernel::{constants::SOCK_SEND_BUFFER, fdlookup, task, usermem},
    ledger::Transfer,
};

/// `errno.h`.
pub(crate) const EFAULT: i64 = 14;

/// Doubts a transfer whose result is not certain, and bounds it.
#[inline(always)]
pub(super) fn judge(call: &Call, side: &mut IoSide) {
    if call.class == table::SOCKETCALL || matches!(side.transfer.op, op::SENDMMSG | op::RECVMMSG) {
        distrust_memory(call, side);
    }
    if may_have_moved(call, &side.transfer) {
        side.transfer.doubt = Reason::MaybeMoved as u32;
    }
}

/// Whether a call may have moved bytes that its result does not count: the kernel stores an offset, an address or the
/// length of a message in the caller's memory after the transfer, and fails if it cannot.
#[inline(always)]
fn may_have_moved(call: &Call, transfer: &Transfer) -> bool {
    // Of a list of messages, the one after the last that is counted may have been sent.
    let is_cut = call.result > 0 && call.result < most_messages(call);
    match transfer.op {
        op::SENDMMSG if call.class != table::SOCKETCALL && is_cut => true,
        op::SENDFILE
        | op::SPLICE
        | op::COPY_FILE_RANGE
        | op::SENDMMSG
        | op::RECVFROM
        | op::RECVMSG
        | op::RECVMMSG
        | op::MQ_RECEIVE => call.result == -EFAULT,
        _ => false,
    }
}

/// How many messages the current `sendmmsg(2)` was given. The kernel takes [`limits::IOV`] at most.
#[inline(always)]
fn most_messages(call: &Call) -> i64 {
    let given = call.args.int::<2>();
    i64::from(if given > limits::IOV { limits::IOV } else { given })
}

/// The fd or the number of bytes of this call was read from the caller's memory after the call. If another thread or
/// process can change it, or if it is more than the messages have room for, the call is in doubt. Each message that was
/// sent has at most the size of the send buffer.
#[inline(always)]
fn distrust_memory(call: &Call, side: &mut IoSide) {
    if side.transfer.result <= 0 || side.transfer.doubt != 0 {
        return;
    }
    let is_bounded = call.class != table::SOCKETCALL && bound_by_room(call, side);
    if !is_bounded && !task::shares_memory(call.entry.map(NonNull::as_ptr)) {
        return;
    }
    side.transfer.doubt = Reason::MemoryChanged as u32;
    if side.transfer.op == op::SENDMMSG {
        let sk = fdlookup::file_of(call.files, side.fd).and_then(sk_of);
        let buffer = sk.and_then(|sk| sk.member::<u32, _>(&SOCK_SEND_BUFFER)).unwrap_or(0);
        let most = (call.result as u64).wrapping_mul(u64::from(buffer));
        if side.transfer.result as u64 > most {
            side.transfer.result = most as i64;
        }
    }
}

/// Bounds the bytes of a list of messages by the lengths of their buffers. Returns whether it had to: what was received
/// can land on the list, and so can what another process stores in shared memory.
#[inline(always)]
fn bound_by_room(call: &Call, side: &mut IoSide) -> bool {
    let (list, count) = (call.args.get::<1>(), call.result as u64);
    let room = usermem::mmsg_delivered(list, count, call.args.compat);
    let exceeds = room.is_some_and(|room| side.transfer.result as u64 > room);
    if exceeds {
        side.transfer.result = room.unwrap_or(0) as i64;
    }
    exceeds
}
