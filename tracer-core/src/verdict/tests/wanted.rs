//! What a report recovers from a capture: unread bytes, and bytes that left the process and were lost.

use super::scene::*;
use crate::capture::recovery::Want;

const CURL: [&str; 1] = ["curl"];

fn stream(tgid: u32, fd: i32, object: tracer_common::object::ObjectId) -> Want {
    Want::Stream { process: id(tgid), fd, object }
}

fn wants(scene: &Scene) -> Vec<Want> {
    scene.wanted().wants
}

#[test]
fn unread_bytes_of_a_pipe_are_requested_once_as_its_tail() {
    let scene = managed(&CURL).wrote(COMMAND, 2, ERR, write(312)).exited(COMMAND, 1, 200);
    let unread = Want::Tail { object: ERR, unread: 312, in_flight: 0, written: 312, is_sure: true };
    assert!(scene.finding(Rule::OtherStream).is_some());
    assert_eq!(wants(&scene), [unread]);
    // If a part was read, that part may have been lost as well.
    let scene = scene.read(MANAGER, ERR, 100, 110);
    let unread = Want::Tail { object: ERR, unread: 212, in_flight: 0, written: 312, is_sure: true };
    assert_eq!(wants(&scene), [unread, stream(COMMAND, 2, ERR)]);
}

#[test]
fn for_read_and_lost_or_delivered_bytes_the_whole_stream_is_requested() {
    let scene = wrote_and_read(&CURL, 100).exited(COMMAND, 0, 200);
    assert!(scene.finding(Rule::Delivered).is_some());
    assert_eq!(wants(&scene), [stream(COMMAND, 1, OUT)]);
    let scene = scene.claims(50);
    assert!(scene.finding(Rule::ReadThenLost).is_some());
    assert_eq!(wants(&scene), [stream(COMMAND, 1, OUT)]);
}

#[test]
fn the_output_of_a_commands_children_is_its_own() {
    let scene = managed(&["sh"]).fork(80, COMMAND).wrote(80, 1, OUT, write(9));
    let scene = scene.read(MANAGER, OUT, 9, 110).exited(80, 0, 150).exited(COMMAND, 0, 200);
    assert_eq!(wants(&scene), [stream(80, 1, OUT)]);
}

#[test]
fn discarded_output_is_requested_too() {
    let scene = managed(&CURL).command(80, MANAGER, &CURL, [NULL, NULL, ERR]);
    let scene = scene.wrote(80, 1, NULL, write(9)).exited(80, 0, 200).exited(COMMAND, 0, 200);
    assert!(scene.finding(Rule::Discarded).is_some());
    assert!(wants(&scene).contains(&stream(80, 1, NULL)));
}

#[test]
fn a_finding_about_one_fd_requests_that_stream_alone() {
    let scene = managed(&CURL)
        .wrote(COMMAND, 1, OUT, write(9))
        .wrote(COMMAND, 2, ERR, write(8))
        .read(MANAGER, OUT, 6, 110)
        .read(MANAGER + 1, OUT, 3, 111)
        .read(MANAGER, ERR, 8, 112)
        .exited(COMMAND, 0, 200);
    let found = scene.finding(Rule::ReadByOther).unwrap();
    assert_eq!(found.fd, Some(1));
    // `delivered` is about both.
    assert_eq!(wants(&scene), [stream(COMMAND, 1, OUT), stream(COMMAND, 2, ERR)]);
    assert_eq!(scene.wanted_for(&[found]), [stream(COMMAND, 1, OUT)]);
}

#[test]
fn an_incomplete_log_requests_what_its_writer_read_from_the_container() {
    let (mine, other) = (object(201), object(202));
    let scene = managed(&CURL)
        .fifo(mine, "/run/containerd/fifo/1/c0ffeec0ffee-stdout")
        .fifo(other, "/run/containerd/fifo/2/deadbeefdead-stdout");
    let scene = [mine, other]
        .into_iter()
        .fold(scene, |scene, fifo| scene.wrote(90, 8, fifo, write(50)).read(91, fifo, 50, 110));
    let mut found = scene.clone().wrote(COMMAND, 1, OUT, write(1)).judged().remove(0);
    found.rule = Rule::ReadThenLost;
    found.pid = 91;
    let log = "/var/lib/docker/containers/c0ffeec0ffee/c0ffeec0ffee-json.log";
    found.evidence.insert("source".into(), log.into());
    assert_eq!(scene.wanted_for(&[found.clone()]), [stream(90, 8, mine)]);
    found.pid = 92;
    assert_eq!(scene.wanted_for(&[found]), []);
}

#[test]
fn silence_and_bytes_from_before_the_trace_request_nothing() {
    assert_eq!(wants(&managed(&CURL).exited(COMMAND, 0, 200)), []);
    assert_eq!(wants(&managed(&CURL).inside(OUT, 50, 5)), []);
}

#[test]
fn many_requests_are_limited_and_counted() {
    let mut scene = managed(&CURL);
    for number in 0..30 {
        scene = scene.fork(80 + number, COMMAND).wrote(80 + number, 1, OUT, write(1));
    }
    let scene = scene.read(MANAGER, OUT, 30, 110).exited(COMMAND, 0, 200);
    let wanted = scene.wanted();
    assert_eq!((wanted.wants.len(), wanted.more), (20, 10));
}
