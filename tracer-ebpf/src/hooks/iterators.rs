//! The two iterators that user space runs: `bpf_iter__task` and `bpf_iter__task_file` contexts
//! (`kernel/bpf/task_iter.c`, Linux 5.8). The layout is fixed ABI: 8-byte slots.

use tracer_common::{
    event::{self, kind},
    object::{mode, watch},
};

use crate::{
    events::emit,
    kernel::{
        constants::{FILE_PRIVATE, TASK_FILES},
        fdlookup,
        kread::Kptr,
        task::{self, FilesTable},
    },
    maps::slot,
    object, read_ends,
    targets::{adopt, membership, watches},
};

/// Access modes of `open(2)`.
const O_ACCMODE: u32 = 3;
const O_WRONLY: u32 = 1;

/// Adopts existing processes. User space repeats it until it finds no new one.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task")]
pub(crate) fn adopt_tasks(ctx: *const u64) -> i32 {
    // SAFETY: the context is `{ meta, task }`; the last call of an iteration has a NULL task.
    let task = Kptr(unsafe { *ctx.add(1) });
    if task.0 != 0 {
        let _ = adopt::consider(task);
    }
    0
}

/// Reports the open fds of watched objects.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task_file")]
pub(crate) fn list_holders(ctx: *const u64) -> i32 {
    // SAFETY: the context is `{ meta, task, u32 fd, file }`; the last call has NULL pointers.
    let (task, fd, file) =
        unsafe { (Kptr(*ctx.add(1)), *ctx.add(2).cast::<u32>(), Kptr(*ctx.add(3))) };
    if task.0 != 0 && file.0 != 0 {
        // Read again as an integer, because exported functions cannot take a typed pointer.
        let file = Kptr(ctx as u64 + 3 * 8).read().map(Kptr);
        let _ = file.and_then(|file| report_holder(task, fd as i32, file));
    }
    0
}

#[inline(always)]
fn report_holder(task: Kptr, fd: i32, file: Kptr) -> Option<()> {
    let state = object::file_state(file)?;
    let value = watches::value(&state.object)?;
    if value & watch::ALL_PROCESSES == 0 {
        return None;
    }
    let process = task::process_of(task)?;
    if value & watch::PASSES_ON != 0 && state.flags & O_ACCMODE != O_WRONLY {
        // From now on, its close and the end of its process are reported.
        membership::follow_participant(&process, task);
        read_ends::register(&process, fd, &state.object, file);
        // Closed since the iterator read it: the close hook may have run before the insertion.
        let files = FilesTable::Probed(task.follow(&TASK_FILES)?);
        if fdlookup::file_of(files, fd).is_none_or(|open| open.0 != file.0) {
            read_ends::forget(&process, fd);
            return None;
        }
    }
    let entry = membership::entry(process.tgid);
    let role = entry.map_or(0, |entry| membership::read(process.tgid, entry).1);
    let record = emit::start::<event::Holder>(slot::HOLDERS, kind::HOLDER)?;
    let holder = &mut record.payload;
    holder.process = process;
    holder.state = state;
    holder.fd = fd;
    holder.role = role;
    holder.comm = task::comm_of(task);
    let inode = object::inode_noinline(file)?;
    holder.queue = object::written(file, &inode);
    holder.incoming = object::incoming(file, &inode);
    (holder.size, holder.removed) = (object::file_size(&inode), object::is_removed(&inode));
    if inode.mode & mode::S_IFMT == mode::S_IFSOCK {
        holder.peer_ino = object::peer_inode(file.follow(&FILE_PRIVATE)?);
    }
    record.send(0);
    Some(())
}
