//! No sentence is longer than a bound, whatever the traced programs are called and however much they use.

use proptest::{collection::vec, prelude::*};
use tracer_common::object::ObjectId;

use super::scene::*;
use crate::{event::BlockedCall, text::is_hazard};

/// The most characters of a sentence: some names and a few lists, each bounded.
const LONGEST_SENTENCE: usize = 4_000;
/// Number of objects in the scene.
const OBJECTS: u64 = 300;

/// Names of up to 4 KiB, with line breaks and characters that are escaped.
fn names() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        "[a-z/ ]{0,20}",
        Just("\n✓ all read\n".to_owned()),
        Just("\u{202e}\u{1b}[2J".to_owned()),
        Just("runsc".to_owned()),
        (1_usize..400).prop_map(|times| "directory/".repeat(times)),
    ];
    vec(piece, 1..4).prop_map(|pieces| format!("/{}", pieces.concat()))
}

/// One step of a random program.
fn step() -> impl Strategy<Value = (u8, u32, u64, u64)> {
    (0_u8..14, 0_u32..6, 0..OBJECTS, 0_u64..5_000)
}

fn id_of(number: u64) -> ObjectId {
    object(1_000 + number)
}

/// The scene after one more step.
fn after(scene: Scene, name: &str, (kind, who, which, bytes): (u8, u32, u64, u64)) -> Scene {
    let (tgid, target, ms) = (COMMAND + who, id_of(which), 100 + bytes);
    match kind {
        0 => scene.exec_failed(tgid, 2, name),
        1 => scene.connect_failed(tgid, 2, name),
        2 => scene.asked_terminal(tgid, 1, 25),
        3 => scene.blocked(tgid, BlockedCall::Write, 1, target),
        4 => scene.blocked(tgid, BlockedCall::Read, 5, target),
        5 => scene.exited(tgid, who, ms),
        6 => scene.ended(tgid, who, ms),
        7 => scene.closed(tgid, target, ms),
        8 => scene.holds(tgid, i32::from(bytes % 2 == 0), target),
        9 => scene.inside(target, bytes, ms),
        10 => scene.read(tgid, target, bytes, ms),
        11 => scene.wrote(tgid, 1, target, with_errors(written_at(bytes, ms), who % 4, 1)),
        12 => scene.exec(tgid, &[name, name], [NULL, target, id_of(bytes % OBJECTS)]),
        _ => (0..OBJECTS)
            .fold(scene, |scene, number| scene.wrote(tgid, 1, id_of(number), write(bytes))),
    }
}

fn scenes() -> impl Strategy<Value = Scene> {
    let steps = vec((names(), step()), 1..25);
    (vec(names(), 8), steps).prop_map(|(names, steps)| {
        let name = |number: u64| names[number as usize % names.len()].as_str();
        let scene =
            (0..OBJECTS).fold(managed(&[name(0), name(1)]), |scene, number| match number % 3 {
                0 => scene.file(id_of(number), name(number)),
                1 => scene.fifo(id_of(number), name(number)),
                _ => scene.pipe(id_of(number)),
            });
        let scene = (1..6).fold(scene, |scene, who| {
            scene.command(COMMAND + who, MANAGER, &[name(who.into())], [NULL, OUT, ERR])
        });
        steps.iter().fold(scene, |scene, (name, step)| after(scene, name, *step))
    })
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: ProptestConfig::default().cases.div_ceil(4),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn every_sentence_is_one_line_of_bounded_length(scene in scenes()) {
        for finding in scene.judged() {
            for sentence in [Some(&finding.message), finding.advice.as_ref()].into_iter().flatten() {
                let length = sentence.chars().count();
                prop_assert!(length <= LONGEST_SENTENCE, "{length} characters: {sentence}");
                prop_assert!(!sentence.chars().any(is_hazard), "{sentence:?}");
            }
        }
    }
}

#[test]
fn output_into_thousands_of_files_is_a_short_sentence_with_their_number() {
    let scene = managed(&["sh"]);
    let scene = (0..2_000).fold(scene, |scene, number| {
        let file = object(2_000 + number);
        scene.file(file, &format!("/tmp/d/{number}")).wrote(COMMAND, 1, file, write(2))
    });
    let found = scene.exited_with(COMMAND, 500, [NULL, OUT, ERR]).finding(Rule::Elsewhere).unwrap();
    let expected = "/tmp/d/3 and 1,996 more; nothing to its own stdout";
    assert!(found.message.contains(expected), "{}", found.message);
}
