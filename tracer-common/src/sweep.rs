//! Questions that user space asks the program [`crate::names::SWEEP`], one in each run: its arguments as
//! `u64`s, and its answer, the program's return value.
//!
//! Only user space knows which processes have ended without a word (the ring was full), and only the kernel
//! side can look at an inode. Together they take out of the tables what no longer exists.

use crate::{id::ProcessId, object::ObjectId};

/// How many arguments a run has.
pub const ARGUMENTS: usize = 5;

/// The kind of question, argument 0.
pub mod question {
    /// [`super::end_of_object`]
    pub const RELEASE: u64 = 1;
    /// [`super::leads_to`]
    pub const LEADS: u64 = 2;
    /// [`super::dead_process`]
    pub const FORGET_PROCESS: u64 = 3;
    /// [`super::read_end`]
    pub const CHECK_END: u64 = 4;
    /// [`super::request`]
    pub const FORGET_REQUEST: u64 = 5;
    /// [`super::interrupted`]
    pub const FORGET_INTERRUPTED: u64 = 6;
}

const fn object(id: &ObjectId) -> [u64; 2] {
    [id.ino, (id.dev as u64) << 32 | id.discriminator as u64]
}

/// The object that two arguments name.
#[must_use]
#[inline(always)]
pub const fn object_of(ino: u64, dev_and_discriminator: u64) -> ObjectId {
    ObjectId {
        ino,
        dev: (dev_and_discriminator >> 32) as u32,
        discriminator: dev_and_discriminator as u32,
    }
}

const fn fd_of(process: ProcessId, fd: i32) -> [u64; 2] {
    [(process.tgid as u64) << 32 | fd as u32 as u64, process.start_ns]
}

/// Takes an object out of the table if it has ended: a pipe or socket when its last fd is closed, a file when it
/// is open for writing nowhere and `is_held` is `false`, a device when `is_held` is `false`. `is_held`: an fd of a
/// followed process leads to it. Answer: 1 when it is out of the table.
#[must_use]
pub const fn end_of_object(id: &ObjectId, is_held: bool) -> [u64; ARGUMENTS] {
    let [ino, dev] = object(id);
    [question::RELEASE, ino, dev, is_held as u64, 0]
}

/// Whether an fd of a followed process leads to an object now. Answer: 0 when it certainly does not.
#[must_use]
pub const fn leads_to(process: ProcessId, fd: i32, id: &ObjectId) -> [u64; ARGUMENTS] {
    let [process, start] = fd_of(process, fd);
    let [ino, dev] = object(id);
    [question::LEADS, process, start, ino, dev]
}

/// Takes out a process that has ended. Answer: 1 when it was there.
#[must_use]
pub const fn dead_process(process: ProcessId) -> [u64; ARGUMENTS] {
    [question::FORGET_PROCESS, process.tgid as u64, process.start_ns, 0, 0]
}

/// Tells of a noted reading end that is no longer open, and takes it out. Answer: 1 when it is out of the table.
#[must_use]
pub const fn read_end(process: ProcessId, fd: i32) -> [u64; ARGUMENTS] {
    let [process, start] = fd_of(process, fd);
    [question::CHECK_END, process, start, 0, 0]
}

/// Takes out the io_uring request at an address, whose owner has ended. Answer: 1 when it was there.
#[must_use]
pub const fn request(address: u64, owner: ProcessId) -> [u64; ARGUMENTS] {
    [question::FORGET_REQUEST, address, owner.start_ns, 0, 0]
}

/// Takes out the interrupted call of a thread that has ended. Answer: 1 when it was there.
#[must_use]
pub const fn interrupted(tid: u32) -> [u64; ARGUMENTS] {
    [question::FORGET_INTERRUPTED, tid as u64, 0, 0, 0]
}
