//! Kernel facts out of the kernel's own type information (`/sys/kernel/btf/vmlinux`).
//!
//! Rust eBPF has no CO-RE relocations, so member offsets are looked up here and handed to the
//! programs as constants. Nothing in this module knows aya.

mod members;

use std::path::{Path, PathBuf};

use btf_rs::{Btf, Type};
use tracer_common::offsets::{MISSING, OFFSETS, settings::INODE_WINDOW_BYTES};

/// Where the kernel publishes its types (`CONFIG_DEBUG_INFO_BTF`).
pub const DEFAULT_PATH: &str = "/sys/kernel/btf/vmlinux";
/// Environment variable that names another BTF file, for kernels whose BTF is shipped apart.
pub const PATH_VARIABLE: &str = "TRACER_BTF_PATH";

/// Why the kernel's types could not be used.
#[derive(Debug, thiserror::Error)]
pub enum BtfError {
    /// The file is missing, unreadable or no BTF.
    #[error(
        "cannot read the kernel's type information at {}: {reason}; tracer needs a kernel built \
         with CONFIG_DEBUG_INFO_BTF=y",
        path.display()
    )]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        reason: String,
    },
    /// A member that every trace needs does not exist in this kernel.
    #[error(
        "this kernel has no {strukt}.{member}: tracer does not know this kernel's layout; report it \
         with the output of `uname -r`"
    )]
    Missing {
        /// Kernel struct.
        strukt: &'static str,
        /// Member or path of members.
        member: &'static str,
    },
}

/// The kernel's type information.
pub struct KernelTypes {
    btf: Btf,
}

impl KernelTypes {
    /// The BTF file to use: [`PATH_VARIABLE`] or [`DEFAULT_PATH`].
    #[must_use]
    pub fn path() -> PathBuf {
        std::env::var_os(PATH_VARIABLE)
            .filter(|path| !path.is_empty())
            .map_or_else(|| PathBuf::from(DEFAULT_PATH), PathBuf::from)
    }

    /// Reads a BTF file.
    ///
    /// # Errors
    /// [`BtfError::Unreadable`].
    pub fn read(path: &Path) -> Result<Self, BtfError> {
        Btf::from_file(path).map(|btf| Self { btf }).map_err(|error| BtfError::Unreadable {
            path: path.to_owned(),
            reason: error.to_string(),
        })
    }

    /// Every offset that the eBPF programs need, by the name of the global that carries it.
    ///
    /// # Errors
    /// [`BtfError::Missing`] for a required member.
    pub fn offsets(&self) -> Result<Vec<(&'static str, u64)>, BtfError> {
        OFFSETS
            .iter()
            .map(|offset| {
                let found = members::offset(&self.btf, offset.strukt, offset.member);
                match found {
                    Some(value) => Ok((offset.global, value)),
                    None if offset.required => {
                        Err(BtfError::Missing { strukt: offset.strukt, member: offset.member })
                    }
                    None => Ok((offset.global, MISSING)),
                }
            })
            .collect()
    }

    /// Whether one read of [`INODE_WINDOW_BYTES`] covers what identity needs of `struct inode`.
    #[must_use]
    pub fn inode_fits_window(&self) -> bool {
        ["i_mode", "i_rdev", "i_ino", "i_sb"].iter().all(|member| {
            members::offset(&self.btf, "inode", member)
                .is_some_and(|offset| offset + 8 <= INODE_WINDOW_BYTES)
        })
    }

    /// Number of arguments of a tracepoint as its BTF typedef declares them, without the leading
    /// `void *__data`; `None` when the kernel has no such tracepoint.
    #[must_use]
    pub fn tracepoint_arguments(&self, name: &str) -> Option<usize> {
        let types = self.btf.resolve_types_by_name(&format!("btf_trace_{name}")).ok()?;
        let typedef = types.into_iter().find_map(|found| match found {
            Type::Typedef(typedef) => Some(typedef),
            _ => None,
        })?;
        let Type::Ptr(pointer) = self.btf.resolve_chained_type(&typedef).ok()? else { return None };
        let Type::FuncProto(prototype) = self.btf.resolve_chained_type(&pointer).ok()? else {
            return None;
        };
        prototype.parameters.len().checked_sub(1)
    }

    /// BTF id of a kernel struct.
    #[must_use]
    pub fn struct_id(&self, name: &str) -> Option<u32> {
        self.id_where(name, |found| matches!(found, Type::Struct(_)))
    }

    /// BTF id of a kernel function.
    #[must_use]
    pub fn function_id(&self, name: &str) -> Option<u32> {
        self.id_where(name, |found| matches!(found, Type::Func(_)))
    }

    fn id_where(&self, name: &str, is_wanted: impl Fn(&Type) -> bool) -> Option<u32> {
        let ids = self.btf.resolve_ids_by_name(name).ok()?;
        ids.into_iter()
            .find(|id| self.btf.resolve_type_by_id(*id).is_ok_and(|found| is_wanted(&found)))
    }

    /// Value of an enumerator, for instance `memory_cgrp_id` of `enum cgroup_subsys_id`.
    #[must_use]
    pub fn enumerator(&self, enumeration: &str, name: &str) -> Option<u32> {
        let types = self.btf.resolve_types_by_name(enumeration).ok()?;
        types.into_iter().find_map(|found| {
            let Type::Enum(found) = found else { return None };
            found.members.iter().find_map(|member| {
                (self.btf.resolve_name(member).ok()? == name).then(|| member.val())
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kernel() -> Option<KernelTypes> {
        KernelTypes::read(Path::new(DEFAULT_PATH)).ok()
    }

    #[test]
    fn every_required_member_is_found_in_the_running_kernel() {
        let Some(kernel) = kernel() else { return };
        let offsets = kernel.offsets().unwrap();
        assert_eq!(offsets.len(), OFFSETS.len());
    }

    #[test]
    fn anonymous_unions_are_walked() {
        let Some(kernel) = kernel() else { return };
        let pipe = members::offset(&kernel.btf, "inode", "i_pipe");
        assert!(pipe.is_some_and(|offset| offset > 64), "{pipe:?}");
    }

    #[test]
    fn a_missing_file_is_one_sentence() {
        let Err(error) = KernelTypes::read(Path::new("/nonexistent")) else { panic!("no error") };
        assert!(error.to_string().starts_with("cannot read the kernel's type information at /non"));
    }

    #[test]
    fn tracepoint_arguments_are_counted_without_the_data_pointer() {
        let Some(kernel) = kernel() else { return };
        assert_eq!(kernel.tracepoint_arguments("sys_exit"), Some(2));
        assert_eq!(kernel.tracepoint_arguments("no_such_tracepoint"), None);
    }
}
