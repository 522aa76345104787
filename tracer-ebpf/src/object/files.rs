//! Files that their inode number does not identify.
//!
//! overlayfs and FUSE keep no inode generation (it is 0) and give the number of a removed file to the next one. The
//! subvolumes of btrfs have the same numbers on one device. The discriminator of such a file is a number that tracer
//! gives it when it first watches it ([`FILES`]). A file with a known number is another one if it was created since,
//! if both inodes are in use, or if the known one has no link left. Otherwise it is the known file, also if the
//! kernel has freed and reloaded its inode.
//!
//! All eventfds share one inode, as do other anonymous files. Each open file is an object of its own there.
//!
//! A pty that is closed gives its number, and so that of its inode, to the next one. Both halves have the number that
//! belongs to the inode of the slave. The open file of the master stands for the pair: it was opened with it, and the
//! pair ends with it.

use aya_ebpf::helpers::bpf_get_smp_processor_id;
use tracer_common::{
    loss::Reason,
    object::{ANON_INODE_FS_MAGIC, FileKey, KnownFile, ObjectId, mode},
    offsets::MISSING,
};

use super::{ANONYMOUS, tty};
use crate::{
    events::loss as losses,
    kernel::{
        atomic::add,
        constants::{
            FILE_FLAGS, FILE_INODE, FILE_MODE, INODE_COUNT, INODE_GENERATION, INODE_INO,
            INODE_MODE, INODE_NLINK, INODE_SB, SB_DEV, SB_INFO, SB_MAGIC, SB_ROOT,
        },
        kread::Kptr,
    },
    maps::{FILES, OBJECTS},
};

/// The discriminator of a file that tracer has not watched yet.
pub(crate) const UNKNOWN: u32 = u32::MAX;

/// `BTRFS_SUPER_MAGIC` (`include/uapi/linux/magic.h`).
pub(super) const BTRFS_MAGIC: u64 = 0x9123_683e;
/// `FMODE_CREATED` (`include/linux/fs.h`): the open call of this open file created the file.
const FMODE_CREATED: u32 = 1 << 20;
/// `__O_TMPFILE` (`include/uapi/asm-generic/fcntl.h`): as above, of a file without a name.
const O_TMPFILE: u32 = 0o20_000_000;
/// [`KnownFile::creator`] once its open file is closed.
const CLOSED: u64 = 1;
/// Numbers start here. Generations of files on btrfs are far lower.
const FIRST_NUMBER: u32 = 1 << 31;
/// Bits of a number that hold the CPU that gave it.
const CPU_BITS: u32 = 8;

/// How many numbers were given. If it is 0, calls that open or close files skip the look-ups.
#[unsafe(no_mangle)]
static mut FILE_NUMBERS: u64 = 0;

/// Whether any file has a number.
#[inline(always)]
pub(crate) fn has_numbers() -> bool {
    // SAFETY: an aligned load of a counter that other CPUs change atomically.
    unsafe { core::ptr::read_volatile(&raw const FILE_NUMBERS) != 0 }
}

/// A number for a file. Two CPUs may find the same count at the same time, so the CPU is a part of the number: the
/// masters of all ptys share an inode and differ by their numbers alone.
#[inline(always)]
fn new_number() -> u32 {
    // SAFETY: points to a live map value (`.bss`).
    let count = unsafe {
        add(&raw mut FILE_NUMBERS, 1);
        core::ptr::read_volatile(&raw const FILE_NUMBERS) as u32
    };
    // SAFETY: the helper has no precondition.
    let cpu = unsafe { bpf_get_smp_processor_id() };
    FIRST_NUMBER | count << CPU_BITS | cpu & ((1 << CPU_BITS) - 1)
}

/// An open file of this kind.
struct Opened {
    /// Its `struct file`; of a pty, that of the master, or 0 if that is closed.
    file: u64,
    /// Its inode; of a pty, that of the slave.
    inode: Kptr,
    file_system: u64,
    key: FileKey,
    /// Whether the open call of `file` created it.
    created: bool,
    anonymous: bool,
}

#[inline(always)]
fn opened(file: Kptr) -> Option<Opened> {
    let own = file.follow(&FILE_INODE)?;
    let kind = u32::from(own.member::<u16, _>(&INODE_MODE)?) & mode::S_IFMT;
    let (inode, creator) = match kind {
        mode::S_IFCHR => tty::pair(file, own)?,
        mode::S_IFREG | ANONYMOUS => (own, file.0),
        _ => return None,
    };
    let sb = inode.follow(&INODE_SB)?;
    let magic: u64 = sb.member(&SB_MAGIC)?;
    if magic != BTRFS_MAGIC && inode.member::<u32, _>(&INODE_GENERATION)? != 0 {
        return None;
    }
    let anonymous = magic == ANON_INODE_FS_MAGIC;
    let key = FileKey {
        ino: inode.member(&INODE_INO)?,
        dev: sb.member(&SB_DEV)?,
        zero: 0,
        inode: if anonymous { file.0 } else { 0 },
    };
    let created = if kind == mode::S_IFCHR {
        creator != 0
    } else {
        file.member::<u32, _>(&FILE_MODE)? & FMODE_CREATED != 0
            || file.member::<u32, _>(&FILE_FLAGS)? & O_TMPFILE != 0
    };
    // As KnownFile::file_system.
    let (root, info): (u64, u64) = (sb.member(&SB_ROOT)?, sb.member(&SB_INFO)?);
    let file_system = sb.0 ^ root.rotate_left(21) ^ info.rotate_left(42);
    Some(Opened { file: creator, inode, file_system, key, created, anonymous })
}

impl Opened {
    /// The key of a file that is not the latest one with its number.
    #[inline(always)]
    fn key_of(&self, inode: u64) -> FileKey {
        FileKey { inode, ..self.key }
    }

    /// Whether the memory at `inode` still has this number and file system.
    #[inline(always)]
    fn has_same_number(&self, inode: Kptr) -> bool {
        let file_system = |inode: Kptr| inode.member::<u64, _>(&INODE_SB);
        inode.member::<u64, _>(&INODE_INO) == Some(self.key.ino)
            && file_system(inode) == file_system(self.inode)
    }

    /// Whether another inode is in use. Freed memory has no references, but keeps the number.
    #[inline(always)]
    fn is_in_use(&self, inode: Kptr) -> bool {
        INODE_COUNT.load() != MISSING
            && inode.0 != self.inode.0
            && self.has_same_number(inode)
            && inode.member::<i32, _>(&INODE_COUNT).is_some_and(|references| references > 0)
    }

    /// Whether this is another file than the latest one with its number.
    #[inline(always)]
    fn is_other(&self, latest: &KnownFile) -> bool {
        let inode = Kptr(latest.inode);
        if latest.file_system != self.file_system {
            return true;
        }
        if inode.0 == self.inode.0 {
            // The same memory, used again.
            return self.created && latest.creator != 0 && latest.creator != self.file;
        }
        self.created || self.is_in_use(inode) || self.has_same_number(inode) && has_no_link(inode)
    }
}

#[inline(always)]
fn has_no_link(inode: Kptr) -> bool {
    inode.member::<u32, _>(&INODE_NLINK) == Some(0)
}

#[inline(always)]
fn get(key: &FileKey) -> Option<KnownFile> {
    // SAFETY: the map is created without preallocation, so the value is not reused while it is read.
    unsafe { FILES.get(key) }.copied()
}

/// The number of a known file, or [`UNKNOWN`]. Exported, like those below, so that the verifier checks it once.
#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn file_number(file: u64) -> u64 {
    u64::from(opened(Kptr(file)).and_then(|opened| number_of(&opened)).unwrap_or(UNKNOWN))
}

#[inline(always)]
fn number_of(opened: &Opened) -> Option<u32> {
    let latest = get(&opened.key)?;
    if opened.anonymous {
        return Some(latest.number);
    }
    if latest.inode != opened.inode.0
        && let Some(earlier) = get(&opened.key_of(opened.inode.0))
    {
        return Some(earlier.number);
    }
    (!opened.is_other(&latest)).then_some(latest.number)
}

/// Gives a file of this kind a number, before tracer watches it. Returns the number, or [`UNKNOWN`] for anything else.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn number_file(file: u64) -> u64 {
    let Some(opened) = opened(Kptr(file)) else { return u64::from(UNKNOWN) };
    let creator = if opened.created { opened.file } else { 0 };
    let (inode, file_system) = (opened.inode.0, opened.file_system);
    let kind = opened.inode.member::<u16, _>(&INODE_MODE).map(u32::from);
    let is_terminal = u32::from(kind.is_some_and(|kind| kind & mode::S_IFMT == mode::S_IFCHR));
    let mut known = KnownFile { inode, file_system, creator, number: 0, is_terminal };
    match number_of(&opened) {
        Some(number) => {
            known.number = number;
            let Some(latest) = get(&opened.key) else { return u64::from(number) };
            if opened.anonymous
                || latest.number != number
                || latest.inode == known.inode && latest.creator != 0
            {
                return u64::from(number);
            }
        }
        None => {
            keep_latest(&opened);
            known.number = new_number();
        }
    }
    if FILES.insert(opened.key, known, 0).is_err() {
        losses::count(Reason::ObjectsFull, 0);
        return u64::from(UNKNOWN);
    }
    u64::from(known.number)
}

/// The latest file with this number is another one: keeps it under its inode if that is in use.
#[inline(always)]
fn keep_latest(opened: &Opened) {
    if let Some(latest) = get(&opened.key)
        && opened.is_in_use(Kptr(latest.inode))
        && FILES.insert(opened.key_of(latest.inode), latest, 0).is_err()
    {
        losses::count(Reason::ObjectsFull, 0);
    }
}

/// A followed process has opened a file. If the call created it (or the pty of which it is the master), its number
/// belonged to another file. The memory of an open file that has no other inode may have belonged to another one, too.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn forget_number(file: u64) -> u64 {
    let is_new = |opened: &Opened| (opened.created || opened.anonymous) && opened.file == file;
    if let Some(opened) = opened(Kptr(file)).filter(is_new) {
        keep_latest(&opened);
        let _ = FILES.remove(opened.key);
        let _ = FILES.remove(opened.key_of(opened.inode.0));
    }
    0
}

/// The object of a file has ended, so the open file that created it is closed. Its number stays known while the file
/// may be opened again.
#[inline(always)]
pub(crate) fn ended(id: &ObjectId, inode: Kptr) {
    let mut key = FileKey { ino: id.ino, dev: id.dev, zero: 0, inode: 0 };
    let Some(latest) = get(&key) else { return };
    if latest.number != id.discriminator {
        key.inode = inode.0;
        if get(&key).is_some_and(|known| known.number == id.discriminator) {
            let _ = FILES.remove(key);
        }
    } else if is_removed(&key, &latest, inode) || latest.is_terminal == 1 {
        let _ = FILES.remove(key);
    } else {
        let _ = FILES.insert(key, KnownFile { creator: CLOSED, ..latest }, 0);
    }
}

/// Takes out a file that is not watched and can never be opened again. Returns 1 if it is not in the table any more.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn forget_file(ino: u64, dev: u64, inode: u64) -> u64 {
    let key = FileKey { ino, dev: dev as u32, zero: 0, inode };
    let Some(known) = get(&key) else { return 1 };
    let id = ObjectId { ino, dev: key.dev, discriminator: known.number };
    if OBJECTS.get_ptr(id).is_some() || inode == 0 && !is_removed(&key, &known, Kptr(known.inode)) {
        return 0;
    }
    u64::from(FILES.remove(key).is_ok())
}

/// Whether a file can never be opened again. Certain only as long as the memory of its inode is not used again, except
/// for a pty, whose inode is in memory as long as it exists.
#[inline(always)]
fn is_removed(key: &FileKey, known: &KnownFile, inode: Kptr) -> bool {
    if inode.member::<u64, _>(&INODE_INO) == Some(key.ino) {
        has_no_link(inode)
    } else {
        known.is_terminal == 1
    }
}

/// Whether the memory of a pty's inode belongs to the pty that got its number.
#[inline(always)]
pub(super) fn is_replaced(id: &ObjectId, inode: Kptr) -> bool {
    let key = FileKey { ino: id.ino, dev: id.dev, zero: 0, inode: 0 };
    get(&key).is_some_and(|latest| latest.inode == inode.0 && latest.number != id.discriminator)
}
