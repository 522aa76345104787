//! Parts of a report of a build with many commands.

use tracer_core::{
    report::{Object, Process, Report},
    verdict::{Finding, Rule, Severity},
};

use super::{endpoint, exited, fd, finding, pid_report, pipe, process, stdio};

/// A report of `make`, to which compilers are added.
pub(in crate::render::tests) fn all_well() -> Report {
    let mut report = pid_report("");
    report.processes = vec![Process { exit: None, ..process(100, 60, &["make", "-j4"], 0.0) }];
    report
}

/// A compiler that wrote to its stderr.
pub(in crate::render::tests) fn compiler(pid: u32, pipe: &str, bytes: u64) -> Process {
    let unit = format!("unit{pid}.c");
    let start = f64::from(pid) * 10.0;
    Process {
        fds: vec![fd(2, pipe, bytes, 2, (start + 5.0, start + 6.0))],
        stdio: stdio("pipe:[87999]", pipe),
        ..exited(process(pid, 100, &["/usr/lib/gcc/cc1", "-O2", &unit], start), 1, start + 9.0)
    }
}

/// A shell of a recipe.
pub(in crate::render::tests) fn silent_shell(pid: u32) -> Process {
    let start = f64::from(pid);
    exited(process(pid, 100, &["sh", "-c", "test -f Makefile"], start), 0, start + 2.0)
}

/// A pipe whose content was read.
pub(in crate::render::tests) fn pipe_between(id: &str, writer: &Process, reader: u32) -> Object {
    let bytes = writer.fds.iter().map(|row| row.bytes).sum();
    Object {
        written: bytes,
        read: bytes,
        writers: vec![endpoint(writer.pid, &writer.comm, bytes)],
        readers: vec![endpoint(reader, "make", bytes)],
        ..pipe(id)
    }
}

/// The finding about a compiler whose output was read.
pub(in crate::render::tests) fn all_read(process: &Process) -> Finding {
    let (pid, bytes) = (process.pid, process.fds[0].bytes);
    Finding {
        message: format!(
            "cc1 unit{pid}.c (pid {pid}) wrote {bytes} B to stderr, all read by make (pid 100)."
        ),
        ..finding(Rule::Delivered, Severity::Info, pid)
    }
}
