//! Calls that change what is in a file so that its size does not show it, and calls whose result does not tell what moved.

use tracer_common::{event::cut, ledger::LedgerRow, object::ObjectId};

use super::{scene::*, silence::check};
use crate::{
    event::FileNow,
    verdict::{Confidence, Severity::Warning},
};

const LOG: ObjectId = object(190);
const WRITER: u32 = 80;
/// Changes the log.
const OTHER: u32 = 85;

/// A command that wrote 1,000 B to a file as its stdout between 100 and 120 ms.
fn log(row: LedgerRow) -> Scene {
    let scene = managed(&["sh"]).file_of(LOG, "/var/log/x", 0);
    let scene = scene.command(WRITER, MANAGER, &["service"], [NULL, LOG, ERR]);
    let scene = scene.command(OTHER, MANAGER, &["tool"], [NULL, OUT, ERR]);
    let times = LedgerRow { first_ns: at(100), last_ns: at(120), ..row };
    scene.wrote(WRITER, 1, LOG, times)
}

fn ended(scene: Scene) -> Scene {
    scene.exited(OTHER, 0, 160).exited(WRITER, 0, 400).found(LOG, FileNow::Same, 1_000)
}

fn changed(ms: u64, how: u32) -> Scene {
    ended(log(write(1_000)).cut_to(OTHER, LOG, ms, how))
}

#[test]
fn what_was_changed_inside_of_a_file_may_be_gone() {
    for (how, said) in [
        (
            cut::INSIDE,
            "took bytes out of the file, or zeroed them (`fallocate`), and tracer did not see how many",
        ),
        (cut::OFTEN, "cut the file again and again, and tracer did not see each time"),
    ] {
        check(vec![
            (Rule::FileLost, "after the write", changed(150, how), Some(Warning)),
            (Rule::Delivered, "after the write", changed(150, how), None),
        ]);
        let message = changed(150, how).finding(Rule::FileLost).unwrap().message;
        let expected =
            format!("up to 1,000 B of what was written there may be gone: tool (pid 85) {said}");
        assert!(message.contains(&expected), "{message}");
    }
}

#[test]
fn a_change_before_the_first_write_takes_nothing_away() {
    let before = || changed(90, cut::INSIDE);
    assert_eq!(before().finding(Rule::FileLost), None);
    assert!(before().finding(Rule::Delivered).is_some());
    // Later cuts of such a file may have come after it.
    assert!(changed(90, cut::OFTEN).finding(Rule::FileLost).is_some());
}

#[test]
fn a_call_that_may_have_moved_bytes_makes_its_object_unsure() {
    let doubted = |doubts| ended(log(LedgerRow { doubts, ..write(1_000) }));
    let certain = doubted(0).finding(Rule::Delivered).unwrap();
    assert_eq!(certain.confidence, Confidence::Certain);
    let unsure = doubted(Reason::MaybeMoved.bit()).finding(Rule::Delivered).unwrap();
    assert_eq!(unsure.confidence, Confidence::Unsure);
    let silent = doubted(Reason::MaybeMoved.bit());
    assert_eq!(silent.finding(Rule::OwnLosses), None);
}

#[test]
fn so_does_one_on_what_the_output_was_redirected_to() {
    let redirected = |doubts| {
        let scene = managed(&["sh"]).file_of(LOG, "/var/log/x", 0);
        let row = LedgerRow { doubts, ..write(1_000) };
        scene.wrote(COMMAND, 1, LOG, row).exited(COMMAND, 0, 500).found(LOG, FileNow::Same, 1_000)
    };
    let confidence = |doubts| redirected(doubts).finding(Rule::Elsewhere).unwrap().confidence;
    assert_eq!(confidence(0), Confidence::Certain);
    assert_eq!(confidence(Reason::MaybeMoved.bit()), Confidence::Unsure);
}
