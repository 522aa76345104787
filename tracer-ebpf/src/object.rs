//! Identity of an open file, and the description of its object in events.

use core::mem::MaybeUninit;

use aya_ebpf::helpers::generated::bpf_probe_read_kernel;
use tracer_common::{
    event,
    ledger::InodeFingerprint,
    object::{ANON_INODE_FS_MAGIC, FdState, ObjectId, mode},
    offsets::{MISSING, settings::INODE_WINDOW_BYTES},
};

use self::files::{BTRFS_MAGIC, file_number};
use crate::{
    events::emit,
    kernel::{
        constants::{
            FILE_COUNT, FILE_DENTRY, FILE_FLAGS, FILE_INODE, FILE_MNT, FILE_PRIVATE, FILE_REF,
            INODE_GENERATION, INODE_INO, INODE_MODE, INODE_NLINK, INODE_PIPE, INODE_RDEV, INODE_SB,
            INODE_SIZE, INODE_WINDOW, INODE_WRITERS, SB_DEV, SB_MAGIC, TYPE_FILE,
        },
        fdlookup::file_of,
        kread::{Kptr, has_cast},
        task::FilesTable,
    },
};

mod files;
mod path;
mod pipe;
mod queue;
mod socket;
mod tty;

pub(crate) use files::{
    UNKNOWN as UNKNOWN_FILE, ended as file_ended, forget_file, forget_number, has_numbers,
    number_file,
};
pub(crate) use pipe::pipe_at;
use pipe::pipe_state;
pub(crate) use queue::{describe_queues, incoming, incoming_at, written};
pub(crate) use socket::peer_inode;

/// Major number of `/dev/tty`, `/dev/console` and `/dev/ptmx` (`devices.txt`). Many terminals share their inodes.
const SHARED_TTY_MAJOR: u32 = 5;

/// `MQUEUE_MAGIC` (`ipc/mqueue.c`).
const MQUEUE_MAGIC: u64 = 0x1980_0202;

/// File type of an anonymous inode (`anon_inode_new_inode`, fs/anon_inodes.c). Since Linux 6.16 it is a regular file.
const ANONYMOUS: u32 = 0;

/// The members of `struct inode` that the identity needs.
#[derive(Clone, Copy)]
pub(crate) struct Inode {
    pub(crate) address: Kptr,
    pub(crate) mode: u32,
    pub(crate) rdev: u32,
    pub(crate) ino: u64,
    pub(crate) sb: Kptr,
}

/// Reads an [`Inode`]: in one short read if the kernel's struct layout allows it.
#[inline(always)]
fn inode_of(file: Kptr) -> Option<Inode> {
    let inode = file.follow(&FILE_INODE)?;
    if INODE_WINDOW.load() == 1 {
        let mut window = MaybeUninit::<[u64; INODE_WINDOW_BYTES as usize / 8]>::uninit();
        // Reads directly into the buffer: returned by value, it would need stack space twice.
        // SAFETY: the helper writes the whole window or fails.
        let failed = unsafe {
            bpf_probe_read_kernel(
                window.as_mut_ptr().cast(),
                INODE_WINDOW_BYTES as u32,
                inode.0 as *const _,
            )
        };
        if failed != 0 {
            return None;
        }
        let base = window.as_ptr().cast::<u8>();
        // SAFETY: the loader sets INODE_WINDOW only if all these members are within the window; the
        // verifier checks it again.
        unsafe {
            Some(Inode {
                address: inode,
                mode: u32::from(*base.add(INODE_MODE.load() as usize).cast::<u16>()),
                rdev: *base.add(INODE_RDEV.load() as usize).cast::<u32>(),
                ino: *base.add(INODE_INO.load() as usize).cast::<u64>(),
                sb: Kptr(*base.add(INODE_SB.load() as usize).cast::<u64>()),
            })
        }
    } else {
        inode_by_members(inode)
    }
}

/// Reads member by member: slower, but with a smaller stack frame. Not for the hot path.
#[inline(always)]
fn inode_by_members(inode: Kptr) -> Option<Inode> {
    Some(Inode {
        address: inode,
        mode: u32::from(inode.member::<u16, _>(&INODE_MODE)?),
        rdev: inode.member(&INODE_RDEV)?,
        ino: inode.member(&INODE_INO)?,
        sb: inode.follow(&INODE_SB)?,
    })
}

#[inline(always)]
fn is_shared_tty(mode: u32, rdev: u32) -> bool {
    mode & mode::S_IFMT == mode::S_IFCHR && rdev >> 20 == SHARED_TTY_MAJOR
}

/// The inode that ends with the object of an open file: the file's own, or that of the terminal behind `/dev/tty`.
#[inline(never)]
pub(crate) fn lasting_inode(file: Kptr) -> u64 {
    let Some(inode) = inode_noinline(file) else { return 0 };
    let behind =
        if is_shared_tty(inode.mode, inode.rdev) { tty::inode_behind(file, &inode) } else { None };
    behind.unwrap_or(inode.address).0
}

/// Identity of the object behind an open file, without the number of a file that needs one ([`files`]).
#[inline(always)]
fn identity(file: Kptr, inode: &Inode) -> Option<ObjectId> {
    let dev: u32 = inode.sb.member(&SB_DEV)?;
    if is_shared_tty(inode.mode, inode.rdev) {
        return Some(tty::identity(file, inode, dev));
    }
    let discriminator = match inode.mode & mode::S_IFMT {
        // Of a FIFO as well: on ext4 it may have the number of a removed one. A pipe without a name has 0.
        kind @ (mode::S_IFREG | mode::S_IFIFO) => {
            match inode.address.member::<u32, _>(&INODE_GENERATION)? {
                0 if kind == mode::S_IFIFO => 0,
                0 => UNKNOWN_FILE,
                _ if inode.sb.member::<u64, _>(&SB_MAGIC)? == BTRFS_MAGIC => UNKNOWN_FILE,
                generation => generation,
            }
        }
        ANONYMOUS => UNKNOWN_FILE,
        mode::S_IFCHR if tty::is_pty_slave(inode.rdev) => UNKNOWN_FILE,
        _ => 0,
    };
    Some(ObjectId { ino: inode.ino, dev, discriminator })
}

/// Writes what `fd` of a file table points to into `out`; does not change `out` if the fd is closed.
#[inline(never)]
pub(crate) fn fd_state(files: Kptr, fd: i32, out: &mut FdState) {
    if let Some(state) = file_of(FilesTable::Probed(files), fd).and_then(file_state) {
        *out = state;
    }
}

/// Object, mode and flags of an open file.
#[inline(always)]
pub(crate) fn file_state(file: Kptr) -> Option<FdState> {
    let mut state = FdState::default();
    if !load_state(file, &mut state) {
        return None;
    }
    if state.object.discriminator == UNKNOWN_FILE {
        state.object.discriminator = file_number(file.0) as u32;
    }
    Some(state)
}

/// Size of a regular file; 0 for anything else.
#[inline(always)]
pub(crate) fn file_size(inode: &Inode) -> u64 {
    if is_file(inode) {
        return inode.address.member(&INODE_SIZE).unwrap_or(0);
    }
    0
}

/// Whether this is a regular file.
#[inline(always)]
pub(crate) fn is_file(inode: &Inode) -> bool {
    inode.mode & mode::S_IFMT == mode::S_IFREG
}

/// 1 for a regular file without a name, else 0.
#[inline(always)]
pub(crate) fn is_removed(inode: &Inode) -> u32 {
    u32::from(is_file(inode) && inode.address.member(&INODE_NLINK).unwrap_or(1_u32) == 0)
}

/// Identity of the object behind an open file.
#[inline(always)]
pub(crate) fn id_of(file: Kptr) -> Option<ObjectId> {
    let mut id = if has_cast() { typed_id(file) } else { probed_id(file) }?;
    if id.discriminator == UNKNOWN_FILE {
        id.discriminator = file_number(file.0) as u32;
    }
    Some(id)
}

/// The inode of an open file, for typed loads. Requires [`has_cast`].
#[inline(always)]
fn typed_inode(file: Kptr) -> Option<Kptr> {
    file.cast(&TYPE_FILE).typed_follow(&FILE_INODE).non_null()
}

/// Fingerprint of the inode of an open file. `None` if the kernel has no cast, for terminals and anonymous inodes, which
/// share an inode, and for message queues, of which not every read counts ([`is_message_queue`]).
#[inline(always)]
pub(crate) fn fingerprint_of(file: Kptr) -> Option<InodeFingerprint> {
    let fingerprint = fingerprint_unchecked(file)?;
    let mode = Kptr(fingerprint.address).member::<u16, _>(&INODE_MODE)?;
    let rdev = Kptr(fingerprint.address).member::<u32, _>(&INODE_RDEV)?;
    let magic = Kptr(fingerprint.file_system).member::<u64, _>(&SB_MAGIC)?;
    let is_shared = magic == ANON_INODE_FS_MAGIC || is_shared_tty(u32::from(mode), rdev);
    (!is_shared && magic != MQUEUE_MAGIC).then_some(fingerprint)
}

/// Whether this is a POSIX message queue: a `read(2)` of its file tells of its state, and takes no message out.
#[inline(always)]
pub(crate) fn is_message_queue(file: Kptr) -> bool {
    let magic = file
        .follow(&FILE_INODE)
        .and_then(|inode| inode.follow(&INODE_SB))
        .and_then(|file_system| file_system.member::<u64, _>(&SB_MAGIC));
    magic == Some(MQUEUE_MAGIC)
}

/// Fingerprint for comparison: as [`fingerprint_of`], but skips the check for shared terminals.
#[inline(always)]
pub(crate) fn fingerprint_unchecked(file: Kptr) -> Option<InodeFingerprint> {
    if !has_cast() {
        return None;
    }
    let inode = typed_inode(file)?;
    Some(InodeFingerprint {
        address: inode.0,
        file_system: inode.typed(&INODE_SB),
        number: inode.typed(&INODE_INO),
        generation: u64::from(inode.typed::<u32, _>(&INODE_GENERATION)),
    })
}

/// Whether the file at this address, which was open with this inode, is still open somewhere: through another fd, or in
/// a call that is going on. The memory may have been freed or reused.
#[inline(always)]
pub(crate) fn is_in_use(file: Kptr, inode: u64) -> bool {
    if file.follow(&FILE_INODE).is_none_or(|found| found.0 != inode) {
        return false;
    }
    // Linux 6.13: the number of references - 1, and negative without any (include/linux/file_ref.h).
    if FILE_REF.load() != MISSING {
        return file.member::<i64, _>(&FILE_REF).is_some_and(|references| references >= 0);
    }
    FILE_COUNT.load() != MISSING
        && file.member::<i64, _>(&FILE_COUNT).is_some_and(|references| references > 0)
}

/// The inode number of an open file.
#[inline(always)]
pub(crate) fn number_of(file: Kptr) -> Option<u64> {
    if has_cast() {
        let inode = typed_inode(file)?;
        return Some(inode.typed(&INODE_INO));
    }
    file.follow(&FILE_INODE)?.member(&INODE_INO)
}

/// Identity with typed loads; with probed reads for terminals that share an inode.
#[inline(always)]
fn typed_id(file: Kptr) -> Option<ObjectId> {
    let inode = typed_inode(file)?;
    let mode = u32::from(inode.typed::<u16, _>(&INODE_MODE));
    let sb = inode.typed_follow(&INODE_SB).non_null()?;
    let discriminator = match mode & mode::S_IFMT {
        kind @ (mode::S_IFREG | mode::S_IFIFO) => match inode.typed::<u32, _>(&INODE_GENERATION) {
            0 if kind == mode::S_IFIFO => 0,
            0 => UNKNOWN_FILE,
            _ if sb.typed::<u64, _>(&SB_MAGIC) == BTRFS_MAGIC => UNKNOWN_FILE,
            generation => generation,
        },
        ANONYMOUS => UNKNOWN_FILE,
        mode::S_IFCHR => match inode.typed::<u32, _>(&INODE_RDEV) {
            rdev if is_shared_tty(mode, rdev) => return probed_id(file),
            rdev if tty::is_pty_slave(rdev) => UNKNOWN_FILE,
            _ => 0,
        },
        _ => 0,
    };
    Some(ObjectId { ino: inode.typed(&INODE_INO), dev: sb.typed(&SB_DEV), discriminator })
}

/// Identity with probed reads, in a separate stack frame.
#[inline(always)]
fn probed_id(file: Kptr) -> Option<ObjectId> {
    let mut id = ObjectId::NONE;
    load_id(file, &mut id).then_some(id)
}

#[inline(never)]
fn load_id(file: Kptr, out: &mut ObjectId) -> bool {
    let Some(inode) = inode_of(file) else { return false };
    let Some(id) = identity(file, &inode) else { return false };
    *out = id;
    true
}

/// Not inlined: its stack frame is free again before the next call. All frames together have 512 bytes.
#[inline(never)]
fn load_state(file: Kptr, out: &mut FdState) -> bool {
    let Some(inode) = file.follow(&FILE_INODE).and_then(inode_by_members) else { return false };
    let Some(object) = identity(file, &inode) else { return false };
    let Some(flags) = file.member(&FILE_FLAGS) else { return false };
    *out = FdState { object, mode: inode.mode, flags };
    true
}

/// As [`inode_of`], in a separate stack frame. Not for the hot path.
#[inline(always)]
pub(crate) fn inode_noinline(file: Kptr) -> Option<Inode> {
    let mut inode = Inode { address: Kptr(0), mode: 0, rdev: 0, ino: 0, sb: Kptr(0) };
    load_inode(file, &mut inode).then_some(inode)
}

#[inline(never)]
fn load_inode(file: Kptr, out: &mut Inode) -> bool {
    let Some(inode) = file.follow(&FILE_INODE).and_then(inode_by_members) else { return false };
    *out = inode;
    true
}

/// Whether the watched object of this inode has ended. A pipe or socket ends with its last fd. A file ends if no
/// process has it open for writing and `is_held` is `false`; a device ends if `is_held` is `false`. The memory at
/// this address may have been freed or reused.
#[inline(always)]
pub(crate) fn has_ended(inode: Kptr, id: &ObjectId, is_held: bool) -> bool {
    if inode.member::<u64, _>(&INODE_INO) != Some(id.ino) {
        return true;
    }
    let Some(mode) = inode.member::<u16, _>(&INODE_MODE) else { return true };
    match u32::from(mode) & mode::S_IFMT {
        // `put_pipe_info` (fs/pipe.c) clears `i_pipe` with the last open file.
        mode::S_IFIFO => inode.follow(&INODE_PIPE).is_none(),
        // `sock_orphan` and the `release` of the socket families (net/) clear `sk` with the last open file.
        mode::S_IFSOCK => socket::is_released(inode),
        mode::S_IFREG => {
            !is_held && inode.member::<i32, _>(&INODE_WRITERS).is_none_or(|writers| writers <= 0)
        }
        mode::S_IFCHR if tty::is_pty_slave(inode.member(&INODE_RDEV).unwrap_or(0)) => {
            // `devpts_pty_kill` (fs/devpts/inode.c) removes the name when the master is closed.
            inode.member::<u32, _>(&INODE_NLINK) == Some(0) || files::is_replaced(id, inode)
        }
        _ => !is_held,
    }
}

/// An open file of the peer: the other half of a pty, or the connected unix socket.
#[inline(always)]
pub(crate) fn peer_file(file: Kptr) -> Option<Kptr> {
    let inode = inode_noinline(file)?;
    match inode.mode & mode::S_IFMT {
        mode::S_IFSOCK => socket::peer_file(file.follow(&FILE_PRIVATE)?),
        mode::S_IFCHR => tty::other_half(file, &inode),
        _ => None,
    }
}

/// Fills the record that was started in `slot` with the description of an open file.
///
/// Exported, so that the verifier checks it and its loops once instead of at each call.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn describe_object(slot: u64, file: u64) -> u64 {
    if let Some(record) = emit::resume::<event::Object>(slot as u32) {
        describe(Kptr(file), record);
    }
    0
}

#[inline(always)]
fn describe(file: Kptr, record: &mut emit::Record<event::Object>) {
    let Some(inode) = inode_noinline(file) else { return };
    let out = &mut record.payload;
    out.mode = inode.mode;
    out.rdev = inode.rdev;
    out.flags = file.member(&FILE_FLAGS).unwrap_or(0);
    out.size = inode.address.member(&INODE_SIZE).unwrap_or(0);
    out.nlink = inode.address.member(&INODE_NLINK).unwrap_or(1);
    out.magic = inode.sb.member(&SB_MAGIC).unwrap_or(0);
    out.tty = tty::state(file, &inode);
    let kind = inode.mode & mode::S_IFMT;
    if kind == mode::S_IFSOCK {
        if let Some(socket) = file.follow(&FILE_PRIVATE) {
            socket::describe(socket, record);
        }
        return;
    }
    if kind == mode::S_IFIFO {
        out.queue = pipe_state(&inode);
    }
    if let (Some(dentry), Some(mount)) = (file.follow(&FILE_DENTRY), file.follow(&FILE_MNT)) {
        path::components(dentry, mount, record);
    }
}
