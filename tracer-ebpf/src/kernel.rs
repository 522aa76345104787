//! The kernel's state: its memory, its tasks and fds, saved registers, memory of programs, and what the loader patches
//! in.

pub(crate) mod atomic;
pub(crate) mod constants;
pub(crate) mod fdlookup;
pub(crate) mod kread;
pub(crate) mod regs;
mod runtime;
pub(crate) mod task;
pub(crate) mod usermem;
