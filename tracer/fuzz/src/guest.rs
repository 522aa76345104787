//! Messages of a gVisor sandbox: give events and rows of a session, or are counted as unreadable.

use tracer_common::id::ProcessId;
use tracer_core::{
    report,
    session::{Session, Target},
};
use tracer_gvisor::{Guest, Identity, Output};

use crate::{decode::records, oracle::check_report};

/// Takes any bytes as messages, each after its length in two bytes.
pub fn check(input: &[u8]) {
    let identity = Identity {
        container: "c1".to_owned(),
        number: 1,
        sentry: ProcessId::new(9, 1),
        real_minus_boot_ns: 0,
        fds: 0b110,
        all_fds: input.len().is_multiple_of(2),
    };
    let mut session = Session::default();
    let mut guest = Guest::new(identity);
    for packet in records(input) {
        guest.take(packet);
        apply(&mut session, guest.output());
    }
    guest.finish(u64::MAX / 2, input.len().is_multiple_of(3));
    apply(&mut session, guest.output());
    for (reason, cell) in guest.losses() {
        session.add_loss(reason, cell);
    }
    session.join_sandboxes();
    let start = jiff::Timestamp::UNIX_EPOCH;
    let target = Target { kind: "pid".into(), name: "--pid 9".into(), pids: vec![9], doubt: None };
    check_report(&report::build(&session, target, start, &[1, 2]).0);
}

fn apply(session: &mut Session, output: Output) {
    let Output { events, rows } = output;
    events.iter().for_each(|event| session.apply(event));
    rows.iter().for_each(|(key, row)| session.add_row(*key, row));
}
