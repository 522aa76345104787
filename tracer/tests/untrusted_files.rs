//! `tracer report` on forged files: takes little memory, ends, and prints one harmless sentence.

#![allow(clippy::unwrap_used, reason = "everything here is a test")]
#![allow(clippy::disallowed_methods, reason = "reads files of this repository")]

use std::{
    fmt::Write as _,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

/// Limit of the address space for every report here, in KiB. It includes code and stacks. A session may take half of
/// it.
const ADDRESS_SPACE: u64 = 1 << 20;
/// A report here takes less than a tenth of this time.
const PATIENCE: Duration = Duration::from_secs(60);

/// The first line of a real session.
fn header() -> String {
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/sessions/delivered.session");
    let text = fs::read_to_string(golden).unwrap();
    text.lines().next().unwrap().to_owned() + "\n"
}

/// `tracer report` with limited memory.
fn report(arguments: &[&str]) -> Command {
    let mut command = Command::new("sh");
    let line = format!("ulimit -v {ADDRESS_SPACE}; ulimit -c 0; exec \"$0\" report \"$@\"");
    command.args(["-c", &line, env!("CARGO_BIN_EXE_tracer")]).args(arguments);
    command.env_remove("RUST_LOG").stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs a command to its end, within [`PATIENCE`].
fn output(command: &mut Command) -> Output {
    let child = command.spawn().unwrap();
    let pid = child.id().to_string();
    let (send, ended) = std::sync::mpsc::channel::<()>();
    let watch = thread::spawn(move || {
        let begin = Instant::now();
        if ended.recv_timeout(PATIENCE).is_err_and(|error| error == TIMED_OUT) {
            Command::new("kill").args(["-KILL", &pid]).status().unwrap();
        }
        begin.elapsed()
    });
    let output = child.wait_with_output().unwrap();
    drop(send);
    let took = watch.join().unwrap();
    assert!(took < PATIENCE, "it did not end");
    output
}

const TIMED_OUT: std::sync::mpsc::RecvTimeoutError = std::sync::mpsc::RecvTimeoutError::Timeout;

/// Checks that output has only text and line ends.
fn check_harmless(bytes: &[u8]) -> String {
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    let harm = text.chars().find(|&character| character != '\n' && character.is_control());
    assert_eq!(harm, None, "{text:?}");
    assert!(!text.contains(['\u{202e}', '\u{200b}', '\u{2028}']), "{text:?}");
    text
}

/// Reports a file that has something wrong with it: returns the JSON document and the message.
fn reported(path: &Path) -> (Value, String) {
    let output = output(&mut report(&[path.to_str().unwrap(), "--format", "json"]));
    let said = check_harmless(&output.stderr);
    assert!(output.status.code().is_some_and(|code| code <= 1), "{:?}: {said}", output.status);
    (serde_json::from_str(&check_harmless(&output.stdout)).unwrap(), said)
}

/// Reports a file without a session: exit code 3. Returns the sentence.
fn refused(command: &mut Command) -> String {
    let output = output(command);
    let said = check_harmless(&output.stderr);
    assert_eq!((output.status.code(), said.lines().count()), (Some(3), 1), "{said}");
    assert!(output.stdout.is_empty());
    said
}

fn file(folder: &TempDir, text: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.path().join("made up.session");
    fs::write(&path, [header().as_bytes(), text.as_ref()].concat()).unwrap();
    path
}

fn image(pid: usize, argv: &[String]) -> String {
    let line = serde_json::json!({
        "type": "event", "event": "image", "time_ns": 9, "role": 1, "process": format!("{pid}@5"),
        "argv": argv,
    });
    line.to_string() + "\n"
}

#[test]
fn a_stream_of_processes_without_end_is_cut_where_memory_ends() {
    let mut child = report(&["-", "--format", "ndjson"]).stdin(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let writer = thread::spawn(move || {
        // Writes until tracer stops reading.
        let mut sent = input.write_all(header().as_bytes());
        let mut pid = 1;
        while sent.is_ok() {
            let mut lines = String::new();
            for _ in 0..1000 {
                pid += 1;
                writeln!(
                    lines,
                    r#"{{"type":"row","process":"{pid}@5","object":"9:{pid}","fd":1,"bytes":5}}"#
                )
                .unwrap();
            }
            sent = input.write_all(lines.as_bytes());
        }
        pid
    });
    let output = child.wait_with_output().unwrap();
    let said = check_harmless(&output.stderr);
    assert!(output.status.code().is_some_and(|code| code <= 1), "{:?}: {said}", output.status);
    assert!(said.contains("more than 512 MiB of memory, so the rest was left out"), "{said}");
    assert!(writer.join().unwrap() > 100_000);
    let report = check_harmless(&output.stdout);
    assert!(report.contains(r#""reason":"recording_cut","events":1"#), "{report}");
}

#[test]
fn a_command_line_that_many_inherit_is_held_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut text = image(1, &vec!["x".repeat(1000); 1000]);
    for pid in 2..3000 {
        writeln!(
            text,
            r#"{{"type":"event","event":"fork","time_ns":9,"parent":"1@5","child":"{pid}@5"}}"#
        )
        .unwrap();
    }
    // Three gigabytes, if each process had its own copy. The report shows little of them.
    let path = file(&folder, text);
    let output = output(&mut report(&[path.to_str().unwrap()]));
    let said = check_harmless(&output.stderr);
    assert!(output.status.code().is_some_and(|code| code <= 1), "{:?}: {said}", output.status);
    assert!(check_harmless(&output.stdout).len() < 100_000);
}

#[test]
fn a_long_name_that_every_row_repeats_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let name = "x".repeat(1 << 20);
    let mut text = serde_json::json!({
        "type": "event", "event": "object", "time_ns": 9, "name": name,
        "object": {"id": "9:88", "mode": 0o100_644, "text_kind": 1},
    })
    .to_string()
        + "\n";
    for pid in 1..20_000 {
        writeln!(text, r#"{{"type":"row","process":"{pid}@5","object":"9:88","fd":1,"bytes":5}}"#)
            .unwrap();
    }
    let (report, said) = reported(&file(&folder, text));
    assert_eq!(report["losses"]["recording_damaged"], 1);
    assert!(said.contains("`name` of 1048576 B cannot be real"), "{said}");
}

#[test]
fn deep_nesting_huge_numbers_and_lines_that_are_none_cost_themselves() {
    let folder = tempfile::tempdir().unwrap();
    let end = r#"{"type":"end","end_ns":18446744073709551615}"#;
    let lines = [
        "[".repeat(3 << 20),
        format!(r#"{{"type":"event","event":"image","x":{}"#, r#"{"a":"#.repeat(1 << 19)),
        r#"{"type":"row","process":"7@5","bytes":18446744073709551615}"#.to_owned(),
        r#"{"type":"row","process":"7@5","bytes":1e400}"#.to_owned(),
        r#"{"type":"row","process":"99999999999999999999@5"}"#.to_owned(),
        "x".repeat((4 << 20) + 1),
        "\u{1b}]0;title\u{7}\u{202e}".to_owned(),
        end.to_owned(),
    ];
    let (report, said) = reported(&file(&folder, lines.join("\n") + "\n"));
    assert_eq!(report["losses"]["recording_damaged"], lines.len());
    assert!(said.contains("line 2 cannot be read (recursion limit exceeded"), "{said}");
}

#[test]
fn a_file_of_lines_that_are_none_is_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let (report, said) = reported(&file(&folder, "x\n".repeat(2_000_000)));
    assert_eq!(report["losses"]["recording_damaged"], 100_000);
    assert!(said.contains("100000 lines of it cannot be read, so the rest was left out"), "{said}");
}

#[test]
fn chains_circles_and_repeated_looks_take_little_time() {
    let folder = tempfile::tempdir().unwrap();
    let mut text = String::new();
    for pid in 1..20_000 {
        // Each process is the child of the next one, and the last one is the child of the first.
        let next = pid % 19_999 + 1;
        writeln!(
            text,
            r#"{{"type":"event","event":"fork","time_ns":9,"parent":"{next}@5","child":"{pid}@5"}}"#
        )
        .unwrap();
        writeln!(
            text,
            r#"{{"type":"event","event":"object","time_ns":9,"object":{{"id":"9:{pid}","mode":4480}}}}"#
        )
        .unwrap();
    }
    text += &"{\"type\":\"survey\"}\n".repeat(100_000);
    text += &"{\"type\":\"started_here\",\"tgid\":1}\n".repeat(50_000);
    let (report, _) = reported(&file(&folder, text));
    assert_eq!(report["objects"].as_array().unwrap().len(), 19_999);
    assert_eq!(report["losses"]["recording_damaged"], 49_999);
}

#[test]
fn what_never_ends_and_is_no_session_is_refused() {
    let said = refused(&mut report(&["/dev/zero"]));
    assert!(said.contains("/dev/zero: it is not a tracer recording"), "{said}");
    let said = refused(&mut report(&["/dev/null"]));
    assert!(said.contains("it is empty"), "{said}");
    let folder = tempfile::tempdir().unwrap();
    let said = refused(&mut report(&[folder.path().to_str().unwrap()]));
    assert!(said.contains("tracer --capture DIR"), "{said}");
}

#[test]
fn a_session_that_goes_on_into_a_line_without_end_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(&folder, image(7, &["sh".to_owned()]));
    let line = r#"cat "$1" /dev/zero | "$0" report - --format json"#;
    let mut command = Command::new("sh");
    command.args(["-c", line, env!("CARGO_BIN_EXE_tracer")]).arg(&path);
    let output = output(command.stdout(Stdio::piped()).stderr(Stdio::piped()));
    let said = check_harmless(&output.stderr);
    assert!(said.contains("it holds a line that does not end"), "{said}");
    let report: Value = serde_json::from_str(&check_harmless(&output.stdout)).unwrap();
    assert_eq!(report["processes"][0]["pid"], 7);
}

#[test]
fn names_of_files_and_options_do_nothing_to_a_terminal() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a\u{1b}[2J\u{202e}\nb.session");
    let missing = report(&[path.to_str().unwrap()]).stdout(Stdio::null()).output().unwrap();
    assert!(check_harmless(&missing.stderr).contains(r"a\x1b[2J\u{202e}\nb.session"));
    // The file is cut, so that a warning names it.
    fs::write(&path, header() + &image(7, &["\u{1b}[2J\u{202e}".to_owned()]) + "{").unwrap();
    let (_, said) = reported(&path);
    assert!(said.contains(r"a\x1b[2J\u{202e}\nb.session stops before"), "{said}");
    let mut wrong = Command::new(env!("CARGO_BIN_EXE_tracer"));
    let wrong = wrong.args(["--no-such\u{1b}[2J\u{202e}", "\u{1b}]0;x\u{7}"]).output().unwrap();
    assert_eq!(wrong.status.code(), Some(2));
    assert!(check_harmless(&wrong.stderr).contains(r"\u{202e}"));
}
