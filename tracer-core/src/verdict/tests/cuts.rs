//! Files that were cut: only bytes that were beyond the cut are gone, and where that is not known, it is said.

use tracer_common::{
    ledger::{LedgerRow, WINDOW_SHIFT},
    object::ObjectId,
    op,
};

use super::{scene::*, silence::check};
use crate::{
    event::FileNow,
    session::O_APPEND,
    verdict::{
        Bytes, Case, Confidence, Fate, Outcome,
        Severity::{self, Loss, Warning},
    },
};

const LOG: ObjectId = object(190);
/// Writes to the log as its stdout.
const WRITER: u32 = 80;
/// Cuts the log.
const CUTTER: u32 = 85;

/// A command with the log as its stdout. Where it does not append, it goes on where it was, whatever the size is now.
fn log(size: u64, flags: u32) -> Scene {
    let scene = managed(&["sh"]).file_of(LOG, "/var/log/x", size);
    writer(scene, WRITER, flags).command(CUTTER, MANAGER, &["truncate"], [NULL, OUT, ERR])
}

fn writer(scene: Scene, tgid: u32, flags: u32) -> Scene {
    let mut scene = scene.command(tgid, MANAGER, &["service"], [NULL, LOG, ERR]);
    scene.0.processes.get_mut(&id(tgid)).unwrap().stdio.as_mut().unwrap()[1].flags = flags;
    scene
}

/// Bytes that were written before 150 ms, and after.
fn wrote(scene: Scene, tgid: u32, before: u64, after: u64) -> Scene {
    let (first_ns, last_ns) = (at(100), if after > 0 { at(300) } else { at(120) });
    let window = last_ns >> WINDOW_SHIFT;
    let (bytes, before_window) = (before + after, if after > 0 { before } else { 0 });
    let row = LedgerRow { bytes, calls: 2, first_ns, last_ns, window, before_window, ..write(0) };
    scene.wrote(tgid, 1, LOG, row)
}

fn found(scene: Scene, size: u64) -> Scene {
    scene.exited(CUTTER, 0, 160).exited(WRITER, 0, 400).found(LOG, FileNow::Same, size)
}

/// The log is cut at 150 ms, between what is written before and after.
fn cut((size, flags): (u64, u32), (before, after): (u64, u64), end: u64) -> Scene {
    found(wrote(log(size, flags), WRITER, before, after).cut(CUTTER, LOG, 150), end)
}

/// What is lost in the log, at least and at most.
fn lost(scene: &Scene) -> Option<(u64, u64)> {
    let finding = scene.finding(Rule::FileLost)?;
    let number = |name: &str| finding.evidence[name].as_u64().unwrap();
    assert_eq!(finding.confidence == Confidence::Unsure, number("lost") == 0, "{finding:#?}");
    Some((number("lost"), number("lost_at_most")))
}

#[test]
fn a_file_that_was_not_shortened_has_lost_nothing() {
    let mut sparse = log(0, 0).wrote(WRITER, 1, LOG, written_at(1_000, 100));
    sparse = found(sparse.cut(WRITER, LOG, 150), 4_096);
    let preallocated = wrote(log(0, 0).cut(WRITER, LOG, 90), WRITER, 700, 0);
    let preallocated = found(preallocated.cut(WRITER, LOG, 150), 700);
    for (name, scene) in [
        ("to the size that it has", cut((0, 0), (1_000, 0), 1_000)),
        ("`dd conv=sparse` makes it longer at the end", sparse),
        ("`truncate -s +1M` while it is written", cut((0, 0), (1_000, 500), 1 << 20)),
        ("the same, and the writer appends", cut((0, O_APPEND), (1_000, 500), (1 << 20) + 500)),
        ("of a writer that appends, to the size that it has", cut((70, O_APPEND), (10, 20), 100)),
        ("to all that can be in it", cut((0, 0), (1_000, 0), 1_200)),
        ("preallocated, and cut to what is in it", preallocated),
        ("before anything was written", found(log(0, 0).cut(CUTTER, LOG, 90), 0)),
    ] {
        assert_eq!(lost(&scene), None, "{name}");
        let is_empty = scene.0.objects[&LOG].size_after == Some(0);
        assert_eq!(scene.finding(Rule::Delivered).is_some(), !is_empty, "{name}");
    }
}

#[test]
fn only_what_was_beyond_the_cut_is_lost() {
    let several = |flags| {
        let scene = writer(log(0, flags), 90, flags);
        wrote(wrote(scene, WRITER, 600, 50), 90, 400, 30).cut(CUTTER, LOG, 150)
    };
    for (name, scene, expected) in [
        ("to half of it", cut((0, 0), (1_000, 0), 500), 500),
        ("to half of it, and appended to", cut((0, O_APPEND), (1_000, 100), 600), 500),
        ("emptied, and appended to", cut((0, O_APPEND), (1_000, 100), 100), 1_000),
        ("what was there before stays", cut((1_000, O_APPEND), (60, 40), 1_040), 60),
        ("what was there before went, too", cut((1_000, O_APPEND), (60, 40), 40), 60),
        ("a part of what was written stays", cut((1_000, O_APPEND), (60, 40), 1_070), 30),
        ("several that append", found(several(O_APPEND), 580), 500),
        ("twice", found(several(O_APPEND).cut(CUTTER, LOG, 160), 80), 1_000),
    ] {
        assert_eq!(lost(&scene), Some((expected, expected)), "{name}");
    }
    check(vec![(Rule::FileLost, "half", cut((0, 0), (1_000, 0), 500), Some(Loss))]);
    // Another writer goes on behind a hole.
    assert_eq!(lost(&found(several(0), 580)), Some((500, 1_000)));
}

/// A writer that goes on behind a hole, and one that goes on at the end of a file that kept its size, give the same size.
#[test]
fn where_the_size_does_not_tell_what_was_cut_it_is_unsure() {
    let hole = || cut((0, 0), (1_000, 500), 1_500);
    assert_eq!(lost(&hole()), Some((0, 1_000)));
    check(vec![
        (Rule::FileLost, "perhaps a hole", hole(), Some(Warning)),
        (Rule::Delivered, "perhaps a hole", hole(), None),
    ]);
    let message = hole().finding(Rule::FileLost).unwrap().message;
    let said = "up to 1,000 B of what was written there may be gone: truncate (pid 85) cut the \
                file, and tracer did not see to which length";
    let begins = message.starts_with("service (pid 80) wrote 1,500 B to stdout, into the file");
    assert!(message.contains(said) && begins, "{message}");
    // What stood in the file before may be what is left of it.
    assert_eq!(lost(&cut((1_000, 0), (100, 0), 1_000)), Some((0, 100)));
    // The file is not at its path, so that its size is not known.
    let moved = wrote(log(0, O_APPEND), WRITER, 90, 0).cut(CUTTER, LOG, 150);
    assert_eq!(lost(&moved.exited(WRITER, 0, 400).found(LOG, FileNow::Gone, 0)), Some((0, 90)));
    // It was opened a second time, and who knows how.
    let mut again = wrote(log(0, O_APPEND), WRITER, 1_000, 500).cut(CUTTER, LOG, 150);
    again = again.replaced(WRITER, 1, LOG);
    assert_eq!(lost(&found(again, 1_500)), Some((0, 1_000)));
    // One of two cuts made it longer.
    for flags in [0, O_APPEND] {
        let twice = wrote(log(0, flags), WRITER, 1_000, 500).cut(CUTTER, LOG, 150);
        assert_eq!(lost(&found(twice.cut(CUTTER, LOG, 170), 9_000)), Some((0, 1_000)));
    }
    // A reader, such as `cp`, had read it before: `copytruncate`.
    let copied = wrote(log(0, 0), WRITER, 1_000, 500).read(CUTTER, LOG, 1_000, 140);
    assert_eq!(lost(&found(copied.cut(CUTTER, LOG, 150), 1_500)), None);
}

/// The kernel saw it empty: what came before is gone, whatever the size is now.
#[test]
fn what_was_written_before_a_file_was_emptied_is_lost() {
    let emptied = |before, after, end| {
        found(wrote(log(0, 0), WRITER, before, after).emptied(CUTTER, LOG, 150), end)
    };
    // Of a writer that goes on for long, the ledger keeps the sum only.
    for (name, end) in [("a hole", 1_500), ("made longer later", 1 << 20)] {
        assert_eq!(lost(&emptied(1_000, 500, end)), Some((1, 1_000)), "{name}");
    }
    let message = emptied(1_000, 500, 1_500).finding(Rule::FileLost).unwrap().message;
    let said = "up to 1,000 B of what was written there are gone: truncate (pid 85) cut the file";
    assert!(message.contains(said), "{message}");
    assert_eq!(lost(&emptied(1_000, 0, 0)), Some((1_000, 1_000)));
    assert_eq!(lost(&emptied(0, 500, 500)), None, "before anything was written");
    // It is not at its path, so that its size is not known.
    let moved = wrote(log(0, 0), WRITER, 90, 0).emptied(CUTTER, LOG, 150);
    assert_eq!(lost(&moved.exited(WRITER, 0, 400).found(LOG, FileNow::Gone, 0)), Some((90, 90)));
    // What came between it and a later cut may be there.
    let twice = wrote(log(0, 0), WRITER, 1_000, 500).emptied(CUTTER, LOG, 150);
    let twice = found(twice.cut(CUTTER, LOG, 350), 1_500);
    assert_eq!(lost(&twice).map(|(least, _)| least), Some(1));
    // A reader, such as `cp`, had read it before: `copytruncate`.
    let copied = wrote(log(0, O_APPEND), WRITER, 1_000, 500).read(CUTTER, LOG, 1_000, 140);
    assert_eq!(lost(&found(copied.emptied(CUTTER, LOG, 150), 500)), None);
}

/// `copytruncate` under a writer that does not append: the copy has everything, and the log is a hole with an end.
#[test]
fn a_log_that_goes_on_behind_a_hole_is_told() {
    let log_with = |flags, (before, after), (read, ms)| {
        let mut scene = wrote(log(0, flags), WRITER, before, after).read(CUTTER, LOG, read, ms);
        // It has read to the end.
        scene
            .0
            .ledger
            .values_mut()
            .filter(|row| row.ops == 1 << op::READ)
            .for_each(|row| row.zero = 1);
        scene.emptied(CUTTER, LOG, 150)
    };
    let rotated = |flags, end| found(log_with(flags, (1_000, 500), (1_000, 140)), end);
    let hole = |scene: &Scene| {
        let finding = scene.finding(Rule::FileLost).filter(|it| it.evidence["loss"] == "hole")?;
        assert_eq!((finding.severity, finding.confidence), (Warning, Confidence::Certain));
        assert!(finding.is_loss() && scene.finding(Rule::Delivered).is_none());
        Some(finding.message)
    };
    let message = hole(&rotated(0, 1_500)).unwrap();
    let said = "into the file /var/log/x, which begins with a hole of 1,000 B now: truncate (pid 85) \
                cut the file after a copy, and its writer does not append.";
    assert!(message.contains(said), "{message}");
    // The sum of one process spans the cut.
    let spans = |read, zero| {
        let mut scene = log(0, 0);
        let row = LedgerRow {
            calls: 2,
            first_ns: at(100),
            last_ns: at(155),
            window: at(155) >> WINDOW_SHIFT,
            ..write(1_500)
        };
        scene = scene.wrote(WRITER, 1, LOG, row).read(CUTTER, LOG, read, 140);
        scene
            .0
            .ledger
            .values_mut()
            .filter(|row| row.ops == 1 << op::READ)
            .for_each(|row| row.zero = zero);
        found(scene.emptied(CUTTER, LOG, 150), 1_500)
    };
    assert!(hole(&spans(1_000, 1)).unwrap().contains("a hole of 1,000 B now"));
    assert_eq!(lost(&spans(1_000, 0)), Some((0, 499)), "it may not have read to the end");
    // Two readers, of which one reads while it is written: the copy is the latest before the cut.
    let followed = log_with(0, (1_000, 500), (1_000, 140)).read(31, LOG, 400, 120);
    assert!(hole(&found(followed, 1_500)).unwrap().contains("a hole of 1,000 B"));
    // Read twice by one process, so that the length of the hole is not known.
    let twice = log_with(0, (1_000, 500), (2_000, 140)).read(31, LOG, 0, 100);
    assert!(hole(&found(twice, 1_500)).is_none(), "a reader of more than there is has it all");
    for (name, scene) in [
        ("it appends", rotated(O_APPEND, 1_500)),
        ("it appends, with a flag that is not seen", rotated(0, 500)),
        ("it wrote nothing since", found(log_with(0, (1_000, 0), (1_000, 140)), 0)),
        ("cut before the first byte", found(log(0, 0).emptied(CUTTER, LOG, 90), 0)),
        ("made longer", rotated(0, 4_096)),
    ] {
        assert_eq!(hole(&scene), None, "{name}");
    }
    let (outcome, bytes, severity, fate) = numbers(&rotated(0, 1_500));
    assert_eq!((outcome, severity), (Outcome::Cut, Warning));
    assert_eq!((bytes.arrived, bytes.lost, fate.delivered, fate.lost), (1_500, 0, 1_500, 0));
}

/// The time of a row of a file can be a tick too early: the last write may have come after the cut.
#[test]
fn a_write_in_the_tick_of_a_cut_may_have_come_after_it() {
    let anew = |calls, last_ms| {
        let row = LedgerRow { calls, first_ns: at(100), last_ns: at(last_ms), ..write(1_250) };
        found(log(0, 0).wrote(WRITER, 1, LOG, row).emptied(CUTTER, LOG, 150), 250)
    };
    assert_eq!(lost(&anew(2, 149)), Some((1_000, 1_000)));
    assert_eq!(lost(&anew(2, 120)), Some((1_250, 1_250)), "what is there now came in another way");
    assert_eq!(lost(&anew(1, 100)), Some((1_250, 1_250)), "the time of the only call is exact");
}

#[test]
fn a_file_that_the_kernel_makes_up_is_not_emptied() {
    let set = |path| {
        let mut scene = wrote(log(0, 0), WRITER, 2, 2).cut(CUTTER, LOG, 150);
        path_of(&mut scene, path);
        lost(&found(scene, 0))
    };
    assert_eq!(set("/proc/sys/vm/drop_caches"), None);
    assert_eq!(set("/sys/block/sda/queue/scheduler"), None);
    assert_eq!(set("/dev/shm/x"), Some((4, 4)));
}

fn path_of(scene: &mut Scene, path: &str) {
    path.clone_into(&mut scene.0.objects.get_mut(&LOG).unwrap().path);
}

/// Of what the writer wrote: its outcome, its share in a picture, and its fate in the numbers of a recorder.
fn numbers(scene: &Scene) -> (Outcome, Bytes, Severity, Fate) {
    let case = Case::new(&scene.0);
    let command = case.command_of(id(WRITER)).unwrap();
    let part = command.parts.iter().find(|part| part.segment.object == LOG).unwrap();
    let share = case.share(command.process, part);
    (part.outcome, share.bytes, share.severity, case.fate(command.process, part, true))
}

#[test]
fn the_numbers_of_a_recorder_say_the_same() {
    let table = [
        (
            "nothing",
            cut((0, 0), (1_000, 0), 1_000),
            (Outcome::InFile, Severity::Info),
            [1_000, 0, 0],
        ),
        ("half", cut((0, 0), (1_000, 0), 500), (Outcome::Cut, Loss), [500, 500, 0]),
        ("perhaps", cut((0, 0), (1_000, 500), 1_500), (Outcome::Cut, Warning), [500, 0, 1_000]),
        ("some", cut((0, 0), (1_000, 500), 900), (Outcome::Cut, Loss), [500, 600, 400]),
    ];
    for (name, scene, expected, [delivered, lost, unknown]) in table {
        let (outcome, bytes, severity, fate) = numbers(&scene);
        assert_eq!((outcome, severity), expected, "{name}");
        let written = delivered + lost + unknown;
        let (arrived, unseen) = (delivered, unknown);
        assert_eq!(bytes, Bytes { written, arrived, lost, unseen, ..Bytes::default() }, "{name}");
        assert_eq!(fate, Fate { written, delivered, lost, unknown, ..Fate::default() }, "{name}");
    }
}
