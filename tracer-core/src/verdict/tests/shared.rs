//! Files and pipes that several processes share: who took, cut or overwrote what, and when that is meant.

use tracer_common::{
    ledger::{LedgerKey, LedgerRow, READ},
    object::ObjectId,
};

use super::{scene::*, silence::check};
use crate::{
    event::FileNow,
    text::errno,
    verdict::{
        Confidence,
        Severity::{Info, Loss, Warning},
    },
};

const LIST: ObjectId = object(170);
const FILE: ObjectId = object(171);

impl Scene {
    /// A read of a process that found the end of a pipe.
    fn read_end(mut self, tgid: u32, pipe: ObjectId, ms: u64) -> Self {
        let key = LedgerKey { process: id(tgid), object: pipe, fd: 0, direction: READ };
        let mut row = written_at(0, ms);
        (row.zero, row.ops) = (1, 1 << tracer_common::op::READ);
        self.0.add_row(key, &row);
        self
    }
}

/// `printf … | while read -r line; do cat; done`: the shell reads 6 bytes, and what it starts reads 12.
fn list(with_end: bool) -> Scene {
    let scene = managed(&["sh"]).pipe(LIST).fork(80, COMMAND).wrote(80, 1, LIST, write(18));
    let scene = scene.fork(81, COMMAND).exec(81, &["bash", "loop"], [LIST, OUT, ERR]);
    let scene = scene.read_fd(81, 0, LIST, (6, 110)).command(90, 81, &["cat"], [LIST, NULL, ERR]);
    let scene = scene.read_fd(90, 0, LIST, (12, 120)).exited(80, 0, 125).exited(90, 0, 130);
    let scene = if with_end { scene.read_end(81, LIST, 140) } else { scene };
    scene.exited(81, 0, 150).exited(COMMAND, 0, 160)
}

#[test]
fn a_program_in_a_loop_that_takes_the_rest_of_the_list_is_a_loss() {
    check(vec![
        (Rule::ReadByOther, "the loop reads on and finds the end", list(true), Some(Loss)),
        (Rule::ReadByOther, "`(read line; cat)`", list(false), None),
    ]);
    let message = list(true).finding(Rule::ReadByOther).unwrap().message;
    assert!(message.starts_with("12 B of what sh (pid 80) wrote to stdout were taken by"));
}

#[test]
fn a_failed_start_whose_message_arrived_is_not_lost() {
    let scene = || managed(&["sh", "-c", "missing"]).exec_failed(COMMAND, errno::ENOENT, "missing");
    let told = scene().wrote(COMMAND, 2, ERR, write(20)).exited(COMMAND, 127, 200);
    let (unread, told) = (told.clone(), told.read(MANAGER, ERR, 20, 110));
    let silent = scene().exited(COMMAND, 127, 200);
    let is_told = |scene: &Scene| scene.finding(Rule::ExecFailed).unwrap().evidence["told"] == true;
    assert_eq!([&told, &unread, &silent].map(is_told), [true, false, false]);
    let message = told.finding(Rule::ExecFailed).unwrap().message;
    assert!(message.ends_with("went to stderr, all read by manager (pid 7)."), "{message}");
    check(vec![(Rule::ExecFailed, "its message arrived", told, Some(Warning))]);
}

#[test]
fn the_process_that_writes_to_dev_null_is_named() {
    let scene = managed(&["sh", "all"]).command(80, COMMAND, &["seq", "9"], [NULL, NULL, ERR]);
    let scene = scene.wrote(80, 1, NULL, write(18)).exited(80, 3, 100).exited(COMMAND, 0, 200);
    let message = scene.finding(Rule::Discarded).unwrap().message;
    let expected = "seq 9 (pid 80) wrote 18 B to stdout, which goes to /dev/null inside sh all (pid 71): \
                    discarded. It exited with 3.";
    assert_eq!(message, expected);
}

#[test]
fn error_messages_that_a_command_which_succeeded_discards_are_not_its_output() {
    let scene = |fd: i32, code: u32| {
        let scene = managed(&["sh", "all"]).command(80, COMMAND, &["probe"], [NULL, OUT, NULL]);
        let scene = scene.wrote(80, fd, NULL, write(18)).exited(80, 1, 100);
        scene.exited(COMMAND, code, 200)
    };
    check(vec![
        (Rule::Discarded, "a probe may fail", scene(2, 0), None),
        (Rule::NeverWrote, "a probe may fail", scene(2, 0), Some(Warning)),
        (Rule::Discarded, "the reason of the failure", scene(2, 1), Some(Warning)),
        (Rule::Discarded, "the output", scene(1, 0), Some(Warning)),
        (Rule::NeverWrote, "the output", scene(1, 0), None),
    ]);
    let message = scene(2, 0).finding(Rule::NeverWrote).unwrap().message;
    let expected = "sh all (pid 71) never wrote to stdout or stderr; 18 B of error messages inside it went to \
                    /dev/null. It exited with 0.";
    assert_eq!(message, expected);
}

/// A step writes 64 bytes to a file, and `rm -r` names the directory. At the end nothing is at the path.
pub(super) fn wrapper(code: u32, remover: &[&str]) -> Scene {
    let scene = managed(&["sh"]).file(FILE, "/tmp/w/deploy.log");
    let scene = scene.command(80, COMMAND, &["deploy"], [NULL, FILE, FILE]);
    let scene = scene.wrote(80, 1, FILE, written_at(64, 100)).exited(80, code, 110);
    let scene = scene.command(90, COMMAND, remover, [NULL, OUT, ERR]).exited(90, 0, 210);
    scene.exited(COMMAND, code, 220).found(FILE, FileNow::Gone, 0)
}

#[test]
fn the_log_of_a_failed_step_that_is_removed_unread_is_lost() {
    check(vec![
        (Rule::FileLost, "the step failed", wrapper(1, &["rm", "-rf", "/tmp/w"]), Some(Loss)),
        (Rule::FileLost, "a relative name", wrapper(1, &["rm", "deploy.log"]), Some(Loss)),
        (Rule::FileLost, "the step succeeded", wrapper(0, &["rm", "-rf", "/tmp/w"]), None),
        (Rule::FileLost, "removed unseen", wrapper(1, &["rm", "-rf", "/tmp/x"]), Some(Warning)),
        (Rule::FileLost, "moved", wrapper(1, &["mv", "deploy.log", "/var/log"]), None),
        (
            Rule::FileLost,
            "it was read before",
            wrapper(1, &["rm", "-rf", "/tmp/w"]).read(MANAGER, FILE, 64, 150),
            None,
        ),
        (
            Rule::FileLost,
            "a program that has its name reads it before tracer watches it",
            wrapper(1, &["rm", "/tmp/w/deploy.log"]).command(
                115,
                COMMAND,
                &["grep", "-c", "x", "/tmp/w/deploy.log"],
                [NULL, OUT, ERR],
            ),
            None,
        ),
        (
            Rule::FileLost,
            "a relative name",
            wrapper(1, &["rm", "deploy.log"]).command(
                115,
                COMMAND,
                &["tail", "deploy.log"],
                [NULL, OUT, ERR],
            ),
            None,
        ),
        (
            Rule::FileLost,
            "it ended before the step wrote",
            wrapper(1, &["rm", "deploy.log"]).command(
                75,
                COMMAND,
                &["stat", "deploy.log"],
                [NULL, OUT, ERR],
            ),
            Some(Loss),
        ),
        (
            Rule::FileLost,
            "another file's name",
            wrapper(1, &["rm", "deploy.log"]).command(
                115,
                COMMAND,
                &["tail", "other.log"],
                [NULL, OUT, ERR],
            ),
            Some(Loss),
        ),
    ]);
}

#[test]
fn a_file_that_is_gone_is_not_where_the_output_is() {
    let removed = || wrapper(1, &["rm", "-rf", "/tmp/w"]);
    let both = || {
        let scene =
            removed().file(LIST, "/tmp/kept").command(95, COMMAND, &["x"], [NULL, LIST, ERR]);
        scene.wrote(95, 1, LIST, written_at(7, 100)).exited(95, 4, 110)
    };
    check(vec![
        (Rule::Elsewhere, "removed unread", removed(), None),
        (Rule::Elsewhere, "cut under its writer", cut_by(90), None),
        (Rule::Elsewhere, "overwritten", twice([NULL, FILE, ERR], 90), None),
        (Rule::Elsewhere, "renamed", wrapper(1, &["mv", "deploy.log", "/x"]), Some(Info)),
        (
            Rule::Elsewhere,
            "removed after it succeeded",
            wrapper(0, &["rm", "deploy.log"]),
            Some(Info),
        ),
        (Rule::Elsewhere, "written anew", twice([NULL, FILE, ERR], 20), Some(Info)),
        (Rule::Elsewhere, "the other file is there", both(), Some(Info)),
    ]);
    // The sums of the outer command would say that it is there, too.
    assert_eq!(removed().finding(Rule::Accounted), None);
    let late = managed(&["true"]).file(FILE, "/tmp/log").adopted(40, "sh", [NULL, OUT, ERR]);
    let late = late.wrote(40, 1, FILE, write(30)).wrote(40, 2, FILE, write(10));
    let message = late.finding(Rule::Accounted).unwrap().message;
    assert!(message.contains("nothing to stderr, 40 B to /tmp/log."), "{message}");
    let once = twice([NULL, FILE, ERR], 20);
    let anew = once.clone().emptied(COMMAND, FILE, 150);
    for (scene, how) in [(anew, "was written anew and has 20 B now"), (once, "has 20 B now")] {
        let message = scene.finding(Rule::Elsewhere).unwrap().message;
        let expected = format!("110 B went to /tmp/log, which {how}");
        assert!(message.contains(&expected), "{message}");
    }
    let message = both().finding(Rule::Elsewhere).unwrap().message;
    let (kept, gone) = (message.contains("wrote 7 B to /tmp/kept"), message.contains("deploy.log"));
    // The step exited with 4, the wrapper with 1.
    assert!(kept && !gone && message.ends_with(" It exited with 4."), "{message}");
}

/// Two commands one after the other write 90 and 20 bytes to a file.
fn twice(second: [ObjectId; 3], size: u64) -> Scene {
    let scene = managed(&["sh"]).file(FILE, "/tmp/log");
    let scene = scene.command(80, COMMAND, &["a"], [NULL, FILE, ERR]);
    let scene = scene.wrote(80, 1, FILE, written_at(90, 100)).exited(80, 0, 110);
    let scene = scene.command(90, COMMAND, &["b"], second).wrote(90, 1, FILE, written_at(20, 200));
    scene.exited(90, 0, 210).exited(COMMAND, 0, 220).found(FILE, FileNow::Same, size)
}

#[test]
fn output_that_overwrites_the_beginning_of_older_output_is_a_loss() {
    check(vec![
        (Rule::FileLost, "in front of older output", twice([NULL, FILE, ERR], 90), Some(Loss)),
        (Rule::FileLost, "written anew", twice([NULL, FILE, ERR], 20), None),
        (Rule::FileLost, "`dd conv=notrunc`", twice([NULL, OUT, ERR], 90), None),
    ]);
}

/// A script writes to a log before and after `cutter` cuts it; 23 of 72 bytes are missing.
fn cut_by(cutter: u32) -> Scene {
    cut_at(cutter, 150, [NULL, FILE, FILE])
}

/// The same at another time; the script's latest write is said to be at 145 ms if the cut is later than that.
fn cut_at(cutter: u32, ms: u64, stdio: [ObjectId; 3]) -> Scene {
    let scene = managed(&["sh"]).file(FILE, "/tmp/log");
    let scene = scene.command(80, COMMAND, &["script"], stdio);
    let last_ns = at(if ms > 150 { 145 } else { 200 });
    let row = LedgerRow { bytes: 72, last_ns, calls: 2, ..written_at(0, 100) };
    let scene = scene.wrote(80, 1, FILE, row).command(90, 80, &["tee"], [NULL, OUT, ERR]);
    let scene = scene.cut(cutter, FILE, ms).exited(90, 0, 160).exited(80, 0, 210);
    scene.exited(COMMAND, 0, 220).found(FILE, FileNow::Same, 49)
}

#[test]
fn a_file_that_is_cut_under_its_writer_is_a_loss() {
    check(vec![
        (Rule::FileLost, "`tee /dev/stderr`", cut_by(90), Some(Loss)),
        (Rule::FileLost, "the script cuts its own output", cut_by(80), Some(Loss)),
        (
            Rule::FileLost,
            "the script begins a file of its own again",
            cut_at(80, 150, [NULL, OUT, ERR]),
            None,
        ),
        // The time of a file's row can be a tick too early.
        (
            Rule::FileLost,
            "the cut comes just after it, and it goes on",
            cut_at(90, 151, [NULL, FILE, FILE]),
            Some(Loss),
        ),
        (
            Rule::FileLost,
            "a script makes its file, and a command makes it anew",
            cut_at(90, 151, [NULL, OUT, ERR]),
            None,
        ),
        (Rule::FileLost, "the cut comes much later", cut_at(90, 158, [NULL, FILE, FILE]), None),
    ]);
}

/// A runtime inside the command ends at 110 ms; a child of it writes 9 bytes to the runtime's pipe a second later.
fn runtime(own: u64, read: u64) -> Scene {
    let scene = managed(&["engine"]).pipe(LIST);
    let scene = scene.command(80, COMMAND, &["runc", "create"], [NULL, LIST, ERR]);
    let scene = if own > 0 { scene.wrote(80, 1, LIST, written_at(own, 100)) } else { scene };
    let scene = scene.fork(81, 80).exited(80, 0, 110).wrote(81, 1, LIST, written_at(9, 1_100));
    let scene = scene.read(COMMAND, LIST, read, 1_150).inside(LIST, own + 9 - read, 1_160);
    scene.exited(81, 0, 1_200).exited(COMMAND, 0, 1_300)
}

#[test]
fn a_launcher_that_leaves_its_output_to_another_process_is_no_late_writer() {
    check(vec![
        (Rule::LateWriter, "it wrote nothing itself", runtime(0, 9), None),
        (Rule::LateWriter, "it wrote before", runtime(5, 14), Some(Warning)),
        (Rule::LateWriter, "not all was read", runtime(0, 4), Some(Warning)),
    ]);
}

#[test]
fn what_goes_to_dev_null_since_the_attach_is_certain() {
    let scene = managed(&["sh"]).adopted(40, "worker", [NULL, NULL, ERR]);
    let finding = scene.wrote(40, 1, NULL, write(7)).finding(Rule::Discarded).unwrap();
    assert_eq!(finding.confidence, Confidence::Certain);
    let expected = "wrote 7 B since tracer attached to stdout, which is /dev/null: discarded";
    assert!(finding.message.contains(expected), "{}", finding.message);
}
