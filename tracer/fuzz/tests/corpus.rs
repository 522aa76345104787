//! Checks every kept input, and inputs made from these. An input is kept because it reached new code, or because
//! something did not hold for it.

#![allow(clippy::unwrap_used, reason = "everything here is a test")]
#![allow(clippy::disallowed_methods, reason = "reads files of this repository")]

use std::{
    fs,
    panic::{self, AssertUnwindSafe},
    path::PathBuf,
};

use proptest::{
    collection::vec,
    prelude::*,
    sample::{Index, select},
};
use tracer_fuzz::TARGETS;

/// The inputs of a target, each with its path.
fn corpus(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let mut folders = vec![root.join("corpus").join(target)];
    if target == "session" {
        folders.push(root.join("../../tests/sessions"));
    }
    let paths = folders.iter().flat_map(|folder| fs::read_dir(folder).unwrap());
    let mut paths: Vec<PathBuf> = paths.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.is_file());
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

fn check_corpus(target: &str) {
    let (_, check) = TARGETS.into_iter().find(|(name, _)| *name == target).unwrap();
    let inputs = corpus(target);
    assert!(inputs.len() > 10, "the corpus of {target} is gone");
    for (path, input) in inputs {
        let checked = panic::catch_unwind(AssertUnwindSafe(|| check(&input)));
        assert!(checked.is_ok(), "{}", path.display());
    }
}

#[test]
fn every_target_has_a_corpus_and_a_fuzzer() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let names = |folder: &str| {
        let entries = fs::read_dir(root.join(folder)).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().path().file_stem().unwrap().to_owned()).collect();
        names.sort();
        names
    };
    let targets = TARGETS.map(|(name, _)| name);
    assert_eq!(names("corpus"), targets);
    assert_eq!(names("fuzz_targets"), targets);
}

#[test]
fn arguments() {
    check_corpus("arguments");
}

#[test]
fn capture_index() {
    check_corpus("capture_index");
}

#[test]
fn decode() {
    check_corpus("decode");
}

#[test]
fn guest() {
    check_corpus("guest");
}

#[test]
fn session() {
    check_corpus("session");
}

#[test]
fn worker_log() {
    check_corpus("worker_log");
}

/// What a mutation inserts.
const WORDS: [&[u8]; 14] = [
    b"\x1b[2J",
    b"\n",
    b"\0",
    b"\xff",
    b"\xe2\x80\xae",
    b"\xc2\x9b2J",
    b"18446744073709551615",
    b"-1",
    b"4294967296",
    b"\"",
    b"{",
    b"[[",
    b"\\u001b]0;x\\u0007",
    b"\\u202e",
];

#[derive(Clone, Debug)]
enum Mutation {
    Byte(Index, u8),
    Word(Index, &'static [u8]),
    Cut(Index),
    /// Repeats what is between two positions.
    Repeat(Index, Index),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    prop_oneof![
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Mutation::Byte(at, byte)),
        (any::<Index>(), select(&WORDS[..])).prop_map(|(at, word)| Mutation::Word(at, word)),
        any::<Index>().prop_map(Mutation::Cut),
        (any::<Index>(), any::<Index>()).prop_map(|(from, to)| Mutation::Repeat(from, to)),
    ]
}

fn mutated(mut input: Vec<u8>, mutations: &[Mutation]) -> Vec<u8> {
    for mutation in mutations {
        let length = input.len() + 1;
        match mutation {
            Mutation::Byte(at, byte) if !input.is_empty() => {
                let at = at.index(input.len());
                input[at] = *byte;
            }
            Mutation::Byte(..) => {}
            Mutation::Word(at, word) => {
                let at = at.index(length);
                input.splice(at..at, word.iter().copied());
            }
            Mutation::Cut(at) => input.truncate(at.index(length)),
            Mutation::Repeat(from, to) => {
                let (from, to) = (from.index(length), to.index(length));
                let part = input[from.min(to)..from.max(to)].to_vec();
                input.splice(from..from, part);
            }
        }
    }
    input
}

proptest! {
    #![proptest_config(ProptestConfig {
        // Each case is a whole report in four forms.
        cases: ProptestConfig::default().cases.div_ceil(4),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn whatever_becomes_of_a_kept_input_is_taken(
        at: Index,
        mutations in vec(mutation(), 1..8),
    ) {
        for (name, check) in TARGETS {
            let inputs = corpus(name);
            let (_, input) = inputs[at.index(inputs.len())].clone();
            check(&mutated(input, &mutations));
        }
    }

    #[test]
    fn any_bytes_are_taken(input in vec(any::<u8>(), 0..600)) {
        TARGETS.iter().for_each(|(_, check)| check(&input));
    }
}
