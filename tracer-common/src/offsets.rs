//! Load-time constants of the eBPF programs: offsets of kernel struct members, found in BTF, and the settings
//! of the trace.
//!
//! The loader replaces markers in the instructions by the values. The verifier then sees constants and removes
//! branches that can never run. No value has to be loaded at run time.

/// One member of one kernel struct, and the constant that carries its byte offset.
#[derive(Clone, Copy, Debug)]
pub struct Offset {
    /// Name of the constant.
    pub global: &'static str,
    /// Kernel struct.
    pub strukt: &'static str,
    /// Member; a dotted path names a member of a nested struct.
    pub member: &'static str,
    /// Whether tracing is impossible without it. An optional member that the kernel does not have is
    /// [`MISSING`].
    pub required: bool,
}

/// Value of an optional offset that this kernel does not have.
pub const MISSING: u64 = u64::MAX;

/// Calls `$callback` with all offsets: constant, struct, member, required.
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
            TASK_ON_CPU "task_struct" "on_cpu" false;
            TASK_STATUS "task_struct" "thread_info.status" cfg!(target_arch = "x86_64");
            TASK_THREAD_FLAGS "task_struct" "thread_info.flags" true;
            TASK_CGROUPS "task_struct" "cgroups" true;
            TASK_PID_STRUCT "task_struct" "thread_pid" true;
            TASK_WORK "task_struct" "thread_info.syscall_work" false;
            TASK_PTRACE "task_struct" "ptrace" true;
            TASK_TRACER "task_struct" "parent" true;
            TASK_FILTER "task_struct" "seccomp.filter" false;
            TASK_PENDING "task_struct" "pending.signal" true;
            TASK_PENDING_LIST "task_struct" "pending.list" true;
            TASK_BLOCKED "task_struct" "blocked" true;
            TASK_READ "task_struct" "ioac.rchar" false;
            TASK_WRITTEN "task_struct" "ioac.wchar" false;
            SIGQUEUE_CODE "sigqueue" "info.si_code" true;
            SECCOMP_PREVIOUS "seccomp_filter" "prev" false;
            SECCOMP_NOTIFY "seccomp_filter" "notif" false;
            SIGNAL_LIVE "signal_struct" "live" true;
            SIGNAL_THREAD_LIST "signal_struct" "thread_head" true;
            TASK_THREAD_LIST "task_struct" "thread_node" true;
            TASK_STACK "task_struct" "stack" true;
            SIGNAL_THREADS "signal_struct" "nr_threads" true;
            SIGNAL_FLAGS "signal_struct" "flags" true;
            SIGNAL_EXIT_CODE "signal_struct" "group_exit_code" true;
            MM_USERS "mm_struct" "mm_users" true;
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
            FILE_COUNT "file" "f_count" false;
            FILE_REF "file" "f_ref" false;
            FILE_DENTRY "file" "f_path.dentry" true;
            FILE_MNT "file" "f_path.mnt" true;
            INODE_INO "inode" "i_ino" true;
            INODE_MODE "inode" "i_mode" true;
            INODE_RDEV "inode" "i_rdev" true;
            INODE_SB "inode" "i_sb" true;
            INODE_SIZE "inode" "i_size" true;
            INODE_NLINK "inode" "i_nlink" true;
            INODE_COUNT "inode" "i_count" false;
            INODE_WRITERS "inode" "i_writecount" true;
            INODE_GENERATION "inode" "i_generation" true;
            INODE_PIPE "inode" "i_pipe" true;
            SB_DEV "super_block" "s_dev" true;
            SB_MAGIC "super_block" "s_magic" true;
            SB_ROOT "super_block" "s_root" true;
            SB_INFO "super_block" "s_fs_info" true;
            KSIG_HANDLER "k_sigaction" "sa.sa_handler" true;
            KSIG_FLAGS "k_sigaction" "sa.sa_flags" true;
            DENTRY_PARENT "dentry" "d_parent" true;
            DENTRY_INODE "dentry" "d_inode" true;
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
            TTY_DRIVER_DATA "tty_struct" "driver_data" true;
            TTY_DRIVER_MAJOR "tty_driver" "major" true;
            TTY_PORT "tty_struct" "port" false;
            TTY_DISC_DATA "tty_struct" "disc_data" false;
            TTY_LDISC "tty_struct" "ldisc" false;
            LDISC_OPS "tty_ldisc" "ops" false;
            LDISC_NUM "tty_ldisc_ops" "num" false;
            PORT_BUFFERS "tty_port" "buf.head" false;
            TTY_BUFFER_NEXT "tty_buffer" "next" false;
            TTY_BUFFER_USED "tty_buffer" "used" false;
            TTY_BUFFER_READ "tty_buffer" "read" false;
            N_TTY_HEAD "n_tty_data" "read_head" false;
            N_TTY_TAIL "n_tty_data" "read_tail" false;
            SOCKET_SK "socket" "sk" true;
            SOCKET_FILE "socket" "file" true;
            SOCKET_TYPE "socket" "type" true;
            SOCK_SOCKET "sock" "sk_socket" true;
            SOCK_FLAGS "sock_common" "skc_flags" true;
            SOCK_RECEIVE_QUEUE "sock" "sk_receive_queue" true;
            SKB_NEXT "sk_buff" "next" true;
            SKB_LEN "sk_buff" "len" true;
            SKB_CB "sk_buff" "cb" true;
            SOCK_FAMILY "sock_common" "skc_family" true;
            SOCK_SEND_BUFFER "sock" "sk_sndbuf" true;
            SOCK_STATE "sock_common" "skc_state" true;
            SOCK_PROTOCOL "sock" "sk_protocol" true;
            TCP_ARRIVED "tcp_sock" "rcv_nxt" false;
            TCP_COPIED "tcp_sock" "copied_seq" false;
            SOCK_DPORT "sock_common" "skc_dport" true;
            SOCK_NUM "sock_common" "skc_num" true;
            SOCK_DADDR "sock_common" "skc_daddr" true;
            SOCK_RCV_SADDR "sock_common" "skc_rcv_saddr" true;
            SOCK_V6_DADDR "sock_common" "skc_v6_daddr" false;
            SOCK_V6_RCV_SADDR "sock_common" "skc_v6_rcv_saddr" false;
            UNIX_PEER "unix_sock" "peer" true;
            UNIX_CONSUMED "unix_skb_parms" "consumed" false;
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
            URING_MSG_FLAGS "io_sr_msg" "msg_flags" false;
            URING_RECEIVE_FLAGS "io_sr_msg" "flags" false;
            URING_RING "io_kiocb" "ctx" false;
            URING_USER_DATA "io_kiocb" "cqe.user_data" false;
            URING_CONTEXT "io_kiocb" "tctx" false;
            URING_CONTEXT_TASK "io_uring_task" "task" false;
            URING_TASK "io_kiocb" "task" false;
            URING_SPLICE_FD "io_splice" "splice_fd_in" false;
            URING_SPLICE_FLAGS "io_splice" "flags" false;
            URING_SPLICE_NODE "io_splice" "rsrc_node" false;
            URING_NODE_FILE "io_rsrc_node" "file_ptr" false;
        }
    };
}

macro_rules! declare_offsets {
    ($($global:ident $strukt:literal $member:literal $required:expr;)*) => {
        #[expect(non_camel_case_types, reason = "the names of constants")]
        enum OffsetNumber { $($global,)* }

        /// Numbers of the offsets: their indices in [`OFFSETS`].
        pub mod number {
            $(
                #[doc = concat!("Number of the offset of `", $strukt, ".", $member, "`.")]
                pub const $global: u32 = super::OffsetNumber::$global as u32;
            )*
        }

        /// Every member that the eBPF programs read. An empty member stands for the size of the struct.
        pub const OFFSETS: &[Offset] = &[
            $(Offset {
                global: stringify!($global), strukt: $strukt, member: $member, required: $required,
            },)*
        ];
    };
}
kernel_offsets!(declare_offsets);

/// Calls `$callback` with all settings: constant and doc comment.
#[macro_export]
macro_rules! kernel_settings {
    ($callback:ident) => {
        $callback! {
            FD_MASK "Bit n is 1 if fd n is of interest.";
            ALL_FDS "1 if every fd is of interest.";
            FOLLOW_CHILDREN "1 if children of targets become targets.";
            BY_CGROUP "1 if members of the cgroups in the map `CGROUPS` become targets.";
            AWAITS_PROCESSES "1 if processes in the map `AWAITED` become targets when they execute a program.";
            CGROUP_SUBSYS "Index into `css_set.subsys`, or `CGROUP_V2`.";
            TRACE_START "Start of the trace, nanoseconds since boot.";
            FOLLOW_READERS "The largest hop: output is followed through this many readers.";
            HAS_TASK_BTF "1 if the kernel has `bpf_get_current_task_btf` (Linux 5.11).";
            DEBUG_LOG "1 if `aya-log` debug records are enabled; otherwise the verifier removes their code.";
            URING_CQE_ARG "1 if `io_uring_complete` has a `struct io_uring_cqe *` (Linux 6.15), 0 if it has the result itself.";
            HAS_CAST "1 if the kernel has `bpf_rdonly_cast` (Linux 6.2).";
            TYPE_FILE "BTF id of `struct file`.";
            TYPE_TASK "BTF id of `struct task_struct`.";
            TYPE_TIMESPEC "BTF id of `struct timespec64`, whose first member is an 8-byte integer.";
            INODE_WINDOW "1 if one read of `INODE_WINDOW_BYTES` covers all members of `struct inode` that the identity needs.";
            URING_COVERED "1 if the io_uring hooks are attached.";
            FEXIT "1 if programs on the kernel's functions of system calls may count beside the one on `sys_exit`.";
            CAPTURE "1 if written data is captured.";
            CAPTURE_LIMIT "Maximum number of bytes captured per ledger row; `u64::MAX` for no limit.";
            CAPTURE_WAKE "Unread bytes in the capture ring at which its reader is woken.";
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

        /// Numbers of the settings. They follow the numbers of the offsets.
        pub mod settings {
            $(
                #[doc = $doc]
                pub const $setting: u32 =
                    super::OFFSETS.len() as u32 + super::SettingNumber::$setting as u32;
            )*
            /// Number of all constants, including offsets.
            pub const COUNT: usize = super::OFFSETS.len() + [$(super::SettingNumber::$setting),*].len();
            /// Number of bytes of `struct inode` that one read covers if `INODE_WINDOW` is 1.
            pub const INODE_WINDOW_BYTES: u64 = 96;
            /// The `CGROUP_SUBSYS` of the unified (v2) hierarchy.
            pub const CGROUP_V2: u32 = u32::MAX;
        }
    };
}
kernel_settings!(declare_settings);

/// Markers in the object file that the loader replaces before it loads the programs. Rust eBPF has no
/// relocations for kernel types and functions.
pub mod marker {
    /// Upper half of the 64-bit immediate of a constant; the lower half is the number of the constant.
    pub const CONSTANT: u64 = 0x5eed_c0de_0000_0000;
    /// Helper number that marks a call of the kernel function `bpf_rdonly_cast`.
    pub const RDONLY_CAST: i32 = 0x5eed_ca57;
}
