//! Lines from a container runtime, whole and in pieces.

use super::*;

const LINE: &str = "3:04PM DBG read stdout container_id=sandbox-xxx pid=123 stdout_len=5";
const STAMP: &str = "2026-08-19T15:04:05.000000007Z";

fn statement(nanos: i64) -> Statement {
    returned(Stream::Stdout, 5, exactly(nanos))
}

fn docker(log: &str) -> String {
    let line = serde_json::json!({"log": log, "stream": "stdout", "time": STAMP});
    format!("{line}\n")
}

#[test]
fn every_wrapper_is_peeled_and_gives_the_date() {
    for log in [
        format!("{STAMP} stdout F {LINE}\n"),
        format!("{STAMP} stderr F:tag {LINE}\n"),
        docker(&format!("{LINE}\n")),
        docker(&format!("{LINE}\r\n")),
        docker(LINE),
        format!("{STAMP} {LINE}\n"),
        format!("2026-08-19T17:04:05.000000007+02:00 {LINE}\n"),
    ] {
        assert_eq!(statements(&log), [statement(AT + 7)], "{log}");
    }
}

#[test]
fn wrappers_nest_in_any_order() {
    let kubectl = |line: &str| format!("{STAMP} {line}");
    let cri = |line: &str| format!("{STAMP} stderr F {line}");
    let docker = |line: &str| docker(&format!("{line}\n")).trim_end().to_owned();
    let wrappers: [&dyn Fn(&str) -> String; 3] = [&kubectl, &cri, &docker];
    let json = JSON.lines().nth(3).unwrap();
    let later = returned(Stream::Stdout, 0, exactly(AT + SECOND));
    for first in wrappers {
        for second in wrappers {
            for third in wrappers {
                let wrapped = third(&second(&first(LINE)));
                assert_eq!(statements(&wrapped), [statement(AT + 7)], "{wrapped}");
                let wrapped = third(&second(&first(json)));
                assert_eq!(statements(&wrapped), std::slice::from_ref(&later), "{wrapped}");
            }
        }
    }
}

#[test]
fn a_finer_stamp_replaces_whole_seconds_of_the_line() {
    let json = JSON.lines().nth(3).unwrap();
    let log = format!("2026-08-19T15:04:06.25Z stdout F {json}\n");
    assert_eq!(statements(&log)[0].time, exactly(AT + SECOND + SECOND / 4));
    let dated = LINE.replace("3:04PM", "2026-08-19T15:04:05Z");
    assert_eq!(statements(&format!("{STAMP} stdout F {dated}\n")), [statement(AT + 7)]);
    let log = format!("2026-08-19T15:09:06.25Z stdout F {json}\n");
    assert_eq!(statements(&log)[0].time, exactly(AT + SECOND), "shipped five minutes later");
}

#[test]
fn coloured_lines_are_read_inside_every_wrapper() {
    let line = COLOURED.lines().nth(1).unwrap();
    for log in [format!("{STAMP} stdout F {line}\n"), docker(&format!("{line}\n"))] {
        assert_eq!(statements(&log), [returned(Stream::Stdout, 0, exactly(AT + 7))]);
    }
}

#[test]
fn cri_pieces_of_one_stream_are_joined() {
    let (first, rest) = LINE.split_at(20);
    let (second, third) = rest.split_at(30);
    let log = format!(
        "{STAMP} stdout P {first}\n{STAMP} stderr P {third}\n{STAMP} stdout P:x {second}\n\
         {STAMP} stderr F noise\n2027-01-01T00:00:00Z stdout F {third}\n"
    );
    assert_eq!(statements(&log), [statement(AT + 7)]);
}

#[test]
fn pieces_inside_another_wrapper_are_joined() {
    let (first, second) = LINE.split_at(40);
    let log = docker(&format!("{STAMP} stdout P {first}\n"))
        + &docker(&format!("{STAMP} stderr F noise\n"))
        + &docker(&format!("{STAMP} stdout F {second}\n"));
    assert_eq!(statements(&log), [statement(AT + 7)]);
}

#[test]
fn a_character_cut_by_the_runtime_is_whole_again() {
    let line = r#"DBG read stdout container_id="é" pid=1 stdout_len=5"#.as_bytes();
    let cut = line.iter().position(|byte| !byte.is_ascii()).unwrap() + 1;
    let mut log = Vec::new();
    for (tag, piece) in [("P", &line[..cut]), ("F", &line[cut..])] {
        log.extend(format!("{STAMP} stdout {tag} ").into_bytes());
        log.extend(piece);
        log.push(b'\n');
    }
    let (statements, reader) = read(&log);
    assert_eq!(statements[0].container.as_deref(), Some("é"));
    assert_eq!((reader.lines(), reader.bad()), (2, 0));
}

#[test]
fn docker_pieces_are_joined_when_docker_cut_them() {
    let argument = "x".repeat(20_000);
    let line = format!("DBG sandbox process started cmd=[\"{argument}\"] pid=1\n");
    let (first, second) = line.split_at(16 * 1024);
    let (statements, reader) = read((docker(first) + &docker(second)).as_bytes());
    assert_eq!(reader.bad(), 0);
    assert_eq!(statements[0].what, StatementKind::Started { command: vec![argument] });
}

#[test]
fn the_last_line_of_a_container_is_not_joined_to_the_next_run() {
    let log = docker("fatal: no line break") + &docker(&format!("{LINE}\n"));
    assert_eq!(statements(&log), [statement(AT + 7)]);
}

#[test]
fn a_line_whose_last_piece_never_came_is_bad_not_a_shorter_number() {
    let log = format!("{STAMP} stdout P {LINE}");
    assert_eq!(counts(&log), (0, 1));
    let log = format!("{STAMP} stdout P {}", LINE.replace("DBG", "INF"));
    assert_eq!(counts(&log), (0, 0), "nothing that matters was lost");
}

#[test]
fn pieces_that_add_up_to_too_much_are_one_bad_line() {
    let piece = "x".repeat(MAX_LINE / 4);
    let mut log = String::new();
    for _ in 0..9 {
        log += &format!("{STAMP} stdout P {piece}\n");
    }
    assert_eq!(counts(&log), (0, 1), "unfinished");
    log += &format!("{STAMP} stdout F end\n{STAMP} stdout F {LINE}\n");
    assert_eq!(counts(&log), (1, 1));
}

#[test]
fn wrappers_without_a_text_are_unrelated() {
    for log in [
        STAMP.to_owned(),
        format!("{STAMP} "),
        format!("{STAMP} stdout"),
        format!("{STAMP} stdout F"),
        format!("{STAMP} stdout F "),
        docker(""),
        docker("\n"),
    ] {
        assert_eq!(counts(&log), (0, 0), "{log:?}");
    }
}

#[test]
fn wrappers_around_wrappers_end_somewhere() {
    let log = format!("{} {LINE}", [STAMP; 50].join(" "));
    assert_eq!(counts(&log).0, 0);
}
