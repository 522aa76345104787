//! From an fd number to the open file behind it.

use crate::{
    globals::{FDT_FD, FDT_MAX, FILES_FDT},
    kread::Kptr,
    task::FilesTable,
};

/// The `struct file *` that `fd` refers to, `None` when it is closed.
///
/// The table may be replaced by another thread while it is read; RCU keeps the old one readable.
#[inline(always)]
pub(crate) fn file_of(files: FilesTable, fd: i32) -> Option<Kptr> {
    if fd < 0 {
        return None;
    }
    let (max, array) = match files {
        FilesTable::Typed(files) => {
            files.non_null()?;
            let table = files.typed_follow(&FILES_FDT);
            table.non_null()?;
            (table.typed::<u32>(&FDT_MAX), table.typed::<u64>(&FDT_FD))
        }
        FilesTable::Probed(files) => {
            let table = files.non_null()?.follow(&FILES_FDT)?;
            (table.member::<u32>(&FDT_MAX)?, table.member::<u64>(&FDT_FD)?)
        }
    };
    if fd as u32 >= max {
        return None;
    }
    Kptr(Kptr(array + (fd as u64) * 8).read()?).non_null()
}
