//! Arguments of the program [`crate::names::SWEEP`], which removes ended entries from the maps. User space runs
//! it once per question: it stores a [`Run`] in a map, starts the program and reads the answer there.
//!
//! User space knows which processes have ended, even if the ring was full and their exit event was lost. Only
//! the eBPF program can read an inode. Neither side alone can find all ended entries.

use zerocopy::{FromBytes, IntoBytes};

use crate::{
    id::ProcessId,
    object::{EndKey, FileKey, ObjectId},
};

/// Number of arguments of a run.
pub const ARGUMENTS: usize = 5;

/// A question and its answer.
#[repr(C)]
#[derive(FromBytes, IntoBytes, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Run {
    /// The kind of [`question`], and what it is about.
    pub arguments: [u64; ARGUMENTS],
    /// The answer, after the run.
    pub answer: u64,
}

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
    /// [`super::known_file`]
    pub const FORGET_FILE: u64 = 7;
}

const fn object(id: &ObjectId) -> [u64; 2] {
    [id.ino, (id.dev as u64) << 32 | id.discriminator as u64]
}

/// Decodes an object from two arguments.
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
    [EndKey { tgid: process.tgid, fd }.packed(), process.start_ns]
}

/// Removes an object from the table if it has ended. A pipe or socket ends with its last fd. A file ends if no
/// process has it open for writing and `is_held` is `false`; a device ends if `is_held` is `false`. `is_held`: an
/// fd of a followed process points to it. Answer: 1 if the object is not in the table any more.
#[must_use]
pub const fn end_of_object(id: &ObjectId, is_held: bool) -> [u64; ARGUMENTS] {
    let [ino, dev] = object(id);
    [question::RELEASE, ino, dev, is_held as u64, 0]
}

/// Whether an fd of a followed process points to an object. Answer: 0 means certainly not.
#[must_use]
pub const fn leads_to(process: ProcessId, fd: i32, id: &ObjectId) -> [u64; ARGUMENTS] {
    let [process, start] = fd_of(process, fd);
    let [ino, dev] = object(id);
    [question::LEADS, process, start, ino, dev]
}

/// Removes a process that has ended. Answer: 1 if it had an entry.
#[must_use]
pub const fn dead_process(process: ProcessId) -> [u64; ARGUMENTS] {
    [question::FORGET_PROCESS, process.tgid as u64, process.start_ns, 0, 0]
}

/// Removes a registered read end if its fd is closed, and reports the close. Answer: 1 if the read end is not in
/// the table any more.
#[must_use]
pub const fn read_end(process: ProcessId, fd: i32) -> [u64; ARGUMENTS] {
    let [process, start] = fd_of(process, fd);
    [question::CHECK_END, process, start, 0, 0]
}

/// Removes the io_uring request at an address, whose owner has ended. Answer: 1 if it had an entry.
#[must_use]
pub const fn request(address: u64, owner: ProcessId) -> [u64; ARGUMENTS] {
    [question::FORGET_REQUEST, address, owner.start_ns, 0, 0]
}

/// Removes the interrupted call of a thread that has ended. Answer: 1 if it had an entry.
#[must_use]
pub const fn interrupted(tid: u32) -> [u64; ARGUMENTS] {
    [question::FORGET_INTERRUPTED, tid as u64, 0, 0, 0]
}

/// Removes a known file that is not watched, if it can never be opened again. Answer: 1 if it is not in the table any
/// more.
#[must_use]
pub const fn known_file(key: &FileKey) -> [u64; ARGUMENTS] {
    [question::FORGET_FILE, key.ino, key.dev as u64, key.inode, 0]
}
