//! Files that tracer did not write, or that were damaged.

use proptest::prelude::*;
use serde_json::Value;

use super::{ReadError, replayed, session};
use crate::{
    recording::{LINE_LIMIT, Recording},
    session::LossReason,
    verdict::Rule,
};

fn lines(name: &str) -> Vec<String> {
    String::from_utf8(session(name)).unwrap().lines().map(str::to_owned).collect()
}

fn read_lines(lines: &[String]) -> Result<Recording, ReadError> {
    replayed((lines.join("\n") + "\n").as_bytes())
}

#[test]
fn another_file_gets_an_error_that_names_it() {
    let error = |bytes: &[u8]| replayed(bytes).unwrap_err().to_string();
    assert!(error(b"").starts_with("it is empty"));
    assert!(error(b"\x7fELF\0\0").starts_with("it is not a tracer recording"));
    assert!(error(b"\n").starts_with("it is not a tracer recording"));
    assert!(error(b"{\"schema\":\"tracer.report/1\"}").starts_with("it is a report"));
    assert!(error(b"{\"type\":\"session\",\"schema\":\"tracer.session/1\"}").contains("damaged"));
    let other = b"{\"type\":\"session\",\"schema\":\"tracer.session/2\",\"tracer\":\"9.1\"}\n";
    let words = error(other);
    assert!(words.contains("tracer 9.1") && words.contains("tracer.session/2"), "{words}");
}

#[test]
fn a_damaged_line_in_the_middle_is_counted_and_the_rest_is_used() {
    let mut lines = lines("delivered");
    let whole = read_lines(&lines).unwrap().report().0;
    lines.insert(3, "{\"type\":\"event\",\"event\":\"ex".to_owned());
    lines.insert(5, "\u{0}\u{0}".to_owned());
    let recording = read_lines(&lines).unwrap();
    assert_eq!((recording.damaged, recording.is_cut), (2, false));
    assert_eq!(recording.first_damage.as_ref().unwrap().0, 4);
    let report = recording.report().0;
    assert_eq!(report.losses[&LossReason::RecordingDamaged], 2);
    assert_eq!(report.findings[0].rule, Rule::OwnLosses);
    assert_eq!(report.processes, whole.processes);
    assert_eq!(report.objects, whole.objects);
}

#[test]
fn additions_of_a_later_version_are_skipped() {
    let mut lines = lines("delivered");
    let whole = read_lines(&lines).unwrap().report().0;
    for line in &mut lines {
        let mut value: Value = serde_json::from_str(line).unwrap();
        value["added_later"] = serde_json::json!({"x": 1});
        *line = value.to_string();
    }
    lines.insert(2, r#"{"type":"weather","rain":true}"#.to_owned());
    lines.insert(2, r#"{"type":"event","event":"teleported","time_ns":5}"#.to_owned());
    assert_eq!(read_lines(&lines).unwrap().report().0, whole);
}

#[test]
fn a_line_without_end_takes_no_memory_and_no_other_line() {
    let mut lines = lines("delivered");
    let whole = read_lines(&lines).unwrap().report().0;
    lines.insert(4, "x".repeat(LINE_LIMIT + 1));
    let recording = read_lines(&lines).unwrap();
    assert_eq!(recording.damaged, 1);
    assert_eq!(recording.report().0.processes, whole.processes);
    let endless = vec![b'{'; LINE_LIMIT * 2];
    assert!(matches!(replayed(&endless), Err(ReadError::NotARecording)));
}

#[test]
fn a_long_file_is_read_in_its_order() {
    let mut lines = lines("delivered");
    let whole = read_lines(&lines).unwrap().report().0;
    // More lines than one block, before the relevant ones.
    let filling = format!(r#"{{"type":"weather","rain":"{}"}}"#, "x".repeat(200));
    lines.splice(1..1, vec![filling; 40_000]);
    lines.insert(30_000, "{".to_owned());
    let recording = read_lines(&lines).unwrap();
    assert_eq!((recording.damaged, recording.first_damage.as_ref().unwrap().0), (1, 30_001));
    assert_eq!(recording.report().0.processes, whole.processes);
}

#[test]
fn a_second_session_in_one_file_is_not_mixed_in() {
    let mut lines = lines("delivered");
    let count = lines.len() as u64;
    lines.extend(lines.clone());
    let recording = read_lines(&lines).unwrap();
    assert_eq!(recording.damaged, count);
}

proptest! {
    #[test]
    fn no_byte_sequence_panics(
        changes in prop::collection::vec((0usize..6000, any::<u8>()), 1..20),
    ) {
        let mut bytes = session("other_stream");
        for (at, byte) in changes {
            let length = bytes.len();
            bytes[at % length] = byte;
        }
        if let Ok(recording) = replayed(&bytes) {
            let _ = recording.report().0;
        }
    }
}
