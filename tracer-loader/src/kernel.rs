//! The kernel's types in the two forms that loading and attaching need.

use aya::Btf;

use crate::btf::KernelTypes;

/// The kernel's types, needed until the hooks are attached: some megabytes.
pub(crate) struct Kernel {
    /// The types in tracer's own form.
    pub(crate) types: KernelTypes,
    /// The types in aya's form. aya looks up in it what programs attach to.
    pub(crate) targets: Btf,
}
