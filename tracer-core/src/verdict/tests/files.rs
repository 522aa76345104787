//! Files with output: those without a name, those that are written over, and those that a process cuts that has them as its
//! own output or input.

use tracer_common::{
    ledger::{LedgerKey, LedgerRow, READ},
    object::ObjectId,
    op,
};

use super::{scene::*, shared::wrapper, silence::check};
use crate::{
    event::{Event, EventKind, FileNow},
    verdict::{
        Case, Confidence, Outcome,
        Severity::{self, Loss, Warning},
    },
};

const FILE: ObjectId = object(171);
const OTHER: ObjectId = object(172);
/// `O_RDWR`.
const READ_WRITE: u32 = 2;

/// A step writes 90 bytes into a file without a name that its manager, a command, has opened with these flags.
fn nameless(path: &str, flags: u32, code: u32) -> Scene {
    let scene = managed(&["harness"]).file(FILE, path);
    let mut scene = scene.command(80, COMMAND, &["step"], [NULL, FILE, ERR]);
    scene.0.objects.get_mut(&FILE).unwrap().deleted = true;
    scene.0.processes.get_mut(&id(80)).unwrap().stdio.as_mut().unwrap()[1].flags = flags;
    let scene = scene.wrote(80, 1, FILE, write(90)).exited(80, 0, 110);
    let mut scene = scene.exited(COMMAND, code, 300);
    scene.0.objects.get_mut(&FILE).unwrap().removed_ns = Some(at(110));
    scene
}

/// A read call of the harness that gave it no byte.
fn at_end(mut scene: Scene) -> Scene {
    let key = LedgerKey { process: id(COMMAND), object: FILE, fd: 3, direction: READ };
    let row = LedgerRow { zero: 1, ops: 1 << op::READ, ..written_at(0, 200) };
    scene.0.add_row(key, &row);
    scene
}

#[test]
fn what_is_in_a_file_without_a_name_may_be_read_through_a_mapping() {
    let memory = |code| nameless("/memfd:log", READ_WRITE, code);
    let unlinked = |flags| nameless("/tmp/x", flags, 0);
    // What the harness started writes as much to its output.
    let passed = |scene: Scene, ms: u32| {
        let scene = scene.fork(ms, COMMAND);
        scene.wrote(ms, 1, OUT, written_at(90, u64::from(ms) + 10)).read(MANAGER, OUT, 90, 299)
    };
    check(vec![
        (Rule::FileLost, "not passed on", memory(0), Some(Warning)),
        (Rule::FileLost, "passed on from a mapping, perhaps", passed(memory(0), 95), None),
        (Rule::FileLost, "more was written to it", passed(memory(0), 80), Some(Warning)),
        (Rule::FileLost, "of an unlinked file", passed(unlinked(READ_WRITE), 95), None),
        (Rule::FileLost, "it cannot be mapped", passed(unlinked(1), 95), Some(Loss)),
        (Rule::FileLost, "it can get a name", nameless("/tmp/#171", 1, 0), Some(Warning)),
        (Rule::FileLost, "another number is a name", nameless("/tmp/#17", 1, 0), Some(Loss)),
        (Rule::FileLost, "the harness failed", passed(memory(3), 95), Some(Warning)),
        (
            Rule::FileLost,
            "it looked at the end of it",
            at_end(passed(memory(0), 95)),
            Some(Warning),
        ),
        (Rule::FileLost, "it read a part", memory(0).read(COMMAND, FILE, 30, 200), Some(Warning)),
        (Rule::FileLost, "it read all", memory(0).read(COMMAND, FILE, 90, 200), None),
    ]);
    let part = memory(0).read(COMMAND, FILE, 30, 200).finding(Rule::FileLost).unwrap();
    let said = "a file without a name, and harness (pid 71) read 30 B of it: 60 B are gone, if no \
                process mapped it into its memory. It exited with 0.";
    let is_said = part.message.contains(&format!("/memfd:log (deleted), {said}"));
    assert!(is_said && !part.message.contains("removed"), "{}", part.message);
    assert_eq!(part.confidence, Confidence::Unsure);
    let outcome = |scene: &Scene| {
        let case = Case::new(&scene.0);
        let command = case.command_of(id(80)).unwrap();
        command.parts.iter().find(|part| part.segment.object == FILE).unwrap().outcome
    };
    assert_eq!(outcome(&memory(0)), Outcome::NotSeen);
    assert_eq!(outcome(&memory(0).read(COMMAND, FILE, 90, 200)), Outcome::Read);
}

#[test]
fn a_file_that_was_made_without_a_name_can_get_one() {
    let named = |path: &str, renamed: &str| {
        let mut scene = nameless(path, READ_WRITE, 3);
        let renamed = renamed.to_owned();
        let kind = EventKind::File { object: FILE, now: FileNow::Gone, size: 90, renamed };
        scene.0.apply(&Event { time_ns: at(9_000), kind });
        scene
    };
    let kept = || named("/tmp/#171", "/tmp/report");
    check(vec![
        (Rule::FileLost, "it got one", kept(), None),
        (Rule::FileLost, "it got none", named("/tmp/#171", ""), Some(Warning)),
        // The inode number of a removed file is used again.
        (Rule::FileLost, "it had one before", named("/tmp/x", "/tmp/y"), Some(Warning)),
    ]);
    let message = kept().finding(Rule::Elsewhere).unwrap().message;
    assert!(message.contains("90 B to /tmp/report (made without a name), redirected"), "{message}");
}

#[test]
fn the_log_of_a_failed_step_that_is_gone_is_told() {
    let scene = |code: u32, outer: u32| {
        let scene = managed(&["harness"]).file(FILE, "/tmp/tmp9/log");
        let scene = scene.command(80, COMMAND, &["step"], [NULL, FILE, FILE]);
        let scene = scene.wrote(80, 1, FILE, write(9)).exited(80, code, 110);
        scene.exited(COMMAND, outer, 300).found(FILE, FileNow::Gone, 0)
    };
    let given = scene(3, 3).command(115, COMMAND, &["tail", "/tmp/tmp9/log"], [NULL, OUT, ERR]);
    check(vec![
        (Rule::FileLost, "both failed", scene(3, 3), Some(Warning)),
        (Rule::FileLost, "the harness knows of it", scene(3, 0), None),
        (Rule::FileLost, "the step succeeded", scene(0, 3), None),
        (Rule::FileLost, "a part was read", scene(3, 3).read(COMMAND, FILE, 4, 120), None),
        (Rule::FileLost, "a program has its name", given, None),
    ]);
    let advice = scene(3, 0).finding(Rule::Elsewhere).unwrap().advice.unwrap();
    assert_eq!(advice, "Show the file before it is removed, or keep it.");
}

/// 13 bytes from 100 ms on.
fn row(last: u64) -> LedgerRow {
    LedgerRow { calls: 2, last_ns: at(last), ..written_at(13, 100) }
}

/// A step begins to write to a file at 100 ms and goes on at `last`; another process writes 4 bytes to it at 200 ms.
fn beside(last: u64, other: [ObjectId; 3], size: u64) -> Scene {
    let scene = managed(&["sh"]).file(FILE, "/tmp/log");
    let scene = scene.command(80, COMMAND, &["a"], [NULL, FILE, ERR]);
    let scene = scene.wrote(80, 1, FILE, row(last)).exited(80, 0, last + 1);
    let scene = scene.command(90, COMMAND, &["b"], other);
    let scene = scene.wrote(90, 5, FILE, written_at(4, 200)).exited(90, 0, 201);
    scene.exited(COMMAND, 0, 400).found(FILE, FileNow::Same, size)
}

#[test]
fn what_is_written_over_under_a_writer_is_lost_and_not_cut() {
    const NO_LOG: [ObjectId; 3] = [NULL, OUT, ERR];
    // A script redirects two of its steps to it, and what it started in between a third one.
    let steps = managed(&["sh"]).file(FILE, "/tmp/log").wrote(COMMAND, 1, FILE, row(300));
    let steps = steps.fork(90, COMMAND).wrote(90, 1, FILE, written_at(4, 200)).exited(90, 0, 201);
    let steps = steps.exited(COMMAND, 0, 400).found(FILE, FileNow::Same, 5);
    check(vec![
        (Rule::FileLost, "each has opened it for itself", steps, None),
        (Rule::FileLost, "it goes on after that", beside(300, NO_LOG, 13), Some(Loss)),
        (Rule::FileLost, "it had ended", beside(150, NO_LOG, 13), None),
        (Rule::FileLost, "all is there", beside(300, NO_LOG, 17), None),
    ]);
    let message = beside(300, NO_LOG, 13).finding(Rule::FileLost).unwrap().message;
    let said = "a (pid 80) wrote 13 B to stdout, into the file /tmp/log, and 4 B of what was written there \
                are gone: written over, as b (pid 90) wrote to the file, too.";
    assert!(message.starts_with(said), "{message}");
    let ended = beside(150, NO_LOG, 13).finding(Rule::Elsewhere).unwrap().message;
    assert!(!ended.contains("anew"), "{ended}");
}

#[test]
fn two_openings_of_one_process_write_over_each_other() {
    let scene = |stdio, size| {
        let scene = managed(&["sh"]).file(FILE, "/tmp/log");
        let scene = scene.command(80, COMMAND, &["sh", "x"], stdio);
        let scene = scene.cut(80, FILE, 82).wrote(80, 1, FILE, write(11)).exited(80, 0, 200);
        scene.exited(COMMAND, 0, 300).found(FILE, FileNow::Same, size)
    };
    let both = [NULL, FILE, FILE];
    check(vec![
        (Rule::FileLost, "`>log 2>log`", scene(both, 9), Some(Loss)),
        (Rule::FileLost, "`>log 2>&1`", scene(both, 11), None),
        (Rule::FileLost, "it goes back in its own output", scene([NULL, FILE, ERR], 9), None),
    ]);
    let finding = scene(both, 9).finding(Rule::FileLost).unwrap();
    let said = "2 B of what was written there are gone: written over, very likely: its stdout and stderr are \
                two openings of the file.";
    assert!(finding.message.contains(said), "{}", finding.message);
    assert!(finding.advice.unwrap().contains(">log 2>&1"));
}

/// The process that cuts the file had it as its own output: it is a fork that inherited it, or got it by `dup2`.
#[test]
fn a_process_that_cuts_its_own_output_loses_it() {
    let scene = || managed(&["sh"]).file(FILE, "/tmp/err.log");
    let row = LedgerRow { calls: 2, last_ns: at(300), ..written_at(18, 100) };
    let end = |scene: Scene| scene.exited(COMMAND, 0, 400).found(FILE, FileNow::Same, 6);
    let given = |stdio, cutter: u32| {
        let scene = scene().command(80, COMMAND, &["bash"], stdio).wrote(80, 1, FILE, row);
        let scene = scene.fork(95, 80).emptied(cutter, FILE, 250);
        end(scene.exited(95, 0, 310).exited(80, 0, 320))
    };
    let replaced = |fd| {
        let scene = scene().fork(80, COMMAND).replaced(80, fd, FILE).wrote(80, 1, FILE, row);
        end(scene.emptied(80, FILE, 250).exited(80, 0, 320))
    };
    let own = [NULL, OUT, FILE];
    check(vec![
        (Rule::FileLost, "its stderr", given(own, 80), Some(Loss)),
        (Rule::FileLost, "that of the shell that forked it", given(own, 95), Some(Loss)),
        (Rule::FileLost, "a file of the shell", given([NULL, OUT, ERR], 80), None),
        (Rule::FileLost, "the stdout of a subshell", replaced(1), Some(Loss)),
        (Rule::FileLost, "it is no output", replaced(0), None),
    ]);
    let finding = given(own, 80).finding(Rule::FileLost).unwrap();
    let said = "bash (pid 80) cut the file, which it opened by its name and had as its own output.";
    assert!(finding.message.contains(said), "{}", finding.message);
    assert!(finding.advice.unwrap().contains(">>/dev/stderr"));
}

#[test]
fn a_file_that_is_input_and_output_of_a_process_is_cut_before_it_is_read() {
    let scene = |stdin, read| {
        let scene =
            managed(&["sh"]).file(FILE, "/tmp/f").wrote(COMMAND, 1, FILE, written_at(4, 75));
        let scene = scene.command(80, COMMAND, &["tr", "a", "b"], [stdin, FILE, ERR]);
        let scene = scene.emptied(80, FILE, 79).read_fd(80, 0, FILE, (read, 81));
        scene.exited(80, 0, 100).exited(COMMAND, 0, 110).found(FILE, FileNow::Same, 0)
    };
    check(vec![
        (Rule::FileLost, "`tr a b <f >f`", scene(FILE, 0), Some(Loss)),
        (Rule::FileLost, "it had read it", scene(FILE, 4), None),
        (Rule::FileLost, "`tr a b <x >f`", scene(OTHER, 0), None),
    ]);
    let finding = scene(FILE, 0).finding(Rule::FileLost).unwrap();
    let said = "sh (pid 71) wrote 4 B to stdout, into the file /tmp/f, and 4 B of what was written there are gone: \
                tr a b (pid 80) has the file as its input and as its output";
    assert!(finding.message.starts_with(said), "{}", finding.message);
}

/// Two programs with one log, which the second one cuts under the first.
#[test]
fn the_one_that_cuts_a_file_is_not_its_victim() {
    let scene = |own: u64| {
        let scene = managed(&["sh"]).file(FILE, "/tmp/log");
        let scene = scene.command(80, COMMAND, &["a"], [NULL, FILE, ERR]);
        let row = LedgerRow { calls: 2, last_ns: at(400), ..written_at(12, 100) };
        let row = LedgerRow { before_window: 8, window: at(400) >> 26, ..row };
        let scene = scene.wrote(80, 1, FILE, row).exited(80, 0, 410);
        let scene = scene.command(350, COMMAND, &["b"], [NULL, FILE, ERR]).emptied(350, FILE, 349);
        let scene = scene.wrote(350, 1, FILE, written_at(own, 360)).exited(350, 0, 500);
        scene.exited(COMMAND, 0, 510).found(FILE, FileNow::Same, own)
    };
    for own in [12, 3_000] {
        let finding = scene(own).finding(Rule::FileLost).unwrap();
        let said = "a (pid 80) wrote 12 B to stdout, into the file /tmp/log, and at least 8 B of what was written \
                    there are gone: sh (pid 350) cut the file.";
        assert!(finding.message.starts_with(said), "{}", finding.message);
        assert_eq!(
            (&finding.evidence["lost"], &finding.evidence["lost_at_most"]),
            (&8.into(), &12.into())
        );
    }
}

#[test]
fn a_file_that_was_renamed_was_not_removed_by_that() {
    let scene = |second: &[&str]| {
        let mut scene = wrapper(1, &["mv", "deploy.log", "old.log"]);
        scene.0.objects.get_mut(&FILE).unwrap().removed_ns = Some(at(300));
        scene.command(215, COMMAND, second, [NULL, OUT, ERR]).exited(215, 0, 219)
    };
    let message = |scene: Scene| scene.finding(Rule::FileLost).unwrap().message;
    let renamed = "which mv deploy.log old.log (pid 90) renamed, and which was removed then";
    let by = message(scene(&["rm", "old.log"]));
    let expected = format!("{renamed}, probably by rm old.log (pid 215): 64 B are gone");
    assert!(by.contains(&expected), "{by}");
    let by = message(scene(&["gzip", "old.log"]));
    assert!(by.contains(&format!("{renamed}: 64 B are gone")), "{by}");
    // To another file system, `mv` copies and removes.
    let copied = scene(&["true"]).read(90, FILE, 30, 205);
    assert!(message(copied).contains("removed, probably by mv"), "copied");
    // Another file was put in its place.
    let over = wrapper(0, &["mv", "new", "deploy.log"]).found(FILE, FileNow::Replaced, 0);
    let finding = over.finding(Rule::Elsewhere).unwrap();
    let said = "/tmp/w/deploy.log (replaced by mv new deploy.log (pid 90), read by no process)";
    assert!(finding.message.contains(said), "{}", finding.message);
    assert_eq!(finding.severity, Severity::Info);
    check(vec![
        (Rule::FileLost, "replaced", over, None),
        (Rule::Elsewhere, "x", scene(&["x"]), None),
    ]);
}

#[test]
fn a_command_that_points_its_own_stdout_elsewhere_is_told_with_what_went_there() {
    let scene = |stdio, fd| {
        let scene =
            wrote_and_read(&["sh"], 22).file(FILE, "/tmp/inner").wrote(COMMAND, fd, NULL, write(9));
        let scene = scene.wrote(COMMAND, 1, FILE, write(5)).exited_with(COMMAND, 200, stdio);
        scene.finding(Rule::Delivered).unwrap().message
    };
    let away = "; its stdout then was /dev/null, to which 9 B went. It exited with 0.";
    assert!(scene([NULL, NULL, ERR], 1).ends_with(away));
    assert!(
        scene([NULL, FILE, ERR], 1)
            .contains("; its stdout then was /tmp/inner, to which 5 B went.")
    );
    // A step of it went there, or what it wrote to stderr.
    for (stdio, fd) in [([NULL, OUT, ERR], 1), ([NULL, NULL, ERR], 2), ([NULL, ERR, ERR], 1)] {
        let message = scene(stdio, fd);
        assert!(!message.contains("then was"), "{message}");
    }
}
