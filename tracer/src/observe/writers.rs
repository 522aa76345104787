//! Which process can write to a pipe that no hook watches: a manager waits for the end of its child's output, and a
//! process that the child has left behind holds the pipe open.

use std::{
    fs::{read_dir, read_link},
    path::Path,
    time::{Duration, Instant},
};

use tracer_common::id::ProcessId;
use tracer_core::{session::named, text};

use super::identity::flags_of_fd;
use crate::sys::bounded;

/// How many processes are looked at most, how many fds of each, and for how long.
const MOST_PROCESSES: usize = 8192;
const MOST_FDS: usize = 256;
const AT_MOST: Duration = Duration::from_millis(100);

/// A process that holds the write end of a pipe (`pipe:[9]`), in words: another one than the reader, if there is one.
pub(super) fn writer_of(pipe: &str, reader: u32) -> Option<String> {
    let began = Instant::now();
    let processes = read_dir("/proc").ok()?.flatten().take(MOST_PROCESSES);
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let in_time = pids.take_while(|_| began.elapsed() < AT_MOST);
    let mut others = in_time.filter(|pid| *pid != reader);
    match others.find(|pid| holds(*pid, pipe)) {
        Some(pid) => {
            let comm = bounded::text(format!("/proc/{pid}/comm")).unwrap_or_default();
            Some(named(&text::name(comm.trim()), ProcessId::new(pid, 0)))
        }
        None => holds(reader, pipe).then(|| "it itself".to_owned()),
    }
}

/// Whether a process has an fd for writing to a pipe.
fn holds(pid: u32, pipe: &str) -> bool {
    let fds = read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten().take(MOST_FDS);
    fds.into_iter().any(|fd| {
        let number = || fd.file_name().to_str()?.parse::<i32>().ok();
        read_link(fd.path()).is_ok_and(|link| link == Path::new(pipe))
            && number().and_then(|fd| flags_of_fd(pid, fd)).is_some_and(can_write)
    })
}

/// Whether an open file with these flags can be written to (`open(2)`).
const fn can_write(flags: u32) -> bool {
    flags & libc::O_ACCMODE as u32 != libc::O_RDONLY as u32
}
