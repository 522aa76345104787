//! How much a whole capture may take from the disk: a limit of its own, and what must stay free for others.

use rustix::fs::StatVfs;
use tracer_core::capture::Reason;

/// How many bytes are written at most before the free space is looked at again. Others fill the disk too.
const CHECK_AFTER: u64 = 4 << 20;
/// The default reserve: a twentieth of the disk or this, whichever is more …
const RESERVE: u64 = 1 << 30;
/// … but at most a tenth of the disk, so that small ones can be used.
const LARGEST_PART: u64 = 10;

/// Bytes that a capture may still take.
#[derive(Debug)]
pub(super) struct Budget {
    /// Bytes that all files may have; `None` for any number.
    max: Option<u64>,
    /// Bytes that must stay free; `None` for the default, which depends on the disk.
    reserve: Option<u64>,
    used: u64,
    /// Bytes that may be written before the free space is looked at again.
    unchecked: u64,
    is_full: bool,
}

/// Size and free space of a disk, bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Disk {
    size: u64,
    free: u64,
}

impl From<StatVfs> for Disk {
    fn from(found: StatVfs) -> Self {
        let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
        Self { size: bytes(found.f_blocks), free: bytes(found.f_bavail) }
    }
}

impl Budget {
    pub(super) const fn new(max: Option<u64>, reserve: Option<u64>) -> Self {
        Self { max, reserve, used: 0, unchecked: 0, is_full: false }
    }

    /// How many of `length` bytes may be written now, and why not all of them. `disk` looks at the disk; a file system
    /// that does not tell its size has no reserve.
    pub(super) fn allows(
        &mut self,
        length: u64,
        disk: impl FnOnce() -> Option<Disk>,
    ) -> (u64, Option<Reason>) {
        let left = self.max.map_or(u64::MAX, |max| max.saturating_sub(self.used));
        let wanted = length.min(left);
        if self.reserve == Some(0) {
            // A write on a full disk fails by itself.
            self.unchecked = u64::MAX;
        } else if wanted > self.unchecked {
            self.unchecked = match disk().filter(|disk| disk.size > 0) {
                Some(disk) => disk.free.saturating_sub(self.reserve_of(disk)),
                None => u64::MAX,
            }
            .min(CHECK_AFTER.max(wanted));
        }
        let allowed = wanted.min(self.unchecked);
        let reason = match allowed {
            _ if allowed == length => None,
            _ if allowed < wanted => Some(Reason::Reserve),
            _ => Some(Reason::Total),
        };
        self.is_full = reason.is_some();
        (allowed, reason)
    }

    /// Whether the latest bytes found no room. Lines about further gaps then wait, or they would fill the disk.
    pub(super) const fn is_full(&self) -> bool {
        self.is_full
    }

    /// These bytes were written.
    pub(super) fn take(&mut self, bytes: u64) {
        self.used = self.used.saturating_add(bytes);
        self.unchecked = self.unchecked.saturating_sub(bytes);
    }

    /// These bytes were removed.
    pub(super) fn give_back(&mut self, bytes: u64) {
        self.used = self.used.saturating_sub(bytes);
    }

    fn reserve_of(&self, disk: Disk) -> u64 {
        self.reserve.unwrap_or_else(|| (disk.size / 20).max(RESERVE).min(disk.size / LARGEST_PART))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    #[test]
    fn the_limit_of_the_whole_is_kept_to_the_byte() {
        let mut budget = Budget::new(Some(100), Some(0));
        let disk = || Some(Disk { size: 1000, free: 1000 });
        assert_eq!(budget.allows(60, disk), (60, None));
        budget.take(60);
        assert_eq!(budget.allows(60, disk), (40, Some(Reason::Total)));
        budget.take(40);
        assert_eq!(budget.allows(1, disk), (0, Some(Reason::Total)));
        budget.give_back(30);
        assert_eq!(budget.allows(60, disk), (30, Some(Reason::Total)));
    }

    #[test]
    fn the_reserve_is_kept_while_others_fill_the_disk() {
        let mut budget = Budget::new(None, Some(300));
        assert_eq!(budget.allows(60, || Some(Disk { size: 1000, free: 400 })), (60, None));
        budget.take(60);
        // 40 bytes were checked and are left.
        assert_eq!(budget.allows(40, || panic!("the disk was looked at again")), (40, None));
        budget.take(40);
        let full = || Some(Disk { size: 1000, free: 310 });
        assert_eq!(budget.allows(60, full), (10, Some(Reason::Reserve)));
        assert_eq!(budget.allows(60, || Some(Disk { size: 1000, free: 900 })), (60, None));
        assert_eq!(Budget::new(None, None).allows(60, || None), (60, None));
        assert_eq!(
            Budget::new(None, None).allows(60, || Some(Disk { size: 0, free: 0 })),
            (60, None)
        );
    }

    #[test]
    fn the_default_reserve_fits_the_disk() {
        let reserve = |size| Budget::new(None, None).reserve_of(Disk { size, free: 0 });
        assert_eq!(reserve(100 * GIB), 5 * GIB);
        assert_eq!(reserve(15 * GIB), GIB);
        assert_eq!(reserve(1 << 20), (1 << 20) / 10);
    }
}
