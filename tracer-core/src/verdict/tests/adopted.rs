//! Processes that were adopted in the middle of a redirection: a shell that runs `command >file`.

use tracer_common::ledger::{LedgerRow, error};

use super::scene::*;

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
