//! Processes that were met in the middle of things: a shell that was redirected for the time of a command.

use tracer_common::ledger::{LedgerRow, error};

use super::scene::*;

const SHELL: u32 = 9;

/// A shell met with `/dev/null` on fd 1, that then wrote to a pipe through it.
fn shell() -> Scene {
    let scene = managed(&["true"]).met(SHELL, "sh", [NULL, NULL, ERR]);
    scene.wrote(SHELL, 1, OUT, write(6)).read(MANAGER, OUT, 6, 110)
}

/// Bytes on stdout, and the rule, of the finding about the shell that comes first.
fn told(scene: &Scene) -> (Rule, u64) {
    let findings = scene.judged();
    let about = findings.iter().find(|finding| finding.pid == SHELL);
    let finding = about.unwrap_or_else(|| panic!("nothing about it: {findings:#?}"));
    (finding.rule, finding.evidence["stdout_bytes"].as_u64().unwrap())
}

#[test]
fn what_was_put_back_is_its_stdout() {
    let ended = shell().exited_with(SHELL, 200, [NULL, OUT, ERR]);
    assert_eq!(told(&ended), (Rule::Delivered, 6));
    let running = shell().holds(SHELL, 1, OUT);
    assert_eq!(told(&running).1, 6);
    // What else it sent to /dev/null meanwhile, nobody looks for.
    let noisy = ended.wrote(SHELL, 1, NULL, write(100));
    assert_eq!(told(&noisy), (Rule::Delivered, 6));
}

#[test]
fn what_fd_1_does_not_point_to_in_the_end_is_not() {
    let aside = shell().exited_with(SHELL, 200, [NULL, NULL, ERR]);
    assert_eq!(told(&aside).1, 0);
    assert_eq!(told(&shell()).1, 0);
}

/// A daemon that writes to its log from then on: what it was met with may have been read from, or have failed.
#[test]
fn what_went_wrong_before_is_not_hidden() {
    let (log, full) = (object(200), object(201));
    let turned = |met, row| {
        let scene = managed(&["true"]).file(log, "/var/log/d").file(full, "/full/d");
        let scene = scene.met(SHELL, "d", [NULL, met, ERR]).wrote(SHELL, 1, log, write(50));
        let scene = scene.wrote(SHELL, 1, met, row).closed(MANAGER, OUT, 90);
        told(&scene.exited_with(SHELL, 200, [NULL, log, ERR]))
    };
    let failed = |class| with_errors(LedgerRow::ZERO, class, 1);
    assert_eq!(turned(OUT, failed(error::EPIPE)), (Rule::ReaderGone, 0));
    assert_eq!(turned(OUT, LedgerRow::ZERO).1, 0);
    assert_eq!(turned(full, failed(error::ENOSPC)), (Rule::Refused, 0));
    assert_eq!(turned(full, write(7)).1, 7);
    assert_eq!(turned(full, LedgerRow::ZERO).1, 50);
}

#[test]
fn whoever_replaced_its_image_has_what_it_was_given() {
    let scene = shell().exec(SHELL, &["sh"], [NULL, NULL, ERR]);
    assert_eq!(told(&scene.exited_with(SHELL, 200, [NULL, OUT, ERR])).1, 0);
}
