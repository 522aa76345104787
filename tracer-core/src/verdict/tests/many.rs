//! One process with very many streams.

use std::time::{Duration, Instant};

use super::scene::*;
use crate::report::build;

/// As many pipes as a process makes in a second.
const MANY: u64 = 20_000;
/// More than the rules need for [`MANY`] streams in a debug build on a busy machine. A rule that goes through all of them
/// for each one needs more than a minute.
const ENOUGH: Duration = Duration::from_secs(30);

/// Two commands that print nothing to their own streams.
fn scene() -> Scene {
    let scene = managed(&["flood"]);
    scene.command(COMMAND + 1, MANAGER, &["flood"], [NULL, OUT, ERR])
}

/// A process writes one byte into each of these pipes, and closes them; then it ends.
fn fill(mut scene: Scene, tgid: u32, pipes: std::ops::Range<u64>, is_read: bool) -> Scene {
    for pipe in pipes.map(|number| object(1_000 + number)) {
        scene = scene.pipe(pipe).wrote(tgid, 1, pipe, write(1));
        if is_read {
            scene = scene.read(tgid, pipe, 1, 101);
        }
        scene = scene.closed(tgid, pipe, 102);
    }
    scene.exited(tgid, 0, 110)
}

fn headline(scene: &Scene) -> String {
    build::headline(&scene.judged(), || 2, 0)
}

#[test]
fn many_lost_streams_are_those_of_one_command() {
    let scene = fill(scene(), COMMAND, 0..10, false);
    let losses = scene.judged().iter().filter(|finding| finding.rule == Rule::Unread).count();
    assert_eq!(losses, 3, "the others are similar");
    let said = headline(&scene);
    assert!(said.starts_with("flood (pid 71) wrote 1 B to pipe:[1000]; 1 B is lost"), "{said}");
    assert!(!said.contains("commands"), "{said}");
}

#[test]
fn each_command_counts_once() {
    let scene = fill(fill(scene(), COMMAND, 0..10, false), COMMAND + 1, 10..13, false);
    assert!(headline(&scene).starts_with("2 of 2 commands lost output"), "{}", headline(&scene));
}

#[test]
fn a_pid_that_is_used_again_is_of_another_command() {
    let finding = fill(scene(), COMMAND, 0..1, false).finding(Rule::Unread).unwrap();
    let mut later = finding.clone();
    later.start_ns += 1;
    assert!(build::headline(&[finding, later], || 2, 0).starts_with("2 of 2 commands"));
}

#[test]
fn the_time_for_a_stream_does_not_grow_with_their_number() {
    for is_read in [false, true] {
        let scene = fill(scene(), COMMAND, 0..MANY, is_read);
        let began = Instant::now();
        assert_eq!(scene.finding(Rule::Unread).is_some(), !is_read);
        assert!(began.elapsed() < ENOUGH, "{:?}, read: {is_read}", began.elapsed());
    }
}
