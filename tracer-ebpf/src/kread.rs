//! The only reads of kernel memory.
//!
//! Three kinds. A *typed* load is a plain instruction and needs a pointer whose type the verifier
//! knows (a BTF argument, the current task, or what a typed load returned); an invalid address reads
//! as zero because the kernel handles the fault. A *cast* ([`Kptr::cast`], Linux 6.2) makes a typed
//! pointer of any address, and costs nothing at run time. A *probed* read goes through
//! `bpf_probe_read_kernel`, takes any address and reports a fault as `None`.

use aya_ebpf::helpers::bpf_probe_read_kernel;

use crate::constants::{Constant, HAS_CAST, TYPE_TIMESPEC};

/// Whether this kernel has [`Kptr::cast`].
#[inline(always)]
pub(crate) fn has_cast() -> bool {
    HAS_CAST.load() == 1
}

/// An address in kernel memory.
#[derive(Clone, Copy)]
pub(crate) struct Kptr(pub(crate) u64);

impl Kptr {
    /// This address plus the offset that BTF gave for a member.
    #[inline(always)]
    pub(crate) fn at<const N: u32>(self, offset: &Constant<N>) -> Self {
        Self(self.0.wrapping_add(offset.load()))
    }

    /// The address, unless it is NULL.
    #[inline(always)]
    pub(crate) fn non_null(self) -> Option<Self> {
        (self.0 != 0).then_some(self)
    }

    /// Reads a `T` at this address with a fault check.
    #[inline(always)]
    pub(crate) fn read<T: Copy>(self) -> Option<T> {
        // SAFETY: the helper checks the address and leaves nothing uninitialised when it succeeds;
        // `T` is an integer or an array of integers everywhere in this crate.
        unsafe { bpf_probe_read_kernel(self.0 as *const T) }.ok()
    }

    /// Reads a member with a fault check.
    #[inline(always)]
    pub(crate) fn member<T: Copy, const N: u32>(self, offset: &Constant<N>) -> Option<T> {
        self.at(offset).read()
    }

    /// Follows a pointer member with a fault check; `None` for NULL as well.
    #[inline(always)]
    pub(crate) fn follow<const N: u32>(self, offset: &Constant<N>) -> Option<Self> {
        self.member::<u64, _>(offset).and_then(|address| Self(address).non_null())
    }

    /// This address as a pointer to a kernel struct, given by its BTF type: `bpf_rdonly_cast`
    /// (`kernel/bpf/helpers.c`, Linux 6.2), which the verifier replaces by a move. Only where
    /// [`has_cast`] says so.
    #[inline(always)]
    pub(crate) fn cast<const N: u32>(self, strukt: &Constant<N>) -> Self {
        #[cfg(target_arch = "bpf")]
        // SAFETY: the loader turns the marker into a call of the kernel function, or into a move on
        // kernels without it, where the verifier sees that it is never reached; a call changes r0 to
        // r5 only. Loads through the result are typed loads: the kernel handles their faults.
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

    /// Reads a pointer that lies at this address.
    #[inline(always)]
    pub(crate) fn pointer(self) -> Option<Self> {
        if has_cast() {
            // As a number: a typed pointer could not be handed to a function that is verified apart.
            // SAFETY: as for `typed`; the struct begins with a number of 8 bytes.
            let pointer = unsafe { *(self.cast(&TYPE_TIMESPEC).0 as *const u64) };
            return Self(pointer).non_null();
        }
        self.read().map(Self).and_then(Self::non_null)
    }

    /// Loads a member of a struct whose type the verifier knows at this pointer.
    #[inline(always)]
    pub(crate) fn typed<T: Copy, const N: u32>(self, offset: &Constant<N>) -> T {
        // SAFETY: callers only pass pointers that the verifier tracks as BTF pointers; it refuses
        // the program otherwise, and the kernel's exception table turns a bad address into zero.
        unsafe { *(self.at(offset).0 as *const T) }
    }

    /// Follows a pointer member of a struct whose type the verifier knows.
    #[inline(always)]
    pub(crate) fn typed_follow<const N: u32>(self, offset: &Constant<N>) -> Self {
        // SAFETY: as for `typed`; loading as a pointer keeps the verifier's type of the member.
        Self(unsafe { *(self.at(offset).0 as *const *const u8) } as u64)
    }
}

/// Hides from the compiler that a value is already known to be small, so that it keeps the mask that
/// the verifier needs to see.
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
