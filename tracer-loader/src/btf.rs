//! Kernel facts out of the kernel's own type information (`/sys/kernel/btf/vmlinux`).
//!
//! Rust eBPF has no CO-RE relocations, so member offsets are looked up here and handed to the
//! programs as constants. Nothing in this module knows aya.

mod members;
mod raw;
#[cfg(test)]
pub(crate) mod tests;

use std::path::{Path, PathBuf};

use tracer_common::offsets::{MISSING, OFFSETS, settings::INODE_WINDOW_BYTES};

use self::raw::{Raw, Record, kind};

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

/// The kernel's type information: some megabytes, needed until the programs are attached.
pub struct KernelTypes {
    types: Raw,
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
        let unreadable = |reason: String| BtfError::Unreadable { path: path.to_owned(), reason };
        let data = std::fs::read(path).map_err(|error| unreadable(error.to_string()))?;
        let types = Raw::parse(data).map_err(|reason| unreadable(format!("it {reason}")))?;
        Ok(Self { types })
    }

    /// Every offset that the eBPF programs need, by the name of the global that carries it.
    ///
    /// # Errors
    /// [`BtfError::Missing`] for a required member.
    pub fn offsets(&self) -> Result<Vec<(&'static str, u64)>, BtfError> {
        OFFSETS
            .iter()
            .map(|offset| {
                let found = members::offset(&self.types, offset.strukt, offset.member);
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

    /// Offset of a member of a struct in bytes.
    #[must_use]
    pub fn offset_in(&self, strukt: &str, member: &str) -> Option<u64> {
        members::offset(&self.types, strukt, member)
    }

    /// Whether one read of [`INODE_WINDOW_BYTES`] covers what identity needs of `struct inode`.
    #[must_use]
    pub fn inode_fits_window(&self) -> bool {
        ["i_mode", "i_rdev", "i_ino", "i_sb"].iter().all(|member| {
            members::offset(&self.types, "inode", member)
                .is_some_and(|offset| offset + 8 <= INODE_WINDOW_BYTES)
        })
    }

    /// Number of arguments of a tracepoint as its BTF typedef declares them, without the leading
    /// `void *__data`; `None` when the kernel has no such tracepoint.
    #[must_use]
    pub fn tracepoint_arguments(&self, name: &str) -> Option<usize> {
        // It is declared by a typedef (`include/trace/bpf_probe.h`).
        let (_, typedef) = self.named(&format!("btf_trace_{name}"), kind::TYPEDEF)?;
        let pointer = self.types.record(typedef.size_or_type)?;
        let prototype = self.types.record(pointer.size_or_type)?;
        if pointer.kind != kind::PTR || prototype.kind != kind::FUNC_PROTO {
            return None;
        }
        prototype.count.checked_sub(1)
    }

    fn named(&self, name: &str, kind: u32) -> Option<(u32, Record)> {
        self.types.named(name).find(|(_, record)| record.kind == kind)
    }

    /// BTF id of a kernel struct.
    #[must_use]
    pub fn struct_id(&self, name: &str) -> Option<u32> {
        Some(self.named(name, kind::STRUCT)?.0)
    }

    /// BTF id of `bpf_rdonly_cast` (Linux 6.2).
    #[must_use]
    pub fn rdonly_cast_id(&self) -> Option<u32> {
        Some(self.named("bpf_rdonly_cast", kind::FUNC)?.0)
    }

    /// Value of an enumerator, for instance `memory_cgrp_id` of `enum cgroup_subsys_id`.
    #[must_use]
    pub fn enumerator(&self, enumeration: &str, name: &str) -> Option<u32> {
        self.types.named(enumeration).filter(|(_, found)| found.kind == kind::ENUM).find_map(
            |(_, found)| {
                let mut enumerators = self.types.enumerators(&found);
                enumerators.find_map(|(known, value)| (known == name.as_bytes()).then_some(value))
            },
        )
    }
}
