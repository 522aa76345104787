//! Offsets of the trace event fields that programs read, in bytes from the start of the record. The fields
//! follow `struct trace_entry` (8 bytes, include/linux/trace_events.h) in the order of their definition, with C
//! alignment. The loader compares the offsets with the kernel's own types (`struct trace_event_raw_NAME`)
//! before it attaches.

/// `id` of `raw_syscalls:sys_exit` (include/trace/events/syscalls.h, Linux 7.2).
pub const SYS_EXIT_NUMBER: usize = 8;
/// `ret` of `raw_syscalls:sys_exit`.
pub const SYS_EXIT_RESULT: usize = 16;
/// `ctx` of `io_uring:io_uring_complete` and `io_uring:io_uring_cqe_overflow` (include/trace/events/io_uring.h,
/// Linux 7.2).
pub const URING_RING: usize = 8;
/// `req` of `io_uring:io_uring_submit_req` and `io_uring:io_uring_complete`.
pub const URING_REQUEST: usize = 16;
/// `user_data` of `io_uring:io_uring_complete`.
pub const URING_USER_DATA: usize = 24;
/// `res` of `io_uring:io_uring_complete`.
pub const URING_RESULT: usize = 32;
/// `cflags` of `io_uring:io_uring_complete`.
pub const URING_CQE_FLAGS: usize = 36;
/// `user_data` of `io_uring:io_uring_cqe_overflow`.
pub const URING_OVERFLOW_USER_DATA: usize = 16;
/// `res` of `io_uring:io_uring_cqe_overflow`.
pub const URING_OVERFLOW_RESULT: usize = 24;
/// `cflags` of `io_uring:io_uring_cqe_overflow`.
pub const URING_OVERFLOW_CQE_FLAGS: usize = 28;

/// All fields: event, field, offset.
pub const FIELDS: [(&str, &str, usize); 12] = [
    ("sys_exit", "id", SYS_EXIT_NUMBER),
    ("sys_exit", "ret", SYS_EXIT_RESULT),
    ("io_uring_submit_req", "req", URING_REQUEST),
    ("io_uring_complete", "ctx", URING_RING),
    ("io_uring_complete", "req", URING_REQUEST),
    ("io_uring_complete", "user_data", URING_USER_DATA),
    ("io_uring_complete", "res", URING_RESULT),
    ("io_uring_complete", "cflags", URING_CQE_FLAGS),
    ("io_uring_cqe_overflow", "ctx", URING_RING),
    ("io_uring_cqe_overflow", "user_data", URING_OVERFLOW_USER_DATA),
    ("io_uring_cqe_overflow", "res", URING_OVERFLOW_RESULT),
    ("io_uring_cqe_overflow", "cflags", URING_OVERFLOW_CQE_FLAGS),
];
