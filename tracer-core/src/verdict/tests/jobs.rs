//! Jobs of a recorder: each is judged by itself as a trace would judge it, and leaves nothing behind.

use std::collections::BTreeSet;

use tracer_common::{
    ledger::{LedgerKey, LedgerRow, error},
    object::ObjectId,
};

use super::{commands::refused, scene::*};
use crate::{
    event::{Event, EventKind},
    session::{Job, Parts, Process, Session},
    verdict::{Case, Finding, judge},
};

const NOW: u64 = u64::MAX / 2;

fn job_of(session: &Session, tgid: u32) -> Job {
    session.jobs().into_iter().find(|job| job.root == id(tgid)).expect("no job")
}

fn part(scene: &Scene, job: &Job, open: &[(LedgerKey, LedgerRow)]) -> Session {
    Parts::of(&scene.0, open).part(job)
}

fn pids(job: &Job) -> Vec<u32> {
    job.members.iter().map(|member| member.tgid).collect()
}

fn first_of(session: &Session) -> Finding {
    judge(&Case::new(session)).into_iter().next().unwrap()
}

/// What a trace that ends now says of the command is what its part says.
fn is_judged_as_in_a_trace(scene: &Scene) {
    let job = job_of(&scene.0, COMMAND);
    assert!(job.has_settled(NOW), "{job:?}");
    let mut part = part(scene, &job, &[]);
    part.end_ns = scene.0.end_ns;
    let findings = scene.judged();
    let whole = findings.iter().find(|finding| finding.pid == COMMAND).unwrap();
    let found = first_of(&part);
    assert_eq!((found.rule, found.confidence), (whole.rule, whole.confidence));
    assert_eq!(found.message, whole.message);
}

#[test]
fn a_part_gives_the_finding_of_a_trace() {
    is_judged_as_in_a_trace(&wrote_and_read(&["ls"], 9).exited(COMMAND, 0, 200));
    is_judged_as_in_a_trace(&managed(&["true"]).exited(COMMAND, 0, 200));
    let unread = managed(&["seq"]).wrote(COMMAND, 1, OUT, write(500)).read(MANAGER, OUT, 200, 110);
    let unread = unread.exited(COMMAND, 0, 200);
    is_judged_as_in_a_trace(&unread);
    is_judged_as_in_a_trace(&unread.closed(MANAGER, OUT, 300).inside(OUT, 300, 300));
    let other = managed(&["sh"]).wrote(COMMAND, 2, ERR, write(7)).read(MANAGER, ERR, 7, 110);
    is_judged_as_in_a_trace(&other.exited(COMMAND, 1, 200));
    let closed = managed(&["sh"]).wrote(COMMAND, 1, ObjectId::NONE, refused(error::EBADF, 1));
    assert_eq!(closed.judged()[0].rule, Rule::Refused);
    is_judged_as_in_a_trace(&closed.exited(COMMAND, 1, 200));
}

#[test]
fn a_refusal_on_a_closed_fd_belongs_to_the_job() {
    let refused = with_errors(LedgerRow::ZERO, error::EBADF, 3);
    let scene = managed(&["seq"]).wrote(COMMAND, 1, ObjectId::NONE, refused);
    let scene = scene.exited(COMMAND, 1, 200);
    let part = part(&scene, &job_of(&scene.0, COMMAND), &[]);
    assert_eq!(part.ledger.values().map(|row| row.errors[error::EBADF as usize]).sum::<u32>(), 3);
}

#[test]
fn what_a_running_command_wrote_to_is_kept_while_it_is_recent() {
    let log = |number: u32| object(5_000 + u64::from(number));
    let mut scene = wrote_and_read(&["sh"], 9);
    for number in 0..100 {
        scene = scene.file(log(number), "/tmp/log");
        let row = written_at(10, 200 + u64::from(number));
        scene = scene.wrote(COMMAND, 1, log(number), row);
    }
    let done = scene.clone().command(99, COMMAND, &["ls"], [NULL, object(7_000), ERR]);
    let mut session = done.exited(99, 0, 400).0;
    session.forget(&[job_of(&session, 99)], |object| *object == OUT || *object == ERR);
    let known: Vec<bool> = [0, 35, 36, 99]
        .map(|number| {
            session.ledger.keys().any(|key| key.object == log(number) && key.process == id(COMMAND))
        })
        .to_vec();
    assert_eq!(known, [false, false, true, true]);
    assert_eq!(session.processes[&id(COMMAND)].written_to_ended, 360);
    let silent = Process { written_to_ended: 360, ..session.processes[&id(COMMAND)].clone() };
    let mut alone = managed(&["sh"]).exited(COMMAND, 0, 200);
    alone
        .0
        .processes
        .insert(silent.id, Process { end_ns: Some(at(200)), status: Some(0), ..silent });
    let message = alone.finding(Rule::NeverWrote).unwrap().message;
    assert!(
        message.contains("; it wrote 360 B to files or pipes that have ended since."),
        "{message}"
    );
    assert!(session.processes[&id(COMMAND)].started_jobs && job_of(&session, COMMAND).has_inner);
}

#[test]
fn the_pid_with_which_a_process_enters_a_cgroup_is_no_output() {
    let (list, log) = (object(5_001), object(5_002));
    let scene = wrote_and_read(&["sh"], 9)
        .file(list, "/sys/fs/cgroup/job/cgroup.procs")
        .file(log, "/tmp/cgroup.procs")
        .wrote(COMMAND, 1, list, written_at(6, 50))
        .exited(COMMAND, 0, 200);
    let message = |scene: &Scene| scene.finding(Rule::Delivered).unwrap().message;
    assert_eq!(message(&scene), message(&wrote_and_read(&["sh"], 9).exited(COMMAND, 0, 200)));
    let elsewhere =
        managed(&["sh"]).file(log, "/tmp/cgroup.procs").wrote(COMMAND, 1, log, write(6));
    assert!(elsewhere.exited(COMMAND, 0, 200).finding(Rule::Elsewhere).is_some());
}

#[test]
fn arguments_of_the_image_before_come_too_late() {
    let mut scene = wrote_and_read(&["seq", "9"], 9);
    let argv = vec!["sh".to_owned()];
    let process = id(COMMAND);
    let kind = EventKind::Arguments { process, argv, argv_cut: false, argv_bytes: 0 };
    scene.0.apply(&Event { time_ns: at(150), kind });
    assert_eq!(scene.0.processes[&process].command(), "seq 9");
}

#[test]
fn rows_that_are_still_in_the_kernel_count() {
    let scene = managed(&["ls"]).wrote(COMMAND, 1, OUT, write(9)).exited(COMMAND, 0, 200);
    let job = job_of(&scene.0, COMMAND);
    let read = scene.clone().read(MANAGER, OUT, 9, 110);
    let key = *read.0.ledger.keys().find(|key| key.process == id(MANAGER)).unwrap();
    let open: Vec<(LedgerKey, _)> = vec![(key, read.0.ledger[&key])];
    let watched = |_: &ObjectId| true;
    assert!(!part(&scene, &job, &[]).is_drained(&job, watched));
    assert!(part(&scene, &job, &[]).is_drained(&job, |_| false));
    let part = part(&scene, &job, &open);
    assert!(part.is_drained(&job, watched));
    assert_eq!(first_of(&part).rule, Rule::Delivered);
}

#[test]
fn a_job_is_a_command_with_streams_of_its_own() {
    let scene = managed(&["sh"]);
    // A part of the command: the same streams, or none that leads anywhere.
    let scene = scene.command(72, COMMAND, &["echo"], [NULL, OUT, ERR]);
    let scene = scene.command(73, COMMAND, &["quiet"], [NULL, NULL, ERR]).fork(74, COMMAND);
    assert_eq!(pids(&job_of(&scene.0, COMMAND)), [COMMAND, 72, 73, 74]);
    // `$(…)`: the shell itself reads it. `a | b`: the next command does.
    let (substituted, piped) = (object(110), object(111));
    let scene = scene.pipe(substituted).pipe(piped);
    let scene = scene.command(75, COMMAND, &["date"], [NULL, substituted, ERR]);
    let scene = scene.command(76, COMMAND, &["seq"], [NULL, piped, ERR]);
    let scene = scene.command(77, COMMAND, &["head"], [piped, OUT, ERR]);
    assert_eq!(pids(&job_of(&scene.0, COMMAND)), [COMMAND, 72, 73, 74, 76, 77]);
    assert_eq!(pids(&job_of(&scene.0, 75)), [75]);
    assert_eq!(pids(&job_of(&scene.0, MANAGER)), [MANAGER]);
}

/// runc's processes fork each other in the container's cgroup before the last one executes the program.
#[test]
fn the_program_of_a_container_is_a_job_and_not_a_part_of_its_runtime() {
    let runtime = |scene: Scene, tgid: u32, comm: &str| {
        let mut scene = scene.fork(tgid, tgid - 1);
        scene.0.processes.get_mut(&id(tgid)).unwrap().comm = comm.to_owned();
        scene
    };
    let scene = managed(&["true"]).adopted(80, "runc:[0:PARENT]", [NULL, OUT, ERR]);
    let scene = runtime(runtime(scene, 81, "runc:[1:CHILD]"), 82, "runc:[2:INIT]");
    let scene =
        scene.exec(82, &["sh"], [NULL, OUT, ERR]).command(83, 82, &["ls"], [NULL, OUT, ERR]);
    assert_eq!(pids(&job_of(&scene.0, 82)), [82, 83]);
    assert_eq!(pids(&job_of(&scene.0, 80)), [80, 81]);
}

#[test]
fn a_job_runs_as_long_as_one_of_its_processes() {
    let scene = wrote_and_read(&["sh"], 9).fork(72, COMMAND).exited(COMMAND, 0, 200);
    assert_eq!(job_of(&scene.0, COMMAND).ended_ns, None);
    let scene = scene.exited(72, 0, 900);
    let job = job_of(&scene.0, COMMAND);
    assert_eq!(job.ended_ns, Some(at(900)));
    assert!(!job.has_settled(at(1_000)) && job.has_settled(at(2_000)));
}

#[test]
fn a_process_whose_end_was_not_reported_is_found_gone() {
    let mut scene = wrote_and_read(&["ls"], 9);
    scene.0.vanished(id(COMMAND), at(500));
    assert_eq!(job_of(&scene.0, COMMAND).ended_ns, Some(at(500)));
    assert_eq!(scene.0.processes[&id(COMMAND)].status, None);
}

/// What a session has, without texts.
fn size(session: &Session) -> (usize, usize, usize, usize, u64) {
    let Session { processes, objects, ledger, joined, .. } = session;
    (processes.len(), objects.len(), ledger.len(), joined.len(), session.memory())
}

#[test]
fn ten_thousand_jobs_leave_nothing() {
    let mut scene = managed(&["true"]).exited(COMMAND, 0, 100);
    let mut sizes = BTreeSet::new();
    for number in 1..=10_000_u32 {
        let tgid = 100 + number;
        let [out, err] = [0, 1].map(|fd| object(1_000 + u64::from(number) * 2 + fd));
        scene = scene.pipe(out).pipe(err).command(tgid, MANAGER, &["job"], [NULL, out, err]);
        scene = scene
            .wrote(tgid, 1, out, write(10))
            .read(MANAGER, out, 10, 110)
            .closed(MANAGER, out, 290)
            .exited(tgid, 0, 300);
        let settled = scene.0.jobs().into_iter().filter(|job| job.has_settled(NOW));
        for job in settled.collect::<Vec<_>>() {
            scene.0.forget(&[job], |_| false);
        }
        sizes.insert(size(&scene.0));
    }
    assert_eq!(sizes.len(), 1, "{sizes:?}");
    let names: Vec<&str> = scene.0.processes.values().map(|known| known.comm.as_str()).collect();
    assert_eq!(names, ["manager"]);
}

#[test]
fn the_account_of_a_shared_pipe_stays_exact() {
    let shared = |tgid: u32| {
        move |scene: Scene| {
            let scene = scene.command(tgid, MANAGER, &["job"], [NULL, OUT, ERR]);
            scene.wrote(tgid, 1, OUT, write(10)).exited(tgid, 0, 300)
        }
    };
    let mut scene = managed(&["first"]).wrote(COMMAND, 1, OUT, write(10)).exited(COMMAND, 0, 200);
    for tgid in 80..90 {
        scene = shared(tgid)(scene);
        let ended =
            scene.0.jobs().into_iter().filter(|job| job.has_settled(NOW) && job.root != id(tgid));
        for job in ended.collect::<Vec<_>>() {
            scene.0.forget(&[job], |_| true);
        }
    }
    // One process stands for all that were forgotten.
    assert_eq!(scene.0.ledger.len(), 2);
    let scene = scene.read(MANAGER, OUT, 110, 400);
    let job = job_of(&scene.0, 89);
    let found = first_of(&part(&scene, &job, &[]));
    assert_eq!(found.rule, Rule::Delivered, "{found:?}");
}
