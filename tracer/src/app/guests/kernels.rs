//! gVisor's kernels among the processes of a trace: what they were given, and whether they run.

use tracer_common::id::ProcessId;
use tracer_core::{event::HandedIn, session::Session};
use tracer_gvisor::Guest;
use tracer_loader::boot_ns;

use crate::{
    gvisor::{SandboxProcess, real_ns},
    sys::processes,
};

/// The first fd that gVisor's kernel gives to files that are handed in (`runsc/boot`, `startingStdioFD`).
const FIRST_HANDED_IN: i32 = 256;

/// The process of the session in which the sandbox of a container runs, and how many streams it was given.
pub(super) fn sentry_of(session: &Session, id: &str) -> Option<(ProcessId, usize)> {
    let mut targets = session.processes.values().filter(|process| process.is_target);
    targets.find_map(|process| {
        let argv: Vec<String> = process.argv.to_vec();
        let sandbox =
            SandboxProcess::of(process.id.tgid, &argv).filter(|sandbox| sandbox.id == id)?;
        Some((process.id, sandbox.streams))
    })
}

/// The standard streams of a sandbox's first container. A terminal is handed in once, for all three.
pub(super) fn handed_in(sandbox: u32, streams: usize) -> Vec<HandedIn> {
    let files = (0..3).map(|fd| HandedIn {
        object: tracer_gvisor::handed_in(sandbox, fd),
        fd: FIRST_HANDED_IN + if streams == 3 { fd } else { 0 },
    });
    if matches!(streams, 1 | 3) { files.collect() } else { Vec::new() }
}

/// Whether gVisor's kernel has ended: then its guests have ended as well.
pub(super) fn has_ended(session: &Session, guest: &Guest) -> bool {
    let sentry = guest.sentry();
    let is_told = session.processes.get(&sentry).is_some_and(|process| process.end_ns.is_some());
    is_told || !processes::runs(sentry.tgid)
}

/// Real time minus time since boot, in nanoseconds.
pub(in crate::app) fn real_minus_boot_ns() -> i64 {
    real_ns().saturating_sub(i64::try_from(boot_ns()).unwrap_or(i64::MAX))
}
