//! Arguments of processes that ran before the hooks were attached.

use procfs::process::Process;
use tracer_common::{id::ProcessId, limits};
use tracer_core::{event::EventKind, text::Beginning};

use crate::sys::bounded;

/// The beginning of a process's arguments, and how many bytes all have. `None` if it has ended or has none.
///
/// A process can declare any part of its memory to be its arguments (`PR_SET_MM_MAP`, `prctl(2)`).
pub(super) fn arguments(process: ProcessId) -> Option<EventKind> {
    let read = bounded::beginning(format!("/proc/{}/cmdline", process.tgid), limits::ARGV).ok()?;
    let kept = read.bytes.len() as u64;
    let length = if read.is_cut { kept + 1 } else { kept };
    let Beginning { arguments: argv, is_cut: argv_cut } = Beginning::of(&read.bytes, length);
    let all = if argv_cut { declared(process).filter(|all| *all > kept) } else { None };
    let argv_bytes = all.unwrap_or(0);
    (!argv.is_empty()).then_some(EventKind::Arguments { process, argv, argv_cut, argv_bytes })
}

/// Bytes of the memory that a process declares to hold its arguments.
fn declared(process: ProcessId) -> Option<u64> {
    let stat = Process::new(i32::try_from(process.tgid).ok()?).ok()?.stat().ok()?;
    stat.arg_end?.checked_sub(stat.arg_start?)
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write as _,
        process::{Command, Stdio},
    };

    use super::*;

    /// The arguments of a process whose `execve` may not have set them yet.
    fn arguments_of(process: ProcessId) -> Option<EventKind> {
        (0..1000).find_map(|_| {
            std::thread::sleep(std::time::Duration::from_millis(1));
            arguments(process)
        })
    }

    #[test]
    fn long_arguments_are_cut_and_their_length_is_known() {
        let long = "x".repeat(10_000);
        let mut cat = Command::new("cat").args(["-", &long]).stdin(Stdio::piped()).spawn().unwrap();
        let process = ProcessId::new(cat.id(), 0);
        let seen = arguments_of(process);
        cat.kill().unwrap();
        cat.wait().unwrap();
        let kept = "x".repeat(limits::ARGV - "cat\0-\0".len());
        let kept = ["cat", "-", &kept].map(str::to_owned).to_vec();
        let argv_bytes = "cat\0-\0\0".len() as u64 + 10_000;
        let expected = EventKind::Arguments { process, argv: kept, argv_cut: true, argv_bytes };
        assert_eq!(seen, Some(expected));
    }

    #[test]
    fn short_arguments_are_whole() {
        let mut cat = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let process = ProcessId::new(cat.id(), 0);
        let seen = arguments_of(process);
        cat.stdin.take().unwrap().write_all(b"").unwrap();
        cat.wait().unwrap();
        let argv = vec!["cat".to_owned()];
        let expected = EventKind::Arguments { process, argv, argv_cut: false, argv_bytes: 0 };
        assert_eq!(seen, Some(expected));
        assert_eq!(arguments(ProcessId::new(u32::MAX, 0)), None);
    }
}
