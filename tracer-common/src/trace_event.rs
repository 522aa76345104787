//! Where the fields of trace events lie that programs read, in bytes from the start of the record. Behind
//! `struct trace_entry` (8 bytes, include/linux/trace_events.h) they follow each other as their definition
//! says, in the order and with the alignment of C; the loader compares them with the kernel's own types
//! (`struct trace_event_raw_NAME`) before it attaches.

/// `id` of `raw_syscalls:sys_exit` (include/trace/events/syscalls.h, Linux 7.2).
pub const SYS_EXIT_NUMBER: usize = 8;
/// `ret` of the same.
pub const SYS_EXIT_RESULT: usize = 16;
/// `req` of `io_uring:io_uring_submit_req` and `io_uring:io_uring_complete`
/// (include/trace/events/io_uring.h, Linux 7.2).
pub const URING_REQUEST: usize = 16;
/// `res` of `io_uring:io_uring_complete`.
pub const URING_RESULT: usize = 32;

/// Each of them: event, field, offset.
pub const FIELDS: [(&str, &str, usize); 5] = [
    ("sys_exit", "id", SYS_EXIT_NUMBER),
    ("sys_exit", "ret", SYS_EXIT_RESULT),
    ("io_uring_submit_req", "req", URING_REQUEST),
    ("io_uring_complete", "req", URING_REQUEST),
    ("io_uring_complete", "res", URING_RESULT),
];
