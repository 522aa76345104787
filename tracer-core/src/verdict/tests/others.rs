//! Jobs of a recorder, and what other jobs and strangers did to their output: who cut or removed a file, and who wrote what
//! a reader lost, is known also when that process was judged and forgotten before.

use tracer_common::{
    id::ProcessId,
    ledger::{LedgerRow, error},
    object::ObjectId,
};

use super::{commands::refused, scene::*};
use crate::{
    event::FileNow,
    session::{Job, Parts, Session},
    verdict::{Case, judge},
};

const LOG: ObjectId = object(170);
const PIPE: ObjectId = object(171);

/// A service whose stdout is a log, and that fails in the end.
fn service() -> Scene {
    let scene = managed(&["true"]).exited(COMMAND, 0, 75).file(LOG, "/var/log/app/x.log");
    scene.command(80, MANAGER, &["service"], [NULL, LOG, ERR]).wrote(80, 1, LOG, write(90))
}

/// A command of the manager with streams of its own, which ends at once.
fn other(scene: Scene, tgid: u32, argv: &[&str]) -> Scene {
    let out = object(1_000 + u64::from(tgid));
    let scene = scene.pipe(out).command(tgid, MANAGER, argv, [NULL, out, out]);
    scene.exited(tgid, 0, u64::from(tgid) + 1)
}

fn job_of(session: &Session, tgid: u32) -> Job {
    session.jobs().into_iter().find(|job| job.root == id(tgid)).expect("no job")
}

/// The jobs that have ended are judged and forgotten, but not these. Only the log and the pipe have not ended.
fn forgotten_but(mut scene: Scene, keep: &[u32]) -> Scene {
    let is_done =
        |job: &Job| job.ended_ns.is_some() && !keep.iter().any(|tgid| job.root == id(*tgid));
    let done: Vec<Job> = scene.0.jobs().into_iter().filter(is_done).collect();
    scene.0.forget(&done, |object| [LOG, PIPE].contains(object));
    scene
}

fn forgotten(scene: Scene) -> Scene {
    forgotten_but(scene, &[80])
}

/// What is said of a job about this rule.
fn told(scene: &Scene, tgid: u32, rule: Rule) -> Option<String> {
    let mut part = Parts::of(&scene.0, &[]).part(&job_of(&scene.0, tgid));
    part.end_ns = scene.0.end_ns;
    let findings = judge(&Case::new(&part));
    findings.into_iter().find(|finding| finding.rule == rule).map(|finding| finding.message)
}

fn about_the_log(scene: &Scene) -> String {
    told(scene, 80, Rule::FileLost).expect("nothing is lost")
}

#[test]
fn the_job_that_removed_a_file_is_named() {
    let ends = |scene: Scene| scene.exited(80, 1, 300).found(LOG, FileNow::Gone, 0);
    let by = ", which was removed, probably by rm -r /var/log/app (pid 115): 90 B are gone";
    let waits = || other(service(), 115, &["rm", "-r", "/var/log/app"]);
    for scene in [waits(), forgotten(waits()), forgotten(forgotten(waits()))] {
        let message = about_the_log(&ends(scene));
        assert!(message.contains(by), "{message}");
    }
    // Two of them, of which one or both are forgotten: it is not known which it was.
    let second = |scene: Scene| other(scene, 117, &["rm", "x.log"]);
    for scene in [second(forgotten(waits())), forgotten(second(waits()))] {
        assert_eq!(told(&ends(scene), 80, Rule::FileLost), None);
    }
    // A file of another name, and a reader.
    for argv in [&["rm", "/var/log/app2"][..], &["sed", "-n", "1p", "x.log"], &["cat", "x.log"]] {
        let scene = ends(forgotten(other(service(), 115, argv)));
        assert_eq!(told(&scene, 80, Rule::FileLost), None, "{argv:?}");
    }
}

#[test]
fn the_process_that_cut_a_file_is_named_a_command_or_a_stranger() {
    let ends = |scene: Scene| scene.exited(80, 0, 300).found(LOG, FileNow::Same, 0);
    let of_job = other(service(), 110, &["truncate", "-s0", "x.log"]).cut(110, LOG, 111);
    let mut of_stranger = service().cut(111, LOG, 111);
    let stranger = of_stranger.0.processes.get_mut(&id(111)).unwrap();
    (stranger.comm, stranger.end_ns) = ("logrotate".to_owned(), Some(at(112)));
    for (scene, by) in [(of_job, "truncate (pid 110)"), (of_stranger, "logrotate (pid 111)")] {
        for scene in [scene.clone(), forgotten(scene)] {
            let message = about_the_log(&ends(scene));
            assert!(
                message.contains(&format!(
                    "90 B of what was written there are gone: {by} cut the file"
                )),
                "{message}"
            );
        }
    }
}

#[test]
fn inside_another_command_only_what_was_written_late_is_told() {
    let job = |bytes| {
        let scene = managed(&["true"]).exited(COMMAND, 0, 75).pipe(PIPE);
        // The starter is a command of the manager, and the job is one of its commands.
        let scene = scene.command(80, MANAGER, &["starter"], [NULL, OUT, ERR]);
        let scene = scene.command(81, 80, &["sh"], [NULL, PIPE, ERR]).fork(82, 81);
        let scene = scene.wrote(81, 1, PIPE, written_at(9, 90)).read(80, PIPE, 9, 95);
        let scene = scene.exited(81, 0, 100);
        let scene = if bytes > 0 {
            scene.wrote(82, 1, PIPE, written_at(bytes, 900)).read(80, PIPE, bytes, 910)
        } else {
            scene
        };
        scene.exited_with(82, 950, [NULL, PIPE, ERR])
    };
    let message = told(&job(5), 81, Rule::LateWriter).unwrap();
    assert!(message.contains("which it started, wrote 5 B later"), "{message}");
    assert_eq!(told(&job(0), 81, Rule::LateWriter), None);
    // A command that no other has started: the stream ends late.
    let outer = Job { is_inner: false, ..job_of(&job(0).0, 81) };
    let part = Parts::of(&job(0).0, &[]).part(&outer);
    let findings = judge(&Case::new(&part));
    assert!(findings.iter().any(|finding| finding.rule == Rule::LateWriter), "{findings:?}");
}

#[test]
fn what_is_written_to_a_file_after_its_size_was_asked_for_is_not_missing() {
    let with_size = |size, (later, ms)| {
        let scene = service().exited(80, 0, 300);
        let written = scene.0.written_to_files();
        let scene = scene.command(98, MANAGER, &["other"], [NULL, LOG, ERR]);
        let scene = scene.wrote(98, 1, LOG, written_at(later, ms)).found(LOG, FileNow::Same, size);
        let mut part = Parts::of(&scene.0, &[]).part(&job_of(&scene.0, 80));
        part.files_were_asked_for(&written);
        let findings = judge(&Case::new(&part));
        let lost = findings.into_iter().find(|finding| finding.rule == Rule::FileLost);
        lost.map(|finding| finding.message)
    };
    // What was written later may be a part of the size, or not.
    for size in [90, 100, 140] {
        assert_eq!(with_size(size, (50, 400)), None);
    }
    let message = with_size(60, (50, 400)).unwrap();
    assert!(message.contains("and at least 30 B of what was written there are gone"), "{message}");
    let message = with_size(60, (0, 400)).unwrap();
    assert!(message.contains("and 30 B of what was written there are gone"), "{message}");
}

#[test]
fn a_job_inside_of_another_one_stays_so_when_that_one_was_judged_before() {
    let scene = managed(&["true"]).exited(COMMAND, 0, 75).pipe(PIPE);
    let scene = scene.command(80, MANAGER, &["script"], [NULL, OUT, ERR]);
    let scene = scene.command(81, 80, &["probe"], [NULL, PIPE, PIPE]);
    let scene = scene.exited(81, 0, 100).exited(80, 0, 110);
    assert!(job_of(&scene.0, 81).is_inner);
    let scene = forgotten_but(scene, &[81]);
    assert!(scene.0.processes.get(&id(80)).is_none() && job_of(&scene.0, 81).is_inner);
}

/// Three commands that each write 20 B anew into one log, which the manager opens; the first of them ends at `end`.
fn runs(end: u64) -> Scene {
    let scene = managed(&["true"]).exited(COMMAND, 0, 75).file(LOG, "/tmp/last.log");
    (0..3).fold(scene, |scene, run| {
        let (tgid, ms) = (80 + run, 100 * u64::from(run + 1));
        let scene = scene.command(tgid, MANAGER, &["run"], [NULL, LOG, ERR]).cut(MANAGER, LOG, ms);
        let scene = scene.wrote(tgid, 1, LOG, written_at(20, ms + 10));
        scene.exited(tgid, 0, if run == 0 { end } else { ms + 20 })
    })
}

#[test]
fn the_log_of_each_run_is_written_anew_on_purpose() {
    let size = |scene: Scene| scene.found(LOG, FileNow::Same, 20);
    for tgid in [80, 81, 82] {
        assert_eq!(told(&size(runs(120)), tgid, Rule::FileLost), None, "{tgid}");
        assert!(told(&size(runs(120)), tgid, Rule::Delivered).is_some(), "{tgid}");
        // Those before were judged and forgotten.
        let left: Vec<u32> = (tgid..=82).collect();
        let scene = size(forgotten_but(runs(120), &left));
        assert_eq!(told(&scene, tgid, Rule::FileLost), None, "{tgid}");
    }
    // The first one still had the log as its output.
    let message = told(&size(runs(900)), 82, Rule::FileLost).unwrap();
    assert!(message.contains("40 B of what was written there are gone"), "{message}");
    // A part of the last run cuts what another part of it has written.
    let own = runs(120).fork(83, 82).wrote(83, 1, LOG, written_at(5, 400)).cut(83, LOG, 390);
    let message = told(&own.exited(83, 0, 410).found(LOG, FileNow::Same, 5), 82, Rule::FileLost);
    assert!(message.unwrap().contains("run (pid 82)"));
    // No process wrote after the cut.
    let cut = size(runs(120)).cut(99, LOG, 999).found(LOG, FileNow::Same, 0);
    assert!(told(&cut, 82, Rule::FileLost).is_some());
}

/// The processes that are known besides the manager and the service.
fn others(scene: &Scene) -> Vec<ProcessId> {
    let known = scene.0.processes.values().map(|known| known.id);
    known.filter(|known| ![id(MANAGER), id(80)].contains(known)).collect()
}

#[test]
fn of_a_thousand_that_cut_and_remove_a_file_those_that_matter_are_known_while_it_is() {
    let mut scene = service();
    for tgid in 1_000..2_000 {
        let at_ms = u64::from(tgid);
        scene = other(scene, tgid, &["rm", "x.log"]);
        scene = scene.cut(tgid, LOG, at_ms).cut(tgid + 5_000, LOG, at_ms).exited(
            tgid + 5_000,
            0,
            at_ms,
        );
        scene = forgotten(scene);
        assert!(others(&scene).len() <= 4, "{:?}", others(&scene));
    }
    assert!(!others(&scene).is_empty());
    let mut scene = scene.exited(80, 0, 3_000);
    let job = job_of(&scene.0, 80);
    scene.0.forget(&[job], |_| false);
    assert_eq!(others(&scene), []);
}

#[test]
fn the_only_writer_of_a_pipe_keeps_its_name_and_several_do_not() {
    let relay = || {
        let scene = managed(&["true"]).exited(COMMAND, 0, 75).pipe(PIPE);
        scene.command(80, MANAGER, &["sort"], [PIPE, OUT, ERR])
    };
    let writer = |scene: Scene, tgid: u32| {
        let scene = scene.command(tgid, MANAGER, &["seq", "9"], [NULL, PIPE, ERR]);
        scene.wrote(tgid, 1, PIPE, written_at(50, 100)).exited(tgid, 0, 101)
    };
    let killed = |scene: Scene, bytes| scene.read(80, PIPE, bytes, 110).ended(80, 9, 200);
    let one = killed(forgotten(writer(relay(), 90)), 50);
    let message = told(&one, 80, Rule::KeptBack).unwrap();
    assert!(message.contains("read 50 B from seq (pid 90) and passed on nothing"), "{message}");
    let two = forgotten(writer(forgotten(writer(relay(), 90)), 91));
    let message = told(&killed(two.clone(), 100), 80, Rule::KeptBack).unwrap();
    assert!(message.contains("read 100 B from earlier commands (several)"), "{message}");
    assert_eq!(two.0.ledger.len(), 1);
}

/// `(seq 500; sleep 1; echo tail) | reader`, where the reader reads a part and leaves: `seq` wrote, the shell was refused.
#[test]
fn of_several_writers_the_one_that_was_refused_is_named() {
    let shell = |fd_1: ObjectId, scene: Scene| {
        let scene = scene.command(80, COMMAND, &["sh", "job"], [NULL, fd_1, ERR]);
        let scene = scene.command(81, 80, &["seq", "500"], [NULL, fd_1, ERR]);
        let scene = scene.wrote(81, 1, fd_1, written_at(1892, 100)).exited(81, 0, 110);
        let row = LedgerRow { first_ns: at(300), ..refused(error::EPIPE, 5) };
        scene.wrote(80, 1, fd_1, row).exited(80, 1, 310)
    };
    let scene = managed(&["sh"]).pipe(PIPE).command(82, COMMAND, &["reader"], [PIPE, OUT, ERR]);
    let scene = scene.read(82, PIPE, 100, 150).closed(82, PIPE, 200).exited(82, 0, 200);
    let message =
        shell(PIPE, scene).exited(COMMAND, 0, 400).finding(Rule::ReaderGone).unwrap().message;
    let expected = "sh job (pid 80) could not write to stdout: ";
    assert!(message.starts_with(expected) && message.ends_with(" It exited with 1."), "{message}");
}

/// The other end of a socket may not be known: its server had not accepted yet. The end of the writer's own end says nothing.
#[test]
fn no_process_is_blamed_for_the_other_end_of_a_socket_that_is_not_known() {
    let socket = object(180);
    let scene = managed(&["work"]).socket(socket, 1, [0; 4], ObjectId::NONE);
    let scene = scene.command(80, COMMAND, &["seq"], [NULL, socket, ERR]);
    let row = LedgerRow { bytes: 9, ..refused(error::EPIPE, 5) };
    let scene = scene.wrote(80, 1, socket, row).closed(80, socket, 200).exited(80, 1, 210);
    let scene = scene.exited(COMMAND, 0, 300);
    let message = |rule| scene.finding(rule).unwrap().message;
    let (gone, place) = (message(Rule::ReaderGone), message(Rule::Elsewhere));
    assert!(gone.contains("was closed, and tracer did not see by whom"), "{gone}");
    assert!(place.contains(", whose other end tracer did not see"), "{place}");
}

/// `coproc C { cat; echo extra; }`, of which the reader takes the first line only.
#[test]
fn of_several_writers_the_one_that_wrote_what_is_unread_is_named() {
    let scene = |read: u64| {
        let scene = managed(&["sh"]).pipe(PIPE).fork(80, COMMAND);
        let scene = scene.command(81, 80, &["cat"], [NULL, PIPE, ERR]);
        let scene = scene.wrote(81, 1, PIPE, written_at(3, 100)).exited(81, 0, 110);
        let scene = scene.read(COMMAND, PIPE, read, 120).wrote(80, 1, PIPE, written_at(6, 130));
        scene.exited(80, 0, 140).closed(COMMAND, PIPE, 150).exited(COMMAND, 0, 160)
    };
    let message = |read| scene(read).finding(Rule::Unread).unwrap().message;
    let (last, both) = (message(3), message(2));
    assert!(last.starts_with("sh (pid 80) wrote 6 B together with others"), "{last}");
    assert!(both.starts_with("cat (pid 81) wrote 3 B together with others"), "{both}");
}

/// `(one; two) | reader`, where the reader has read all of the first and none of the second command.
#[test]
fn of_two_commands_in_turn_only_the_one_whose_bytes_are_unread_is_told() {
    let scene = managed(&["sh"]).pipe(PIPE);
    let scene = scene.command(81, COMMAND, &["one"], [NULL, PIPE, ERR]);
    let scene = scene.wrote(81, 1, PIPE, written_at(4, 100)).exited(81, 0, 110);
    let scene = scene.command(82, COMMAND, &["two"], [NULL, PIPE, ERR]).read(COMMAND, PIPE, 4, 120);
    let scene = scene.wrote(82, 1, PIPE, written_at(8, 130)).exited(82, 0, 140);
    let scene = scene.closed(COMMAND, PIPE, 150).exited(COMMAND, 0, 160);
    let found = scene.judged().into_iter().filter(|finding| finding.rule == Rule::Unread);
    let messages: Vec<_> = found.map(|finding| finding.message).collect();
    assert_eq!(messages.len(), 1, "{messages:#?}");
    assert!(messages[0].starts_with("two (pid 82) wrote 8 B"), "{messages:#?}");
}

/// Two forks of a shell have one file: one wrote most of it, the disk was full for the other.
#[test]
fn of_two_forks_with_one_file_the_one_that_was_refused_is_named() {
    let scene = managed(&["sh"]).file(LOG, "/full/log").fork(80, COMMAND).fork(81, COMMAND);
    let scene = scene.wrote(80, 1, LOG, written_at(900, 100)).exited(80, 0, 110);
    let row = LedgerRow { first_ns: at(200), ..refused(error::ENOSPC, 7) };
    let scene = scene.wrote(81, 1, LOG, row).exited(81, 3, 210).exited(COMMAND, 0, 300);
    let finding = scene.finding(Rule::Refused).unwrap();
    assert!(finding.message.contains("of sh (pid 81) with ENOSPC"), "{}", finding.message);
    assert!(finding.message.ends_with(" It exited with 3."), "{}", finding.message);
}
