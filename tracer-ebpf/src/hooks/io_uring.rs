//! Transfers of io_uring requests, independent of the task that completes them.
//!
//! `io_uring_submit_req(struct io_kiocb *req)` (Linux 6.4; `io_uring_submit_sqe(req, bool)` from
//! 5.19) provides process and fd; `io_uring_complete(ctx, req, struct io_uring_cqe *)` (6.15; the
//! result itself before) provides the result. Older kernels do not pass the request. On those the loader
//! does not attach these hooks, and use of io_uring is counted as not covered.
//!
//! Two kinds of completions have no request ([`groups`]): all but the last of a request that completes several times
//! (multishot, bundles), and those that found no room in the ring (`io_uring_cqe_overflow`).

mod completion;
mod groups;
mod request;

use aya_ebpf::{
    macros::{btf_tracepoint, tracepoint},
    programs::{BtfTracePointContext, TracePointContext},
};
use tracer_common::{ledger::WRITE, trace_event};

use crate::{
    capture::{self, stored},
    kernel::{constants::URING_CQE_ARG, kread::Kptr},
    ledger,
    maps::{URING, URING_MEMORY},
};

/// Offsets in `struct io_uring_cqe` (uapi, fixed).
const CQE_USER_DATA: u64 = 0;
const CQE_RES: u64 = 8;
const CQE_FLAGS: u64 = 12;

/// A request was submitted, Linux 6.4 and later.
#[btf_tracepoint(function = "io_uring_submit_req")]
pub(crate) fn uring_submit(ctx: BtfTracePointContext) -> i32 {
    let _ = submitted(Kptr(super::integer::<0>(&ctx)));
    0
}

/// Entry point with preemption disabled: the event `io_uring:io_uring_submit_req`.
#[tracepoint]
pub(crate) fn uring_submit_event(ctx: TracePointContext) -> u32 {
    let request: u64 = super::event_field::<_, { trace_event::URING_REQUEST }>(&ctx);
    let _ = submitted(Kptr(request));
    0
}

/// A request completed.
#[btf_tracepoint(function = "io_uring_complete")]
pub(crate) fn uring_complete(ctx: BtfTracePointContext) -> i32 {
    let (ring, request) = (super::integer::<0>(&ctx), super::integer::<1>(&ctx));
    if URING_CQE_ARG.load() == 1 {
        let cqe = super::integer::<2>(&ctx);
        let result = Kptr(cqe + CQE_RES).read::<i32>().unwrap_or(0);
        if request != 0 {
            completion::finish(request, result);
        } else {
            let user_data = Kptr(cqe + CQE_USER_DATA).read::<u64>().unwrap_or(0);
            let flags = Kptr(cqe + CQE_FLAGS).read::<u32>().unwrap_or(0);
            groups::finish(ring, user_data, result, flags);
        }
    } else {
        let result = ctx.arg::<u64>(3) as i32;
        if request != 0 {
            completion::finish(request, result);
        } else {
            groups::finish(ring, ctx.arg::<u64>(2), result, ctx.arg::<u64>(4) as u32);
        }
    }
    0
}

/// Entry point with preemption disabled: the event `io_uring:io_uring_complete`.
#[tracepoint]
pub(crate) fn uring_complete_event(ctx: TracePointContext) -> u32 {
    let ring: u64 = super::event_field::<_, { trace_event::URING_RING }>(&ctx);
    let request: u64 = super::event_field::<_, { trace_event::URING_REQUEST }>(&ctx);
    let user_data: u64 = super::event_field::<_, { trace_event::URING_USER_DATA }>(&ctx);
    let result: i32 = super::event_field::<_, { trace_event::URING_RESULT }>(&ctx);
    let flags: u32 = super::event_field::<_, { trace_event::URING_CQE_FLAGS }>(&ctx);
    if request != 0 {
        completion::finish(request, result);
    } else {
        groups::finish(ring, user_data, result, flags);
    }
    0
}

/// A completion found no room in the ring: `(ctx, user_data, res, cflags, ocqe)`.
#[btf_tracepoint(function = "io_uring_cqe_overflow")]
pub(crate) fn uring_overflow(ctx: BtfTracePointContext) -> i32 {
    let (ring, user_data) = (super::integer::<0>(&ctx), ctx.arg::<u64>(1));
    groups::overflow(ring, user_data, ctx.arg::<u64>(2) as i32, ctx.arg::<u64>(3) as u32);
    0
}

/// Entry point with preemption disabled: the event `io_uring:io_uring_cqe_overflow`.
#[tracepoint]
pub(crate) fn uring_overflow_event(ctx: TracePointContext) -> u32 {
    let ring: u64 = super::event_field::<_, { trace_event::URING_RING }>(&ctx);
    let user_data: u64 = super::event_field::<_, { trace_event::URING_OVERFLOW_USER_DATA }>(&ctx);
    let result: i32 = super::event_field::<_, { trace_event::URING_OVERFLOW_RESULT }>(&ctx);
    let flags: u32 = super::event_field::<_, { trace_event::URING_OVERFLOW_CQE_FLAGS }>(&ctx);
    groups::overflow(ring, user_data, result, flags);
    0
}

#[inline(always)]
fn submitted(request: Kptr) -> Option<()> {
    if ledger::has_ring() {
        // The previous request at this address has ended, even if it posted no completion.
        forget(request.0);
    }
    let opcode = request::opcode(request)?;
    let direction = request::direction(opcode)?;
    if request::store(request.0, u64::from(opcode), u64::from(direction)) == 0 {
        return None;
    }
    ledger::note_ring();
    groups::join(request.0);
    if capture::is_on() && direction == WRITE {
        stored::store_buffers(request, opcode);
    }
    Some(())
}

/// Removes the entries of a request. Returns whether its submission was recorded.
#[inline(always)]
pub(crate) fn forget(request: u64) -> bool {
    if capture::is_on() {
        let _ = URING_MEMORY.remove(request);
    }
    groups::leave(request);
    URING.remove(request).is_ok()
}
