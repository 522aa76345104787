//! Processes that were adopted in the middle of a redirection: a shell that runs `command >file`.

use tracer_common::{
    id::ProcessId,
    ledger::{LedgerRow, error},
    process::ROLE_TARGET,
};

use super::scene::*;
use crate::{
    event::{BlockedCall, Event, EventKind, Image},
    session::Session,
    verdict::Confidence,
};

const SHELL: u32 = 9;

/// A shell adopted with `/dev/null` on fd 1, which then wrote to a pipe through fd 1.
fn shell() -> Scene {
    let scene = managed(&["true"]).adopted(SHELL, "sh", [NULL, NULL, ERR]);
    scene.wrote(SHELL, 1, OUT, write(6)).read(MANAGER, OUT, 6, 110)
}

/// Rule and bytes on stdout of the first finding about the shell.
fn first_finding(scene: &Scene) -> (Rule, u64) {
    let findings = scene.judged();
    let about = findings.iter().find(|finding| finding.pid == SHELL);
    let finding = about.unwrap_or_else(|| panic!("nothing about it: {findings:#?}"));
    (finding.rule, finding.evidence["stdout_bytes"].as_u64().unwrap())
}

#[test]
fn the_restored_object_is_its_stdout() {
    let ended = shell().exited_with(SHELL, 200, [NULL, OUT, ERR]);
    assert_eq!(first_finding(&ended), (Rule::Delivered, 6));
    let running = shell().holds(SHELL, 1, OUT);
    assert_eq!(first_finding(&running).1, 6);
    // Bytes that it wrote to /dev/null do not matter.
    let noisy = ended.wrote(SHELL, 1, NULL, write(100));
    assert_eq!(first_finding(&noisy), (Rule::Delivered, 6));
}

#[test]
fn an_object_that_fd_1_does_not_point_to_in_the_end_is_not_its_stdout() {
    let aside = shell().exited_with(SHELL, 200, [NULL, NULL, ERR]);
    assert_eq!(first_finding(&aside).1, 0);
    assert_eq!(first_finding(&shell()).1, 0);
}

/// A daemon that writes to its log from then on: the object that it was adopted with may have been read, or writes to
/// it may have failed.
#[test]
fn earlier_failures_are_not_hidden() {
    let (log, full) = (object(200), object(201));
    let redirected = |met, row| {
        let scene = managed(&["true"]).file(log, "/var/log/d").file(full, "/full/d");
        let scene = scene.adopted(SHELL, "d", [NULL, met, ERR]).wrote(SHELL, 1, log, write(50));
        let scene = scene.wrote(SHELL, 1, met, row).closed(MANAGER, OUT, 90);
        first_finding(&scene.exited_with(SHELL, 200, [NULL, log, ERR]))
    };
    let failed = |class| with_errors(LedgerRow::ZERO, class, 1);
    assert_eq!(redirected(OUT, failed(error::EPIPE)), (Rule::ReaderGone, 0));
    assert_eq!(redirected(OUT, LedgerRow::ZERO).1, 0);
    assert_eq!(redirected(full, failed(error::ENOSPC)), (Rule::Refused, 0));
    assert_eq!(redirected(full, write(7)).1, 7);
    assert_eq!(redirected(full, LedgerRow::ZERO).1, 50);
}

#[test]
fn after_exec_the_streams_are_those_of_the_new_image() {
    let scene = shell().exec(SHELL, &["sh"], [NULL, NULL, ERR]);
    assert_eq!(first_finding(&scene.exited_with(SHELL, 200, [NULL, OUT, ERR])).1, 0);
}

/// A daemon that tracer attached to late, with a pipe as its stdout.
fn late() -> Scene {
    managed(&["true"]).adopted(SHELL, "d", [NULL, OUT, ERR])
}

fn confidence(scene: &Scene, rule: Rule) -> (Confidence, String) {
    let finding = scene.finding(rule).unwrap_or_else(|| panic!("no {rule}: {:#?}", scene.judged()));
    (finding.confidence, finding.message)
}

#[test]
fn what_was_looked_at_is_certain_however_late_tracer_attached() {
    let blocked = late().wrote(SHELL, 1, OUT, write(9)).inside(OUT, 65_536, 10_000);
    let blocked = blocked.holds(MANAGER, 5, OUT).blocked(SHELL, BlockedCall::Write, 1, OUT);
    let (how, message) = confidence(&blocked, Rule::Stuck);
    assert_eq!(how, Confidence::Certain, "{message}");
    assert!(message.contains("has read nothing since tracer attached"), "{message}");

    let refused = late().wrote(SHELL, 1, OUT, with_errors(write(9), error::EPIPE, 1));
    let refused = refused.closed(MANAGER, OUT, 90).ended(SHELL, 13, 200);
    let (how, message) = confidence(&refused, Rule::ReaderGone);
    assert_eq!(how, Confidence::Certain, "{message}");
    assert!(message.contains("after 9 B had been written since tracer attached"), "{message}");

    let left = late().wrote(SHELL, 1, OUT, write(9)).inside(OUT, 9, 105);
    let left = left.closed(MANAGER, OUT, 120).exited(SHELL, 0, 200);
    let (how, message) = confidence(&left, Rule::Unread);
    assert_eq!(how, Confidence::Certain, "{message}");
}

/// Nothing can be seen inside of a unix socket since Linux 6.6, but the thread that sleeps in its write can.
#[test]
fn a_writer_that_was_seen_asleep_is_stuck_whether_or_not_its_object_can_be_looked_into() {
    let (near, far) = (object(210), object(211));
    let asleep = |scene: Scene, object| {
        let scene = scene.adopted(SHELL, "d", [NULL, object, ERR]);
        scene.wrote(SHELL, 1, object, write(9)).blocked(SHELL, BlockedCall::Write, 1, object)
    };
    let how = |scene: &Scene| confidence(scene, Rule::Stuck).0;
    let socket = || {
        let scene = managed(&["true"]).socket(near, 1, [0; 4], far).socket(far, 1, [0; 4], near);
        asleep(scene, near)
    };
    let fifo = asleep(managed(&["true"]).fifo(object(212), "/run/f"), object(212));
    let older = asleep(managed(&["true"]), OUT).blocked(30, BlockedCall::Write, 1, OUT);
    assert_eq!([&socket(), &fifo, &older].map(how), [Confidence::Certain; 3]);
    // Something was not recorded, a count of this object is in doubt, or a look found it empty.
    let doubtful = LedgerRow { doubts: Reason::MaybeAnswered.bit(), ..write(9) };
    let unsure = [
        socket().lost(Reason::RingFull, 1),
        socket().wrote(SHELL, 1, near, doubtful),
        asleep(managed(&["true"]), OUT).inside(OUT, 0, 10_000),
    ];
    assert_eq!(unsure.each_ref().map(how), [Confidence::Unsure; 3]);
}

#[test]
fn what_was_not_looked_at_is_unsure_after_a_late_attach() {
    let left = late().wrote(SHELL, 1, OUT, write(9)).closed(MANAGER, OUT, 120);
    let (how, message) = confidence(&left.exited(SHELL, 0, 200), Rule::Unread);
    assert_eq!(how, Confidence::Unsure, "{message}");
    let lost = late().wrote(SHELL, 1, OUT, write(9)).inside(OUT, 9, 105).lost(Reason::RingFull, 1);
    let (how, message) = confidence(&lost.exited(SHELL, 0, 200), Rule::Unread);
    assert_eq!(how, Confidence::Unsure, "{message}");
}

/// Of a pipe that no earlier process used, nothing was in use when tracer attached.
#[test]
fn the_reason_of_an_imbalance_is_the_true_one() {
    let reason = |process| {
        let scene = managed(&["sh"]).wrote(COMMAND, 1, OUT, write(100)).inside(OUT, 30, 200);
        confidence(&scene.read(process, OUT, 60, 110), Rule::Unbalanced).1
    };
    assert!(reason(MANAGER).contains("it was in use when tracer attached"), "{}", reason(MANAGER));
    assert!(reason(99).contains("tracer did not see how"), "{}", reason(99));
}

/// A container of the command that tracer found late, for example.
#[test]
fn a_target_that_was_found_after_its_start_is_attached_late() {
    for late in [false, true] {
        let process = ProcessId::new(40, 9_000);
        let image = Image { process, role: ROLE_TARGET, late, ..Image::default() };
        let mut session = Session::default();
        session.start_ns = 1_000;
        session.apply(&Event { time_ns: 9_500, kind: EventKind::Image(image) });
        assert_eq!(session.processes[&process].attached_late, late);
    }
}
