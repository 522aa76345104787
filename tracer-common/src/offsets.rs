//! What the kernel side must know before it is loaded: where a kernel struct's member lives, found in BTF,
//! and the settings of this trace.
//!
//! The loader puts each value into the instructions that ask for it, in place of a marker. The verifier
//! then sees constants and drops the branches that they rule out, and nothing is left to load at run time.

/// One member of one kernel struct, and the constant that carries its byte offset.
#[derive(Clone, Copy, Debug)]
pub struct Offset {
    /// Name of the constant.
    pub global: &'static str,
    /// Kernel struct.
    pub strukt: &'static str,
    /// Member; a dotted path walks into nested structs.
    pub member: &'static str,
    /// Whether no trace is possible without it; an optional one that is missing stays [`MISSING`].
    pub required: bool,
}

/// Value of an optional offset that this kernel does not have.
pub const MISSING: u64 = u64::MAX;

/// Declares [`OFFSETS`] and hands the global names to the eBPF crate.
#[macro_export]
macro_rules! kernel_offsets {
    ($callback:ident) => {
        $callback! {
            TASK_TGID "task_struct" "tgid" true;
            TASK_PID "task_struct" "pid" true;
            TASK_COMM "task_struct" "comm" true;
            TASK_FILES "task_struct" "files" true;
            TASK_GROUP_LEADER "task_struct" "group_leader" true;
            TASK_REAL_PARENT "task_struct" "real_parent" true;
            TASK_START "task_struct" "start_boottime" true;
            TASK_SIGNAL "task_struct" "signal" true;
            TASK_EXIT_CODE "task_struct" "exit_code" true;
            TASK_FLAGS "task_struct" "flags" true;
            TASK_MM "task_struct" "mm" true;
            TASK_STATUS "task_struct" "thread_info.status" cfg!(target_arch = "x86_64");
            TASK_THREAD_FLAGS "task_struct" "thread_info.flags" true;
            TASK_CGROUPS "task_struct" "cgroups" true;
            TASK_PID_STRUCT "task_struct" "thread_pid" true;
            SIGNAL_LIVE "signal_struct" "live" true;
            SIGNAL_THREADS "signal_struct" "nr_threads" true;
            SIGNAL_FLAGS "signal_struct" "flags" true;
            SIGNAL_EXIT_CODE "signal_struct" "group_exit_code" true;
            MM_ARG_START "mm_struct" "arg_start" true;
            MM_ARG_END "mm_struct" "arg_end" true;
            PID_LEVEL "pid" "level" true;
            PID_NUMBERS "pid" "numbers" true;
            UPID_SIZE "upid" "" true;
            UPID_NR "upid" "nr" true;
            FILES_FDT "files_struct" "fdt" true;
            FDT_MAX "fdtable" "max_fds" true;
            FDT_FD "fdtable" "fd" true;
            FILE_INODE "file" "f_inode" true;
            FILE_FLAGS "file" "f_flags" true;
            FILE_MODE "file" "f_mode" true;
            FILE_PRIVATE "file" "private_data" true;
            FILE_DENTRY "file" "f_path.dentry" true;
            FILE_MNT "file" "f_path.mnt" true;
            INODE_INO "inode" "i_ino" true;
            INODE_MODE "inode" "i_mode" true;
            INODE_RDEV "inode" "i_rdev" true;
            INODE_SB "inode" "i_sb" true;
            INODE_SIZE "inode" "i_size" true;
            INODE_NLINK "inode" "i_nlink" true;
            INODE_WRITERS "inode" "i_writecount" true;
            INODE_GENERATION "inode" "i_generation" true;
            INODE_PIPE "inode" "i_pipe" true;
            SB_DEV "super_block" "s_dev" true;
            SB_MAGIC "super_block" "s_magic" true;
            KSIG_HANDLER "k_sigaction" "sa.sa_handler" true;
            KSIG_FLAGS "k_sigaction" "sa.sa_flags" true;
            DENTRY_PARENT "dentry" "d_parent" true;
            DENTRY_NAME "dentry" "d_name.name" true;
            MOUNT_PARENT "mount" "mnt_parent" true;
            MOUNT_POINT "mount" "mnt_mountpoint" true;
            MOUNT_MNT "mount" "mnt" true;
            VFSMOUNT_ROOT "vfsmount" "mnt_root" true;
            PIPE_HEAD "pipe_inode_info" "head" true;
            PIPE_TAIL "pipe_inode_info" "tail" true;
            PIPE_SLOTS "pipe_inode_info" "ring_size" true;
            PIPE_READERS "pipe_inode_info" "readers" true;
            PIPE_WRITERS "pipe_inode_info" "writers" true;
            PIPE_BUFS "pipe_inode_info" "bufs" true;
            PIPE_BUFFER_SIZE "pipe_buffer" "" true;
            PIPE_BUFFER_LEN "pipe_buffer" "len" true;
            TTY_FILE_TTY "tty_file_private" "tty" true;
            TTY_FILE_FILE "tty_file_private" "file" true;
            TTY_FILE_LIST "tty_file_private" "list" true;
            TTY_FILES "tty_struct" "tty_files" true;
            TTY_LINK "tty_struct" "link" true;
            TTY_INDEX "tty_struct" "index" true;
            TTY_DRIVER "tty_struct" "driver" true;
            TTY_DRIVER_MAJOR "tty_driver" "major" true;
            SOCKET_SK "socket" "sk" true;
            SOCKET_FILE "socket" "file" true;
            SOCKET_TYPE "socket" "type" true;
            SOCK_SOCKET "sock" "sk_socket" true;
            SOCK_FAMILY "sock_common" "skc_family" true;
            SOCK_DPORT "sock_common" "skc_dport" true;
            SOCK_NUM "sock_common" "skc_num" true;
            SOCK_DADDR "sock_common" "skc_daddr" true;
            SOCK_RCV_SADDR "sock_common" "skc_rcv_saddr" true;
            SOCK_V6_DADDR "sock_common" "skc_v6_daddr" false;
            SOCK_V6_RCV_SADDR "sock_common" "skc_v6_rcv_saddr" false;
            UNIX_PEER "unix_sock" "peer" true;
            UNIX_ADDR "unix_sock" "addr" true;
            UNIX_ADDRESS_LEN "unix_address" "len" true;
            UNIX_ADDRESS_NAME "unix_address" "name" true;
            SOCKET_ALLOC_INODE "socket_alloc" "vfs_inode" true;
            SOCKET_ALLOC_SOCKET "socket_alloc" "socket" true;
            CSS_SET_DFL "css_set" "dfl_cgrp" true;
            CSS_SET_SUBSYS "css_set" "subsys" true;
            CSS_CGROUP "cgroup_subsys_state" "cgroup" true;
            CSS_PARENT "cgroup_subsys_state" "parent" true;
            CGROUP_SELF "cgroup" "self" true;
            CGROUP_KN "cgroup" "kn" true;
            KN_ID "kernfs_node" "id" true;
            URING_FILE_OFF "io_kiocb" "file" false;
            URING_OPCODE "io_kiocb" "opcode" false;
            URING_FLAGS "io_kiocb" "flags" false;
            URING_CQE_FD "io_kiocb" "cqe.fd" false;
            URING_CQE_FLAGS "io_kiocb" "cqe.flags" false;
            URING_RW_ADDRESS "io_rw" "addr" false;
            URING_RW_LENGTH "io_rw" "len" false;
            URING_MSG_ADDRESS "io_sr_msg" "umsg" false;
            URING_MSG_LENGTH "io_sr_msg" "len" false;
        }
    };
}

macro_rules! declare_offsets {
    ($($global:ident $strukt:literal $member:literal $required:expr;)*) => {
        #[expect(non_camel_case_types, reason = "the names of constants")]
        enum OffsetNumber { $($global,)* }

        /// Numbers of the offsets, which is also their order in [`OFFSETS`].
        pub mod number {
            $(
                #[doc = concat!("Number of the offset of `", $strukt, ".", $member, "`.")]
                pub const $global: u32 = super::OffsetNumber::$global as u32;
            )*
        }

        /// Every member that the eBPF programs read. An empty member asks for the struct's size.
        pub const OFFSETS: &[Offset] = &[
            $(Offset {
                global: stringify!($global), strukt: $strukt, member: $member, required: $required,
            },)*
        ];
    };
}
kernel_offsets!(declare_offsets);

/// Hands the names and docs of all settings to `$callback`.
#[macro_export]
macro_rules! kernel_settings {
    ($callback:ident) => {
        $callback! {
            FD_MASK "Bit n set when fd n is of interest.";
            ALL_FDS "1 when every fd is of interest.";
            FOLLOW_CHILDREN "1 when children of targets become targets.";
            BY_CGROUP "1 when cgroup membership makes a target.";
            CGROUP_SUBSYS "Index into `css_set.subsys`, or [`CGROUP_V2`].";
            SELF_TGID "Tgid of the tracer itself, never counted.";
            FOLLOW_READERS "How many readers away from the target output is followed.";
            HAS_TASK_BTF "1 when the kernel has `bpf_get_current_task_btf` (5.11).";
            DEBUG_LOG "1 when `aya-log` debug records are wanted; else the verifier drops them.";
            URING_CQE_ARG "1 when `io_uring_complete` carries a `struct io_uring_cqe *` (6.15), 0 when it carries the result itself.";
            HAS_CAST "1 when `bpf_rdonly_cast` exists (Linux 6.2).";
            TYPE_FILE "BTF id of `struct file`.";
            TYPE_TASK "BTF id of `struct task_struct`.";
            TYPE_TIMESPEC "BTF id of `struct timespec64`, which begins with a number of 8 bytes.";
            INODE_WINDOW "1 when every offset into `struct inode` that identity needs fits one short read.";
            URING_COVERED "1 when the io_uring hooks are attached, so that use of io_uring is covered.";
            CAPTURE "1 when what is written is captured.";
            CAPTURE_LIMIT "Bytes captured of each ledger row; `u64::MAX` for all.";
            CAPTURE_WAKE "Bytes waiting in the capture ring that wake its reader.";
        }
    };
}

macro_rules! declare_settings {
    ($($setting:ident $doc:literal;)*) => {
        #[expect(
            non_camel_case_types,
            clippy::upper_case_acronyms,
            reason = "the names of constants"
        )]
        enum SettingNumber { $($setting,)* }

        /// Constants that carry settings rather than offsets; their numbers follow those of the offsets.
        pub mod settings {
            $(
                #[doc = $doc]
                pub const $setting: u32 =
                    super::OFFSETS.len() as u32 + super::SettingNumber::$setting as u32;
            )*
            /// How many constants there are, offsets included.
            pub const COUNT: usize = super::OFFSETS.len() + [$(super::SettingNumber::$setting),*].len();
            /// How many bytes of `struct inode` are read at once where `INODE_WINDOW` is 1.
            pub const INODE_WINDOW_BYTES: u64 = 96;
            /// The `CGROUP_SUBSYS` of the unified (v2) hierarchy.
            pub const CGROUP_V2: u32 = u32::MAX;
        }
    };
}
kernel_settings!(declare_settings);

/// What stands in the object where the loader puts something in before the verifier looks at it. Rust eBPF
/// has no relocations for kernel types and functions.
pub mod marker {
    /// Upper half of the 64-bit immediate that stands for a constant; the lower half is its number.
    pub const CONSTANT: u64 = 0x5eed_c0de_0000_0000;
    /// Number of a called helper that stands for the kernel function `bpf_rdonly_cast`.
    pub const RDONLY_CAST: i32 = 0x5eed_ca57;
}
