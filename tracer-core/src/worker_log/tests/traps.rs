//! Lines that must not be taken for a statement, and lines that must count as bad.

use super::*;

#[test]
fn guest_output_at_any_other_level_is_no_statement() {
    let said = "DBG read stdout container_id=sandbox-xxx pid=123 stdout_len=9";
    for level in ["TRC", "INF", "WRN", "ERR", "FTL", "PNC"] {
        for time in ["", "3:04PM ", "<nil> ", "2026-08-19T15:04:05Z ", "\x1b[90m3:04PM\x1b[0m "] {
            for words in [
                said.to_owned(),
                format!("3:04PM {said}"),
                format!("2026-08-19T15:04:05Z {said}"),
                format!("2026-08-19T15:04:05Z stdout F {said}"),
                said.trim_start_matches("DBG ").to_owned(),
                r#"{"pid":123,"stream":"stdout","bytes":9}"#.to_owned(),
            ] {
                let line = format!("{time}{level} {words}");
                assert_eq!(counts(&line), (0, 0), "{line:?}");
            }
        }
    }
}

#[test]
fn guest_output_in_json_is_no_statement() {
    let guest = r#"{"level":"debug","pid":1,"stdout_len":9,"message":"read stdout"}"#;
    let two_lines = "x\nDBG read stdout pid=1 stdout_len=9\n";
    for words in [guest, two_lines, "DBG read stdout pid=1 stdout_len=9", "read stdout"] {
        for level in ["info", "trace", "warn", "error", "", "DEBUG"] {
            let line = serde_json::json!({
                "level": level, "message": words, "pid": 1, "stdout_len": 9,
                "log": words, "stream": "stdout", "bytes": 9,
            });
            assert_eq!(counts(&line.to_string()), (0, 0), "{line}");
        }
    }
}

#[test]
fn a_logger_with_a_field_named_log_is_no_docker_wrapper() {
    let said = "DBG read stdout pid=1 stdout_len=9\\n";
    for more in [r#""level":"info""#, r#""message":"container said""#, r#""container":"x""#] {
        let line = format!(r#"{{"log":"{said}","stream":"stdout","time":"",{more}}}"#);
        assert_eq!(counts(&line).0, 0, "{line}");
    }
}

#[test]
fn an_object_that_names_its_level_twice_is_no_statement() {
    let line = r#"{"level":"info","pid":1,"stdout_len":9,"message":"read stdout","level":"debug"}"#;
    assert_eq!(counts(line), (0, 1));
}

#[test]
fn other_messages_are_unrelated() {
    for line in [
        "3:04PM DBG read stdout of the container container_id=x pid=1",
        "3:04PM DBG read stdouts container_id=x pid=1 stdout_len=1",
        "3:04PM DBG will read stdout container_id=x pid=1 stdout_len=1",
        "3:04PM DBG failed to execute socket check container_id=x error=\"no such file\"",
        "3:04PM INF docker daemon started container_id=x pid=1",
        r#"{"level":"debug","container_id":"x","pid":1,"message":"Read stdout","stdout_len":1}"#,
        r#"{"level":"debug","message":"killing sandbox process","container_id":"x","pid":1}"#,
        r#"{"pid":1,"stream":"stdout"}"#,
        "{}",
        "{",
        "",
        "   ",
        "panic: runtime error",
        "\u{1}\u{2}",
    ] {
        assert_eq!(counts(line), (0, 0), "{line}");
    }
}

#[test]
fn damaged_statements_are_counted_as_bad() {
    for line in [
        "3:04PM DBG read stdout",
        "3:04PM DBG read stdout pid=1",
        "3:04PM DBG read stdout stdout_len=1",
        "3:04PM DBG read stdout pid=1 stdout_len=-1",
        "3:04PM DBG read stdout pid=4294967296 stdout_len=1",
        "3:04PM DBG read stdout pid=1 pid=2 stdout_len=1",
        "3:04PM DBG read stdout pid=1 stdout_len=1 and more",
        "3:04PM DBG read stdout container_id=\"x pid=1 stdout_len=1",
        "3:04PM DBG sandbox process started container_id=x pid=1",
        "3:04PM DBG sandbox process started cmd=[a b container_id=x pid=1",
        "15:04:05.000 DBG read stdout pid=1 stdout_len=1",
        r#"{"level":"debug","pid":1,"stdout_len":1,"message":"read stdout""#,
        r#"{"level":"debug","pid":1.5,"stdout_len":1,"message":"read stdout"}"#,
        r#"{"level":"debug","pid":1,"stdout_len":"","message":"read stdout"}"#,
        r#"{"level":"debug","pid":1,"cmd":[1],"message":"sandbox process started"}"#,
        r#"{"level":"debug","pid":1,"container_id":7,"stdout_len":1,"message":"read stdout"}"#,
        r#"{"pid":1,"stream":"stdin","bytes":1}"#,
        r#"{"stream":"stdout","bytes":1}"#,
        r#"{"pid":1,"stream":"stdout","bytes":1"#,
        r#"{"log":"3:04PM DBG read stdout pid=1 stdou"#,
        r#"{"log":"{\"level\":\"debug\",\"pid\":1,\"stdout_len\":1,\"message\":\"read stdout\"}"#,
    ] {
        assert_eq!(counts(line), (0, 1), "{line}");
    }
}

#[test]
fn the_reports_lines_with_parts_left_out_are_bad() {
    let log = "\
DBG sandbox process started ... cmd=[docker pull --progress=plain nginx:latest]
DBG read stdout ... stdout_len=0
DBG read stderr ... stderr_len=1234  ← If this is > 0, output is in stderr!
";
    assert_eq!(counts(log), (0, 3));
    let (_, reader) = read(log.as_bytes());
    assert!(reader.first_bad().unwrap().starts_with("DBG sandbox process started ... cmd="));
}
