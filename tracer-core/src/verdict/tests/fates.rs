//! What became of the bytes of a job, in numbers that are certain.

use tracer_common::{ledger::error, object::ObjectId};

use super::scene::*;
use crate::{
    event::{BlockedCall, FileNow},
    verdict::{Case, Fate},
};

const FILE: ObjectId = object(180);
const OTHER: u32 = 90;

impl Scene {
    /// The fate of all that a command wrote to stdout.
    fn fate_of(&self, tgid: u32, is_over: bool) -> Fate {
        let case = Case::new(&self.0);
        let command = case.command_of(id(tgid)).unwrap();
        let mut sum = Fate::default();
        for part in command.parts.iter().filter(|part| part.segment.stream == 1) {
            sum.add(&case.fate(command.process, part, is_over));
        }
        let known = sum.delivered + sum.lost + sum.discarded + sum.unknown;
        assert_eq!(sum.written, known, "{sum:?}");
        sum
    }

    fn fate(&self) -> Fate {
        self.fate_of(COMMAND, true)
    }

    /// A second command with the same stdout, which wrote `bytes`.
    fn beside(self, bytes: u64) -> Self {
        let scene = self.command(OTHER, MANAGER, &["other"], [NULL, OUT, ERR]);
        scene.wrote(OTHER, 1, OUT, write(bytes)).exited(OTHER, 0, 130)
    }
}

fn all(delivered: u64, lost: u64, discarded: u64, unknown: u64) -> Fate {
    let written = delivered + lost + discarded + unknown;
    Fate { written, delivered, lost, discarded, unknown, refused: 0 }
}

/// The command wrote 3,000 bytes, of which the manager read 1,000 before the pipe was gone.
fn left() -> Scene {
    let scene = managed(&["head"]).wrote(COMMAND, 1, OUT, write(3_000));
    scene.read(MANAGER, OUT, 1_000, 110)
}

fn ended(scene: Scene) -> Scene {
    scene.closed(MANAGER, OUT, 120).exited(COMMAND, 0, 125)
}

#[test]
fn bytes_that_arrived_and_bytes_that_were_left_in_a_pipe_add_up() {
    let read = wrote_and_read(&["seq"], 292).exited(COMMAND, 0, 120);
    assert_eq!(read.fate(), all(292, 0, 0, 0));
    assert_eq!(ended(left()).fate(), all(1_000, 2_000, 0, 0));
    assert_eq!(managed(&["true"]).exited(COMMAND, 0, 120).fate(), Fate::default());
}

#[test]
fn what_a_child_wrote_to_the_same_stream_belongs_to_it() {
    let child = |scene: Scene| scene.fork(80, COMMAND).wrote(80, 1, OUT, write(500));
    let scene = ended(child(left()).exited(80, 0, 115));
    assert_eq!(scene.fate(), all(1_000, 2_500, 0, 0));
}

#[test]
fn bytes_that_wait_for_a_reader_are_lost_only_at_the_end() {
    let waits = left().holds(MANAGER, 5, OUT);
    assert_eq!(waits.fate_of(COMMAND, false), all(1_000, 0, 0, 2_000));
    assert_eq!(waits.exited(COMMAND, 0, 125).fate(), all(1_000, 2_000, 0, 0));
}

/// Which of the commands wrote what is left is not known: the other one wrote 500 of 3,500.
#[test]
fn a_loss_of_several_commands_is_told_as_far_as_it_is_certain() {
    let scene = ended(left().beside(500));
    assert_eq!(scene.fate(), all(500, 2_000, 0, 500));
    assert_eq!(scene.fate_of(OTHER, true), all(0, 0, 0, 500));
}

#[test]
fn a_blocked_write_counts_when_it_returns() {
    let scene = managed(&["seq"]).wrote(COMMAND, 1, OUT, write(60_000)).inside(OUT, 65_536, 5_000);
    let scene = scene.holds(MANAGER, 5, OUT).blocked(COMMAND, BlockedCall::Write, 1, OUT);
    assert_eq!(scene.fate_of(COMMAND, false), all(0, 0, 0, 60_000));
}

#[test]
fn the_null_device_discards_and_the_kernel_refuses() {
    let scene = managed(&["sh"]).command(80, MANAGER, &["quiet"], [NULL, NULL, ERR]);
    let scene = scene.wrote(80, 1, NULL, write(70)).exited(80, 0, 120);
    assert_eq!(scene.fate_of(80, true), all(0, 0, 70, 0));
    let mut row = with_errors(write(100), error::ENOSPC, 1);
    row.failed = 40;
    let scene = managed(&["sh"]).file(FILE, "/log").command(80, MANAGER, &["x"], [NULL, FILE, ERR]);
    let scene = scene.wrote(80, 1, FILE, row).exited(80, 1, 120);
    assert_eq!(scene.fate_of(80, true), Fate { refused: 40, ..all(100, 0, 0, 0) });
}

#[test]
fn a_file_that_was_cut_has_lost_what_is_missing_in_it() {
    let scene = managed(&["sh"]).file(FILE, "/log").command(80, MANAGER, &["x"], [NULL, FILE, ERR]);
    let scene = scene.wrote(80, 1, FILE, write(100)).exited(80, 0, 120);
    assert_eq!(scene.clone().found(FILE, FileNow::Same, 100).fate_of(80, true), all(100, 0, 0, 0));
    assert_eq!(scene.found(FILE, FileNow::Same, 30).fate_of(80, true), all(30, 70, 0, 0));
}

/// Whatever a socket's other machine did with the bytes is not seen, even if the kernel refused some.
#[test]
fn what_leaves_the_machine_is_unknown() {
    let scene = managed(&["sh"]).socket(FILE, 2, [10, 0, 0, 1], ObjectId::NONE);
    let scene = scene.command(80, MANAGER, &["x"], [NULL, FILE, ERR]);
    let mut row = with_errors(write(100), error::EPIPE, 1);
    row.failed = 40;
    let fate = scene.wrote(80, 1, FILE, row).exited(80, 1, 120).fate_of(80, true);
    assert_eq!(fate, Fate { refused: 40, ..all(0, 0, 0, 100) });
}
