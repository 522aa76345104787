//! Commands that failed, or that had no fd to write to: what explains their silence, and which of them is named.

use tracer_common::{
    ledger::{LedgerRow, error},
    object::ObjectId,
};

use super::{scene::*, shared::wrapper, silence::check};
use crate::{
    event::FileNow,
    verdict::Severity::{Info, Warning},
};

const FILE: ObjectId = object(171);

/// A script writes its pid to a file with a builtin, then starts a program. It ends with this code.
fn pid_file(code: u32, next: &[&str]) -> Scene {
    let scene = managed(&["sh", "job"]).file(FILE, "/run/my.pid");
    let scene = scene.wrote(COMMAND, 1, FILE, written_at(6, 100));
    let scene = scene.command(115, COMMAND, next, [NULL, OUT, ERR]).exited(115, code, 120);
    scene.exited(COMMAND, code, 130)
}

#[test]
fn a_pid_file_explains_no_failure_and_its_removal_is_no_loss() {
    let silent = || pid_file(3, &["check"]);
    let lock = || pid_file(1, &["rm", "-f", "/run/my.pid"]).found(FILE, FileNow::Gone, 0);
    check(vec![
        (Rule::NeverWrote, "another program failed", silent(), Some(Warning)),
        (Rule::Elsewhere, "another program failed", silent(), None),
        (Rule::Elsewhere, "nothing failed", pid_file(0, &["chmod"]), Some(Info)),
        (Rule::FileLost, "a lock that a trap removes", lock(), None),
        (Rule::NeverWrote, "a lock that a trap removes", lock(), Some(Warning)),
    ]);
    // A log whose latest line is about the failure, and the log of the program that failed.
    let logs = pid_file(3, &["check"]).wrote(COMMAND, 1, FILE, written_at(9, 125));
    let trap = logs.clone().command(127, COMMAND, &["rm", "/tmp/x"], [NULL, OUT, ERR]);
    let built = managed(&["sh", "job"]).file(FILE, "/tmp/log");
    let built = built.command(80, COMMAND, &["make"], [NULL, FILE, FILE]);
    let built = built.wrote(80, 2, FILE, written_at(30, 90)).exited(80, 2, 95);
    let built = built.command(115, COMMAND, &["date"], [NULL, OUT, ERR]).exited(115, 0, 120);
    // A program that already ran reads what the command wrote for it.
    let read = |bytes| {
        let scene = managed(&["sh", "job"]).file(FILE, "/tmp/list");
        let scene = scene.command(80, COMMAND, &["worker"], [NULL, OUT, ERR]);
        let scene = scene.wrote(COMMAND, 1, FILE, written_at(6, 100)).read(80, FILE, bytes, 110);
        scene.exited(80, 0, 120).exited(COMMAND, 1, 130)
    };
    check(vec![
        (Rule::Elsewhere, "the log's end is about it", logs, Some(Info)),
        (Rule::Elsewhere, "a trap removes another file", trap.exited(127, 0, 128), Some(Info)),
        (
            Rule::Elsewhere,
            "the one that failed wrote it",
            built.exited(COMMAND, 2, 130),
            Some(Info),
        ),
        (Rule::NeverWrote, "input of a program", read(6), Some(Warning)),
        (Rule::Elsewhere, "a program looked for more", read(0), Some(Info)),
    ]);
    let message = silent().finding(Rule::NeverWrote).unwrap().message;
    let expected = "sh job (pid 71) never wrote to stdout or stderr; 6 B went to /run/my.pid. It exited with 3.";
    assert_eq!(message, expected);
}

#[test]
fn a_closed_fd_inside_of_a_command_is_told_of_the_one_that_it_was_closed_for() {
    let refused = with_errors(LedgerRow::ZERO, error::EBADF, 1);
    let scene = managed(&["sh", "job"]);
    let scene = scene.command(80, COMMAND, &["echo", "x"], [NULL, ObjectId::NONE, ERR]);
    let scene = scene.wrote(80, 1, ObjectId::NONE, refused).exited(80, 1, 110);
    let message = scene.exited(COMMAND, 0, 120).finding(Rule::Refused).unwrap().message;
    assert!(message.contains("to stdout of echo x (pid 80) with EBADF"), "{message}");
    assert!(message.ends_with("It exited with 1."), "{message}");
    // It was closed for all of them, and a fork without a program writes to stderr.
    let outer = managed(&["sh"]).command(90, MANAGER, &["sh", "all"], [NULL, OUT, ObjectId::NONE]);
    let outer = outer
        .wrote(90, 2, ObjectId::NONE, refused)
        .fork(95, 90)
        .wrote(95, 2, ObjectId::NONE, refused)
        .exited(95, 0, 110);
    let findings = outer.exited(90, 0, 120).judged();
    let found: Vec<_> = findings.iter().filter(|found| found.rule == Rule::Refused).collect();
    assert_eq!(found.len(), 1, "{found:?}");
    let expected = "refused 2 writes to stderr of sh all (pid 90)";
    assert!(found[0].message.contains(expected), "{}", found[0].message);
}

#[test]
fn the_only_one_that_was_refused_is_named() {
    let refused = with_errors(LedgerRow::ZERO, error::ENOSPC, 2);
    let first = || {
        let scene = managed(&["sh", "job"]).wrote(COMMAND, 1, OUT, write(500));
        let scene = scene.command(80, COMMAND, &["sort", "x"], [NULL, OUT, ERR]);
        scene.wrote(80, 1, OUT, refused).exited(80, 2, 110)
    };
    let second = first().command(85, COMMAND, &["date"], [NULL, OUT, ERR]);
    let second = second.wrote(85, 1, OUT, refused).exited(85, 1, 112);
    for (scene, who) in [(first(), "of sort x (pid 80)"), (second, "of sh job (pid 71)")] {
        let message = scene.exited(COMMAND, 0, 120).finding(Rule::Refused).unwrap().message;
        assert!(message.contains(who), "{message}");
    }
}

#[test]
fn what_happens_inside_a_failed_command_does_not_excuse_its_silence() {
    let pipe = object(172);
    let scene = |code| {
        let scene = managed(&["sh", "job"]).pipe(pipe);
        let scene = scene.command(80, COMMAND, &["seq", "9"], [NULL, pipe, ERR]);
        let scene = scene.command(81, COMMAND, &["grep", "-q", "1"], [pipe, OUT, ERR]);
        let scene = scene.wrote(80, 1, pipe, write(18)).read_fd(81, 0, pipe, (18, 110));
        scene.exited(80, 0, 115).exited(81, 0, 120).exited(COMMAND, code, 130)
    };
    let beside = scene(1).command(140, MANAGER, &["date"], [NULL, OUT, ERR]);
    check(vec![
        (Rule::NeverWrote, "it failed", scene(141), Some(Warning)),
        (Rule::NeverWrote, "it succeeded", scene(0), Some(Info)),
        (
            Rule::NeverWrote,
            "another command of the manager wrote",
            beside.wrote(140, 1, OUT, written_at(9, 150)).exited(140, 0, 160),
            Some(Info),
        ),
    ]);
}

#[test]
fn where_output_went_names_its_remover_and_what_was_discarded() {
    let removed = wrapper(0, &["rm", "deploy.log"]).finding(Rule::Elsewhere).unwrap();
    let expected =
        "/tmp/w/deploy.log (removed, probably by rm deploy.log (pid 90), read by no process)";
    assert!(removed.message.contains(expected), "{}", removed.message);
    assert_eq!(removed.advice.unwrap(), "Show the file before it is removed, or keep it.");
    let moved = wrapper(0, &["mv", "deploy.log", "/x"]).finding(Rule::Elsewhere).unwrap();
    assert!(moved.message.contains("deploy.log"), "{}", moved.message);
    let nameless = managed(&["sh", "job"]).file(FILE, "/tmp/#7 (deleted)");
    let mut nameless = nameless.wrote(COMMAND, 1, FILE, write(5)).read(60, FILE, 5, 110);
    nameless.0.objects.get_mut(&FILE).unwrap().deleted = true;
    let message = nameless.exited(COMMAND, 0, 120).finding(Rule::Elsewhere).unwrap().message;
    assert!(!message.contains("no longer at that path"), "{message}");
    let discards = |fd| pid_file(0, &["gen"]).wrote(115, fd, NULL, written_at(17, 118));
    for (fd, is_told) in [(1, true), (2, false)] {
        let message = discards(fd).finding(Rule::Elsewhere).unwrap().message;
        assert_eq!(message.contains("; 17 B went to /dev/null."), is_told, "{message}");
    }
}
