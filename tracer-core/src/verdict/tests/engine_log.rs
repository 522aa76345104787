//! The log file of a container engine is compared with what a proven engine read, and with nothing else.

use super::scene::*;
use crate::verdict::Confidence;

const LOG: tracer_common::object::ObjectId = object(301);
const ENGINE: u32 = 91;

/// An engine read 5,000 B of the container's output and wrote 100 B to its log.
fn scene() -> Scene {
    let fifo = object(302);
    managed(&["dockerd"])
        .fifo(fifo, &format!("/run/docker/containerd/{CONTAINER}/init-stdout"))
        .file(LOG, &format!("/var/lib/docker/containers/{CONTAINER}/{CONTAINER}-json.log"))
        .wrote(90, 1, fifo, write(5_000))
        .read(ENGINE, fifo, 5_000, 110)
        .wrote(ENGINE, 9, LOG, write(100))
}

#[test]
fn a_proven_engine_whose_log_has_less_lost_the_difference() {
    let found = scene().engine_log(LOG, Some(ENGINE), 100).finding(Rule::ReadThenLost).unwrap();
    assert_eq!((found.confidence, found.pid), (Confidence::Certain, ENGINE));
    assert_eq!(found.evidence.get("lost"), Some(&4_900.into()));
}

#[test]
fn a_program_that_is_not_proven_to_be_an_engine_proves_nothing() {
    assert_eq!(scene().engine_log(LOG, None, 100).finding(Rule::ReadThenLost), None);
    // Another process than the engine read the bytes.
    assert_eq!(scene().engine_log(LOG, Some(92), 100).finding(Rule::ReadThenLost), None);
}

#[test]
fn names_that_other_programs_choose_do_not_hide_a_loss() {
    let (pipe, file) = (object(303), object(304));
    let scene = scene()
        .fifo(pipe, &format!("/tmp/{CONTAINER}/init-stdout"))
        .file(file, &format!("/tmp/{CONTAINER}/{CONTAINER}-json.log"))
        .holds(COMMAND, 1, pipe)
        .wrote(COMMAND, 7, file, write(1));
    assert!(scene.engine_log(LOG, Some(ENGINE), 100).finding(Rule::ReadThenLost).is_some());
}

#[test]
fn output_of_docker_exec_is_not_expected_in_the_log() {
    let exec = object(305);
    let scene = scene()
        .fifo(exec, &format!("/run/docker/containerd/{CONTAINER}/ab12-stdout"))
        .read(ENGINE, exec, 70, 110);
    let found = scene.engine_log(LOG, Some(ENGINE), 5_000).finding(Rule::ReadThenLost);
    assert_eq!(found, None);
}
