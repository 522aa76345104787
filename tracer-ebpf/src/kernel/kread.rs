//! All reads of kernel memory.
//!
//! There are two kinds of reads. A *typed* load is a plain instruction. It needs a pointer whose type the
//! verifier knows: a BTF argument, the current task, or the result of a typed load. An invalid address reads as
//! zero, because the kernel handles the fault. A *probed* read calls `bpf_probe_read_kernel`, accepts any address
//! and returns `None` on a fault. A *cast* ([`Kptr::cast`], Linux 6.2) turns any address into a typed pointer at
//! no cost at run time.

use aya_ebpf::helpers::bpf_probe_read_kernel;

use crate::kernel::constants::{Constant, HAS_CAST, TYPE_TIMESPEC};

/// Whether this kernel has [`Kptr::cast`].
#[inline(always)]
pub(crate) fn has_cast() -> bool {
    HAS_CAST.load() == 1
}

/// An address in kernel memory.
#[derive(Clone, Copy)]
pub(crate) struct Kptr(pub(crate) u64);

impl Kptr {
    /// This address plus the offset of a member.
    #[inline(always)]
    pub(crate) fn at<const N: u32>(self, offset: &Constant<N>) -> Self {
        Self(self.0.wrapping_add(offset.load()))
    }

    /// The address, unless it is NULL.
    #[inline(always)]
    pub(crate) fn non_null(self) -> Option<Self> {
        (self.0 != 0).then_some(self)
    }

    /// Reads a `T` at this address by a probed read.
    #[inline(always)]
    pub(crate) fn read<T: Copy>(self) -> Option<T> {
        // SAFETY: the helper checks the address and initialises the whole value if it succeeds;
        // `T` is an integer or an array of integers everywhere in this crate.
        unsafe { bpf_probe_read_kernel(self.0 as *const T) }.ok()
    }

    /// Reads a member by a probed read.
    #[inline(always)]
    pub(crate) fn member<T: Copy, const N: u32>(self, offset: &Constant<N>) -> Option<T> {
        self.at(offset).read()
    }

    /// Reads a pointer member by a probed read; `None` for NULL as well.
    #[inline(always)]
    pub(crate) fn follow<const N: u32>(self, offset: &Constant<N>) -> Option<Self> {
        self.member::<u64, _>(offset).and_then(|address| Self(address).non_null())
    }

    /// This address as a pointer to a kernel struct, given by its BTF type: `bpf_rdonly_cast`
    /// (`kernel/bpf/helpers.c`, Linux 6.2), which the verifier replaces by a move. Requires
    /// [`has_cast`].
    #[inline(always)]
    pub(crate) fn cast<const N: u32>(self, strukt: &Constant<N>) -> Self {
        #[cfg(target_arch = "bpf")]
        // SAFETY: the loader replaces the marker by a call of the kernel function. On kernels without it, it
        // is replaced by a move, and the verifier sees that it is never reached. A call changes r0 to r5 only.
        // Loads through the result are typed loads: the kernel handles their faults.
        unsafe {
            let address: u64;
            core::arch::asm!(
                "call {marker}",
                marker = const tracer_common::offsets::marker::RDONLY_CAST,
                inlateout("r1") self.0 => _,
                inlateout("r2") strukt.load() => _,
                lateout("r0") address,
                lateout("r3") _,
                lateout("r4") _,
                lateout("r5") _,
            );
            Self(address)
        }
        #[cfg(not(target_arch = "bpf"))]
        {
            let _ = strukt.load();
            self
        }
    }

    /// Reads a pointer at this address.
    #[inline(always)]
    pub(crate) fn pointer(self) -> Option<Self> {
        if has_cast() {
            // Loaded as an integer, because exported functions cannot take a typed pointer.
            // SAFETY: as for `typed`; the struct starts with an 8-byte integer.
            let pointer = unsafe { *(self.cast(&TYPE_TIMESPEC).0 as *const u64) };
            return Self(pointer).non_null();
        }
        self.read().map(Self).and_then(Self::non_null)
    }

    /// Loads a member of a struct whose type the verifier knows at this pointer.
    #[inline(always)]
    pub(crate) fn typed<T: Copy, const N: u32>(self, offset: &Constant<N>) -> T {
        // SAFETY: callers only pass pointers that the verifier tracks as BTF pointers; otherwise it
        // rejects the program. A load from a bad address returns zero (exception table of the kernel).
        unsafe { *(self.at(offset).0 as *const T) }
    }

    /// Loads a pointer member of a struct whose type the verifier knows.
    #[inline(always)]
    pub(crate) fn typed_follow<const N: u32>(self, offset: &Constant<N>) -> Self {
        // SAFETY: as for `typed`. Loaded as a pointer, so that the verifier knows the type of the result.
        Self(unsafe { *(self.at(offset).0 as *const *const u8) } as u64)
    }
}

/// Hides the range of a value from the compiler, so that it does not remove the mask that the verifier needs.
#[inline(always)]
pub(crate) fn bounded(value: u32) -> u32 {
    #[cfg(target_arch = "bpf")]
    // SAFETY: moves a register onto itself. (An empty template would break the line information.)
    unsafe {
        let mut value = u64::from(value);
        core::arch::asm!("{0} = {0}", inout(reg) value, options(nomem, nostack));
        value as u32
    }
    #[cfg(not(target_arch = "bpf"))]
    value
}
