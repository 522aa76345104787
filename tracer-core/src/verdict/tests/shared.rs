//! Files and pipes that several processes share: who took, cut or overwrote what, and when that is meant.

use tracer_common::{
    ledger::{LedgerKey, READ},
    object::ObjectId,
};

use super::{scene::*, silence::check};
use crate::{
    event::FileNow,
    text::errno,
    verdict::Severity::{Loss, Warning},
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
    let scene = scene.wrote(80, 1, NULL, write(18)).exited(80, 0, 100).exited(COMMAND, 0, 200);
    let message = scene.finding(Rule::Discarded).unwrap().message;
    let expected = "seq 9 (pid 80) wrote 18 B to /dev/null, redirected inside sh all (pid 71)";
    assert!(message.starts_with(expected), "{message}");
}

/// A step writes 64 bytes to a file, and `rm -r` names the directory. At the end nothing is at the path.
fn wrapper(code: u32, remover: &[&str]) -> Scene {
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
        (Rule::FileLost, "another file", wrapper(1, &["rm", "-rf", "/tmp/x"]), None),
        (Rule::FileLost, "moved", wrapper(1, &["mv", "deploy.log", "/var/log"]), None),
        (
            Rule::FileLost,
            "it was read before",
            wrapper(1, &["rm", "-rf", "/tmp/w"]).read(MANAGER, FILE, 64, 150),
            None,
        ),
    ]);
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
