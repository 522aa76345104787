//! Looks up the open file of an fd number.

use crate::kernel::{
    constants::{FDT_FD, FDT_MAX, FILES_FDT},
    kread::Kptr,
    task::FilesTable,
};

/// The `struct file *` of `fd`; `None` if it is closed.
///
/// Another thread may replace the table during the read; RCU keeps the old one readable.
#[inline(always)]
pub(crate) fn file_of(files: FilesTable, fd: i32) -> Option<Kptr> {
    if fd < 0 {
        return None;
    }
    let max = match files {
        FilesTable::Typed(files) => {
            files.non_null()?;
            files.typed_follow(&FILES_FDT).non_null()?.typed::<u32, _>(&FDT_MAX)
        }
        FilesTable::Probed(files) => files.non_null()?.follow(&FILES_FDT)?.member(&FDT_MAX)?,
    };
    if fd as u32 >= max {
        return None;
    }
    file_of_valid(files, fd)
}

/// As [`file_of`], for an fd with which a call has just succeeded. The bounds check is not needed, because
/// tables never shrink.
#[inline(always)]
pub(crate) fn file_of_valid(files: FilesTable, fd: i32) -> Option<Kptr> {
    let array: u64 = match files {
        FilesTable::Typed(files) => files.typed_follow(&FILES_FDT).typed(&FDT_FD),
        FilesTable::Probed(files) => files.follow(&FILES_FDT)?.member(&FDT_FD)?,
    };
    Kptr(array + u64::from(fd as u32) * 8).pointer()
}
