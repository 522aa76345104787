mod hostile;
mod scene;

use tracer_common::ledger::{READ, WRITE};
use tracer_core::session::{Flows, Kind, Session};

use self::scene::{SENTRY, Scene, packet, returned};
use super::*;
use crate::wire::{Clone, Close, Context, Dup, Ended, Exec, Pipe, Returned, Start, Transfer};

/// `writer | reader`, where the reader closes its end after `read` of 5,000 B.
fn pipeline(read: i64) -> Scene {
    let mut scene = Scene::new();
    scene.starts(&["/bin/sh"]);
    scene.pipes(1, 3, 4);
    scene.forks(1, 2);
    scene.forks(1, 3);
    scene.closes(1, 3);
    scene.closes(1, 4);
    scene.duplicates(2, 4, 1, "pipe:[7]");
    scene.closes(2, 3);
    scene.closes(2, 4);
    scene.executes(2, "/bin/writer");
    scene.duplicates(3, 3, 0, "pipe:[7]");
    scene.closes(3, 3);
    scene.closes(3, 4);
    scene.executes(3, "/bin/reader");
    scene.moves(2, WRITE, 1, "pipe:[7]", Ok(5000));
    if read > 0 {
        scene.moves(3, READ, 0, "pipe:[7]", Ok(read));
    }
    scene.closes(3, 0);
    scene.ends(3, 0);
    scene.moves(2, WRITE, 1, "pipe:[7]", Err(32));
    scene.ends(2, 13);
    scene
}

#[test]
fn a_pipe_inside_has_books_and_a_closer() {
    let scene = pipeline(100);
    let pipe = scene.pipe();
    assert_eq!(scene.session.object_name(&pipe), "pipe:[7]");
    let flows = Flows::of(&scene.session);
    let flow = flows.get(&pipe);
    assert_eq!((flow.written, flow.read, flow.unread), (5000, 100, Some(4900)));
    assert_eq!(flow.balanced, None, "no look proves it");
    let closer = scene.session.last_closer(&pipe).unwrap();
    assert_eq!((closer.process.tgid, closer.fd, closer.by_exit), (3, 0, false));
    assert!(scene.guest.losses().is_empty(), "{:?}", scene.guest.losses());
}

#[test]
fn guests_have_parents_names_and_ends() {
    let scene = pipeline(5000);
    let known = |tgid| {
        let mut all = scene.session.processes.values();
        all.find(|process| process.id.tgid == tgid && process.id.sandbox == 1).unwrap()
    };
    assert_eq!((known(2).comm.as_str(), known(2).signal()), ("writer", Some(13)));
    assert_eq!((known(2).parent.tgid, known(1).parent), (1, SENTRY));
    assert_eq!(known(2).id.start_ns, 4002, "time since boot");
    assert_eq!(known(1).end_ns, None);
}

#[test]
fn a_process_has_the_name_of_the_path_that_it_executed() {
    let mut scene = Scene::new();
    scene.starts(&["/bin/init"]);
    scene.forks(1, 2);
    scene.executes(2, "/usr/bin/dash");
    let (context, exit) = (scene.context(2), Some(Returned::default()));
    scene.send(11, &crate::wire::Execve { context, exit, path: b"/bin/sh".into() });
    let mut all = scene.session.processes.values();
    let known = all.find(|process| process.id.tgid == 2).unwrap();
    assert_eq!((known.comm.as_str(), known.command().as_str()), ("sh", "/usr/bin/dash"));
    assert!(known.executed && !known.attached_late);
}

/// `docker exec`: no message tells the start.
#[test]
fn a_command_that_the_runtime_started_has_streams_and_a_name_at_the_end() {
    let mut scene = Scene::new();
    scene.starts(&["/bin/sleep"]);
    assert!(!scene.guest.has_strangers());
    scene.moves(5, WRITE, 1, "host:[4]", Ok(7));
    assert!(scene.guest.has_strangers());
    // Its shell saves fd 1 and has fd 2 there for a while: that is not its stdout.
    scene.closes(5, 1);
    scene.duplicates(5, 2, 1, "host:[5]");
    scene.ends(5, 0);
    // How many threads it has is not known.
    let context = scene.context(5);
    scene.send(4, &Ended { context, status: 0 });
    let mut all = scene.session.processes.values();
    let known = all.find(|process| process.id.tgid == 5).unwrap();
    let stream = |fd| scene.session.object_name(&known.stdio_object(fd).unwrap());
    assert_eq!((stream(1), stream(2)), ("host:[4]".to_owned(), "host:[5]".to_owned()));
    assert_eq!((known.comm.as_str(), known.exit_code()), ("told-at-end", Some(0)));
}

#[test]
fn a_list_of_what_runs_makes_a_stranger_known_and_no_other() {
    let mut scene = Scene::new();
    scene.starts(&["/bin/sleep"]);
    scene.moves(5, WRITE, 1, "host:[4]", Ok(7));
    let listed = |pid: i32| {
        let line = format!(
            r#"{{"args":["top","-b"],"clone_ts":{},"status":{{"comm":"top","pid":{pid}}}}}"#,
            5000 + pid
        );
        crate::running(&line).remove(0)
    };
    for pid in [1, 5, 6] {
        scene.guest.lists(&listed(pid), 20_000);
    }
    scene.apply();
    let names: Vec<_> = scene
        .session
        .processes
        .values()
        .filter(|process| process.id.sandbox == 1)
        .map(|process| (process.id.tgid, process.command(), process.executed))
        .collect();
    assert_eq!(names, [(1, "/bin/sleep".into(), true), (5, "top -b".into(), true)]);
}

/// A list is made later than the session, and may have what started in between.
#[test]
fn a_process_that_started_after_the_session_did_not_run_before_it() {
    let mut scene = Scene::new();
    let list = [(3, 0), (5, 0), (6, 5)].map(|(pid, parent)| {
        let status = format!(r#"{{"comm":"sh","pid":{pid},"ppid":{parent}}}"#);
        format!(r#"{{"args":["sh"],"clone_ts":{},"status":{status}}}"#, 5000 + pid)
    });
    for running in crate::running(&list.join("\n")) {
        scene.guest.was_running(&running, 5004, 9000);
    }
    scene.apply();
    let known = |scene: &Scene| -> Vec<_> {
        let all = scene.session.processes.values().filter(|process| process.id.sandbox == 1);
        all.map(|process| (process.id.tgid, process.executed)).collect()
    };
    assert_eq!(known(&scene), [(3, false), (5, true)]);
    scene.forks(5, 6);
    assert_eq!(known(&scene), [(3, false), (5, true), (6, false)]);
    let child = scene.session.processes.values().find(|process| process.id.tgid == 6).unwrap();
    assert_eq!(child.parent.tgid, 5);
}

#[test]
fn a_terminal_is_one_file_for_all_three_streams() {
    let mut scene = Scene::new();
    let line = r#"{"args":["sh"],"clone_ts":5001,"status":{"comm":"sh","pid":1},"fdlist":[
        {"number":0,"path":"host:[1]"},{"number":1,"path":"host:[1]"},{"number":2,"path":"host:[1]"}]}"#;
    scene.guest.was_running(&crate::running(&line.replace('\n', ""))[0], 6000, 9000);
    scene.apply();
    let known = scene.session.processes.values().next().unwrap();
    let streams = [0, 1, 2].map(|fd| known.stdio_object(fd).unwrap());
    assert_eq!(streams, [crate::handed_in(1, 0); 3]);
}

#[test]
fn standard_streams_are_the_files_that_were_handed_in() {
    let mut scene = Scene::new();
    scene.starts(&["/bin/sh"]);
    // gVisor numbers them in another order than the fds.
    scene.moves(1, WRITE, 2, "host:[1]", Ok(4));
    scene.moves(1, WRITE, 1, "host:[3]", Ok(6));
    scene.guest.finish(scene.now.unsigned_abs(), false);
    scene.apply();
    let rows: Vec<_> =
        scene.session.ledger.iter().map(|(key, row)| (key.object, row.bytes)).collect();
    let of = |fd| crate::handed_in(1, fd);
    assert!(rows.contains(&(of(1), 6)) && rows.contains(&(of(2), 4)), "{rows:?}");
}

#[test]
fn a_write_that_has_not_returned_is_a_blocked_thread() {
    let mut scene = pipeline(0);
    let context = scene.context(1);
    let call = Transfer { context, exit: None, sysno: 1, fd: 1, path: "host:[2]".into(), count: 9 };
    scene.send(34, &call);
    scene.guest.finish(scene.now.unsigned_abs(), false);
    scene.apply();
    assert_eq!(scene.session.blocked.len(), 1);
    assert_eq!(scene.session.blocked[0].fd, 1);
}

#[test]
fn a_thread_that_exec_ended_is_not_blocked() {
    let mut scene = Scene::new();
    scene.starts(&["/bin/sh"]);
    scene.pipes(1, 3, 4);
    let context = scene.context(1).map(|context| Context { tid: 9, ..context });
    let call = Transfer { context, exit: None, sysno: 1, fd: 4, path: "pipe:[7]".into(), count: 9 };
    scene.send(34, &call);
    scene.executes(1, "/bin/next");
    scene.guest.finish(scene.now.unsigned_abs(), false);
    scene.apply();
    assert!(scene.session.blocked.is_empty(), "{:?}", scene.session.blocked);
}

/// Reads from a socket are told by number alone, so that its name is never told.
#[test]
fn a_socket_pair_has_books_if_one_end_has_no_name() {
    let mut scene = Scene::new();
    scene.starts(&["/bin/manager"]);
    let (context, exit) = (scene.context(1), Some(Returned::default()));
    let pair = crate::wire::SocketPair { context, exit, kind: 1, one: 3, other: 4 };
    scene.send(33, &pair);
    scene.forks(1, 2);
    scene.closes(2, 3);
    scene.duplicates(2, 4, 1, "socket:[7]");
    scene.closes(2, 4);
    scene.executes(2, "/bin/writer");
    scene.closes(1, 4);
    scene.moves(2, WRITE, 1, "socket:[7]", Ok(500));
    let exit = Some(returned(10));
    let sysno = libc::SYS_recvfrom as u64;
    let read =
        crate::wire::Raw { context: None, exit, sysno, arg1: 3, arg3: 10, ..Default::default() };
    scene.send(6, &read);
    scene.ends(2, 0);
    scene.closes(1, 3);
    scene.ends(1, 0);
    let written = scene
        .session
        .objects
        .values()
        .find(|object| object.path.is_empty() && object.kind == Kind::Socket);
    let id = scene
        .session
        .ledger
        .keys()
        .find(|key| key.fd == 1 && key.direction == WRITE)
        .unwrap()
        .object;
    assert!(written.is_some() && scene.session.is_joined(&id));
    let flows = Flows::of(&scene.session);
    let flow = flows.get(&id);
    assert_eq!((flow.written, flow.read, flow.unread), (500, 10, Some(490)));
}

#[test]
fn calls_that_never_return_are_bounded() {
    let mut scene = Scene::new();
    scene.starts(&["/bin/sh"]);
    let mut context = scene.context(1).unwrap();
    for tid in 0..MOST_PENDING as i32 + 10 {
        context.tid = tid;
        let context = Some(context.clone());
        let call = Transfer { context, exit: None, sysno: 1, fd: 1, path: Vec::new(), count: 9 };
        scene.guest.take(&packet(34, &call));
    }
    assert_eq!(scene.guest.pending.len(), MOST_PENDING);
    assert_eq!(scene.guest.losses().len(), 1);
}

#[test]
fn what_cannot_be_read_is_counted() {
    let mut scene = Scene::new();
    scene.guest.take(&[8, 0, 34]);
    scene.guest.take(&[8, 0, 34, 0, 7, 0, 0, 0, 0xff]);
    scene.guest.take(&[8, 0, 99, 0, 9, 0, 0, 0, 0xff]);
    let losses: Vec<_> = scene
        .guest
        .losses()
        .into_iter()
        .map(|(why, cell)| (why.to_string(), cell.events))
        .collect();
    assert_eq!(losses, [("guest_unreadable".to_owned(), 2), ("guest_dropped".to_owned(), 9)]);
}
