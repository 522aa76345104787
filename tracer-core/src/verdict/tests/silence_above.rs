//! The same for rules about managers, pipelines, sockets, time and tracer itself.

use tracer_common::{ledger::LedgerRow, object::ObjectId};

use super::{scene::*, silence::check};
use crate::{
    text::errno,
    verdict::{
        Confidence,
        Severity::{Info, Loss, Warning},
    },
};

const SH: [&str; 3] = ["sh", "-c", "x & exit"];
const SEQ: [&str; 3] = ["seq", "1", "9"];

#[test]
fn a_late_writer_is_one_that_holds_the_stream() {
    let with_child = || {
        let scene = wrote_and_read(&SH, 9).command(80, COMMAND, &["sleep"], [NULL, OUT, ERR]);
        scene.exited(COMMAND, 0, 200)
    };
    let daemon = with_child().wrote(80, 1, OUT, written_at(3, 150));
    let redirected = with_child().exited_with(80, 5_000, [NULL, NULL, NULL]);
    check(vec![
        (Rule::LateWriter, "it ends 3 s later", with_child().exited(80, 0, 3_200), Some(Warning)),
        (Rule::LateWriter, "it ends 150 ms later", with_child().exited(80, 0, 350), None),
        (Rule::LateWriter, "it still holds it", with_child().holds(80, 1, OUT), Some(Warning)),
        (Rule::LateWriter, "a daemon that let go of it", daemon, None),
        (Rule::LateWriter, "its output went elsewhere", redirected, None),
    ]);
}

#[test]
fn a_pipeline_is_no_other_reader() {
    let other = wrote_and_read(&SEQ, 9).read(30, OUT, 4, 120);
    let pipeline = managed(&SEQ).command(72, MANAGER, &["cat"], [OUT, ERR, ERR]);
    let pipeline = || pipeline.clone().wrote(COMMAND, 1, OUT, write(9)).read(72, OUT, 5, 110);
    let stage = pipeline().command(73, MANAGER, &["cat"], [OUT, ERR, ERR]).read(73, OUT, 4, 120);
    check(vec![
        (Rule::ReadByOther, "a stranger", other, Some(Warning)),
        (Rule::ReadByOther, "seq | cat", pipeline().exited(72, 0, 130), None),
        (
            Rule::ReadByOther,
            "seq | (head -1; cat)",
            stage.exited(72, 0, 130).exited(73, 0, 140),
            Some(Info),
        ),
    ]);
}

#[test]
fn a_manager_that_returned_all_bytes_lost_nothing() {
    let done = || wrote_and_read(&SEQ, 100).exited(COMMAND, 0, 200);
    check(vec![
        (Rule::ReadThenLost, "less", done().claims(60), Some(Loss)),
        (Rule::ReadThenLost, "all", done().claims(100), None),
        (Rule::ReadThenLost, "in two answers", done().claims(60).claims(40), None),
        (Rule::ReadThenLost, "no log", done(), None),
        (Rule::Delivered, "less", done().claims(60), None),
        (Rule::Delivered, "all", done().claims(100), Some(Info)),
    ]);
    let unread_lines = done().claims(60).bad_log_lines(1).finding(Rule::ReadThenLost).unwrap();
    assert_eq!(unread_lines.confidence, Confidence::Unsure);
}

#[test]
fn only_a_failed_terminal_check_is_evidence() {
    let program = |fd, errno| {
        let scene = wrote_and_read(&["ls"], 9).asked_terminal(COMMAND, fd, errno);
        let finding = scene.exited(COMMAND, 0, 200).finding(Rule::Delivered).unwrap();
        finding.evidence.get("no_terminal").cloned()
    };
    assert_eq!(program(1, 25), Some(serde_json::json!([1])));
    assert_eq!((program(1, 0), program(0, 25)), (None, None));
}

#[test]
fn a_similar_name_is_no_sandbox() {
    let named = |argv: &[&str]| managed(argv).exited(COMMAND, 0, 200);
    let socket = |joined| {
        let (one, other) = (object(201), object(202));
        let scene = managed(&["sh"]).socket(one, 1, [0; 4], ObjectId::NONE);
        let scene = scene.socket(other, 1, [0; 4], if joined { one } else { ObjectId::NONE });
        scene.command(80, MANAGER, &SEQ, [NULL, one, ERR]).wrote(80, 1, one, write(9))
    };
    check(vec![
        (Rule::OutOfSight, "gVisor", named(&["/usr/bin/runsc", "run"]), Some(Warning)),
        (Rule::OutOfSight, "qemu", named(&["qemu-system-x86_64", "-m", "1G"]), Some(Warning)),
        (Rule::OutOfSight, "a file", named(&["cat", "/var/log/runsc.log"]), None),
        (Rule::OutOfSight, "a script", named(&["/opt/runsc-cleanup.sh"]), None),
        (Rule::OutOfSight, "a socket of which one end was seen", socket(false), Some(Info)),
        (Rule::OutOfSight, "a pair of sockets", socket(true), None),
        (Rule::Delivered, "an unread pair of sockets", socket(true), None),
        (
            Rule::Delivered,
            "a pair of sockets",
            socket(true).read(30, object(202), 9, 110),
            Some(Info),
        ),
    ]);
}

#[test]
fn a_pipe_in_use_is_not_checked_for_balance() {
    let read =
        |bytes| managed(&SEQ).wrote(COMMAND, 1, OUT, write(100)).read(MANAGER, OUT, bytes, 110);
    check(vec![
        (Rule::Unbalanced, "more came out than went in", read(108), Some(Warning)),
        (Rule::Unbalanced, "it was looked at while it moved", read(60).inside(OUT, 55, 105), None),
        (Rule::Unbalanced, "some is missing", read(60).inside(OUT, 30, 200), Some(Warning)),
        (Rule::Unbalanced, "the rest is inside", read(60).inside(OUT, 40, 200), None),
    ]);
}

#[test]
fn only_a_failed_connect_behind_a_failed_command_is_reported() {
    let client = |code| {
        let scene = managed(&["docker"]).wrote(COMMAND, 2, ERR, write(92));
        scene.exited(COMMAND, code, 200)
    };
    let failed = |path| client(1).connect_failed(COMMAND, errno::ENOENT, path);
    check(vec![
        (Rule::DaemonUnreachable, "no daemon", failed("/run/docker.sock"), Some(Warning)),
        (Rule::DaemonUnreachable, "the name cache", failed("/var/run/nscd/socket"), None),
        (
            Rule::DaemonUnreachable,
            "it succeeded",
            client(0).connect_failed(COMMAND, errno::ENOENT, "/run/docker.sock"),
            None,
        ),
        (
            Rule::DaemonUnreachable,
            "a resolver's look for a route",
            client(1).connect6_failed(COMMAND, errno::ENETUNREACH),
            None,
        ),
    ]);
}

#[test]
fn late_output_is_not_always_held_back() {
    let ends = |out, written: u64, end: u64| {
        let scene = managed(&["sh"]).file(object(9), "/tmp/o");
        let scene = scene.command(80, MANAGER, &["python3", "x.py"], [NULL, out, ERR]);
        scene.wrote(80, 1, out, written_at(400, written)).exited(80, 0, end)
    };
    let spread =
        LedgerRow { bytes: 9_000, before_window: 8_600, calls: 9, ..written_at(400, 3_000) };
    let child = managed(&SH).command(3_000, COMMAND, &SEQ, [NULL, OUT, ERR]);
    let child = child.wrote(3_000, 1, OUT, written_at(20, 3_010)).exited(COMMAND, 0, 3_030);
    check(vec![
        (Rule::HeldBack, "all at the end", ends(object(9), 3_000, 3_010), Some(Info)),
        (Rule::HeldBack, "a short run", ends(object(9), 500, 510), None),
        (Rule::HeldBack, "in the middle", ends(object(9), 3_000, 9_000), None),
        (Rule::HeldBack, "into /dev/null", ends(NULL, 3_000, 3_010), None),
        (
            Rule::HeldBack,
            "most came before",
            managed(&SEQ).wrote(COMMAND, 1, OUT, spread).exited(COMMAND, 0, 3_010),
            None,
        ),
        (Rule::HeldBack, "sleep 3; seq 1 9", child, None),
    ]);
}

#[test]
fn complete_counts_raise_no_doubt() {
    let done = || wrote_and_read(&SEQ, 9).exited(COMMAND, 0, 200);
    let empty = managed(&SEQ).wrote(COMMAND, 1, OUT, write(0)).exited(COMMAND, 0, 200);
    check(vec![
        (Rule::OwnLosses, "nothing was lost", done(), None),
        (Rule::OwnLosses, "an event was lost", done().lost(Reason::RingFull, 1), Some(Warning)),
        (Rule::Accounted, "another rule speaks", done(), None),
        (Rule::Accounted, "an empty write", empty, Some(Info)),
    ]);
}
