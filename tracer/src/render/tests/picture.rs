//! Graphs: whole ones compared with files, what stands for a loss, bounds, and hostile names.

use std::{env, fs, path::PathBuf};

use proptest::prelude::*;
use tracer_core::{
    recording::read,
    report::{Endpoint, Object, Report},
};

use super::{
    super::{
        Format, View,
        picture::{Mark, Picture, Shape},
    },
    PLAIN,
    hostile::{check_harmless, reports},
    rendered, samples,
};

/// Most nodes of a picture: 30 for flows, and those of losses, silent commands and the rest.
const MOST_NODES: usize = 56;

/// The report of a recording in `tests/sessions`.
fn recorded(name: &str) -> Report {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/sessions"));
    let session = fs::read(folder.join(format!("{name}.session"))).unwrap();
    read(session.as_slice(), u64::MAX).unwrap().report().0
}

fn graph(report: &Report, format: Format) -> String {
    rendered(report, format, &View::default(), &PLAIN)
}

/// The titles of the nodes of lost bytes.
fn lost(report: &Report) -> Vec<String> {
    let nodes = Picture::of(report).nodes.into_iter();
    nodes.filter(|node| node.shape == Shape::Lost).map(|node| node.title).collect()
}

#[test]
fn graphs_of_a_build_with_a_loss() {
    let report = recorded("trees/make");
    let golden = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src/render/golden"));
    for (name, format) in [("make.dot", Format::Dot), ("make.mermaid", Format::Mermaid)] {
        let (text, file) = (graph(&report, format), golden.join(name));
        if env::var_os("TRACER_BLESS").is_some() {
            fs::write(file, text).unwrap();
        } else {
            let golden = fs::read_to_string(file).unwrap();
            assert!(text == golden, "golden/{name} differs from what was rendered:\n{text}");
        }
    }
}

#[test]
fn each_kind_of_loss_has_its_node() {
    let cases: [(&str, &[&str]); 9] = [
        ("trees/make", &["65,522 B lost: never read", "4,096 B lost: refused, no reader"]),
        ("trees/ci", &["64 B lost: the file was removed"]),
        ("trees/tmux", &["4,095 B lost: never read"]),
        ("read_then_lost", &["5,000 B lost: read, and not in the log"]),
        ("unread_gone", &["692 B lost: never read"]),
        ("delivered", &[]),
        // The reader lives.
        ("unread", &[]),
        ("stuck", &[]),
        // `yes | head`
        ("reader_left", &[]),
    ];
    for (name, titles) in cases {
        assert_eq!(lost(&recorded(name)), titles, "{name}");
    }
}

#[test]
fn a_reader_that_has_read_nothing_is_in_the_picture() {
    let picture = Picture::of(&recorded("stuck"));
    let edge = picture.edges.iter().find(|edge| edge.remark == "has it open").unwrap();
    assert_eq!(picture.nodes[edge.to].title, "sleep");
    assert_eq!((edge.bytes, edge.mark), (Some(0), Mark::Odd));
}

#[test]
fn a_command_that_wrote_nothing_itself_leads_to_those_that_did() {
    let picture = Picture::of(&recorded("trees/nginx"));
    let started = picture.edges.iter().filter(|edge| edge.remark == "started");
    let details = started.map(|edge| picture.nodes[edge.from].details[0].clone());
    assert_eq!(details.collect::<Vec<_>>(), ["pid 10860 · exit 0"; 2]);
}

#[test]
fn a_process_is_called_as_it_was_when_it_wrote() {
    let picture = Picture::of(&recorded("trees/supervisord"));
    let node = picture.nodes.iter().find(|node| node.details[0] == "pid 10534 · running").unwrap();
    assert_eq!(node.title, "/bin/sh /tmp/demo/web.sh");
    assert_eq!(node.details[1], "later sleep 60");
}

#[test]
fn a_crowd_is_folded_and_counted() {
    let mut report = samples::unread();
    let pipe = report.objects[0].clone();
    report.objects.extend((0..3_000_u64).map(|number| Object {
        id: format!("pipe:[{number}]"),
        written: number + 1,
        ..pipe.clone()
    }));
    let writer = pipe.writers[0].clone();
    let writers = (5_000..25_000).map(|pid| Endpoint { pid, ..writer.clone() });
    report.objects[0].writers.extend(writers);
    let written: u64 = report.objects[0].writers.iter().map(|writer| writer.bytes).sum();
    let picture = Picture::of(&report);
    assert!(picture.nodes.len() <= MOST_NODES, "{}", picture.nodes.len());
    let total: u64 =
        picture.edges.iter().filter(|edge| edge.to == 0).filter_map(|edge| edge.bytes).sum();
    assert_eq!(total, written, "the sum of the edges is that of the writers");
    let rest = picture.nodes.last().unwrap();
    assert_eq!(rest.shape, Shape::Rest);
    assert!(
        rest.details.iter().any(|line| line.ends_with("more pipes, files and sockets")),
        "{rest:?}"
    );
}

/// The quoted strings of a graph in the language of Graphviz, decoded.
fn dot_strings(text: &str) -> Vec<String> {
    let mut strings = Vec::new();
    let mut characters = text.chars();
    while characters.by_ref().any(|character| character == '"') {
        let mut string = String::new();
        loop {
            match characters.next().expect("a string ends") {
                '"' => break,
                '\\' => match characters.next().expect("an escape has a character") {
                    'n' => string.push('\n'),
                    other => {
                        assert!(other == '"' || other == '\\', "\\{other}");
                        string.push(other);
                    }
                },
                other => string.push(other),
            }
        }
        let plain = string.replace("&amp;", "\0");
        assert!(!plain.contains('&'), "Graphviz reads an entity: {string}");
        strings.push(plain.replace('\0', "&"));
    }
    strings
}

/// The same of a graph in the language of Mermaid.
fn mermaid_strings(text: &str) -> Vec<String> {
    let quoted = text.split('"').skip(1).step_by(2);
    let decoded = quoted.map(|string| {
        let mut plain = String::new();
        for line in string.split("<br/>") {
            plain.push_str(if plain.is_empty() { "" } else { "\n" });
            let mut parts = line.split('#');
            plain.push_str(parts.next().unwrap());
            for part in parts {
                let (code, rest) = part.split_once(';').unwrap();
                plain.push(char::from_u32(code.parse().unwrap()).unwrap());
                plain.push_str(rest);
            }
        }
        assert!(!plain.contains("\\n"), "Mermaid breaks the line: {string}");
        plain.replace('\u{2060}', "")
    });
    decoded.collect()
}

/// The titles and details of a picture, and its labels, as a language without escapes would have them.
fn texts(report: &Report) -> Vec<String> {
    let picture = Picture::of(report);
    let nodes = picture.nodes.iter().map(|node| {
        let lines = std::iter::once(&node.title).chain(&node.details);
        lines.map(String::as_str).collect::<Vec<_>>().join("\n")
    });
    let edges = picture.edges.iter().map(|edge| match edge.remark.as_str() {
        "" => edge.amount(),
        remark if edge.bytes.is_none() => remark.to_owned(),
        remark => format!("{remark}: {}", edge.amount()),
    });
    nodes.chain(edges).filter(|text| !text.is_empty()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: ProptestConfig::default().cases.div_ceil(8),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn hostile_names_are_plain_text_for_graphviz(report in reports()) {
        let text = graph(&report, Format::Dot);
        check_harmless(&text, false)?;
        let strings = dot_strings(&text);
        for label in texts(&report) {
            prop_assert!(strings.contains(&label), "{label:?} in {strings:?}");
        }
        // Without its strings, nothing of a graph is chosen by a program.
        let bones = dot_bones(&text);
        prop_assert!(bones.is_ascii(), "{bones}");
        for line in bones.lines() {
            let begins = ["digraph tracer {", "  rankdir=LR; ", "  label=", "  node [", "  edge [", "  n", "}"];
            prop_assert!(begins.iter().any(|begin| line.starts_with(begin)), "{line}");
        }
    }

    #[test]
    fn hostile_names_are_plain_text_for_mermaid(report in reports()) {
        let text = graph(&report, Format::Mermaid);
        check_harmless(&text, false)?;
        prop_assert!(text.len() < 50_000, "the most that Mermaid takes");
        prop_assert!(Picture::of(&report).nodes.len() <= MOST_NODES);
        let strings = mermaid_strings(&text);
        for label in texts(&report) {
            prop_assert!(strings.contains(&label), "{label:?} in {strings:?}");
        }
        for quoted in text.split('"').skip(1).step_by(2) {
            let rest = quoted.replace("<br/>", "");
            let is_plain =
                |character: char| character.is_alphanumeric() || " .,/·…+-_=()[]#;".contains(character);
            prop_assert!(rest.chars().all(is_plain), "{rest}");
        }
    }
}

/// A graph in the language of Graphviz without its strings.
fn dot_bones(text: &str) -> String {
    let mut bones = String::new();
    let (mut is_inside, mut is_escaped) = (false, false);
    for character in text.chars() {
        match character {
            '"' if !is_escaped => is_inside = !is_inside,
            _ if !is_inside => bones.push(character),
            _ => {}
        }
        is_escaped = character == '\\' && !is_escaped;
    }
    bones
}
