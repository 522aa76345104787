//! Logs of users, and lines that a hostile guest could put into them.

mod properties;
mod traps;
mod wrappers;

use super::*;

/// The lines of the original report.
const REPORT: &str = "\
# When the command starts
DBG sandbox process started container_id=sandbox-xxx pid=123 cmd=[docker pull --progress=plain nginx:latest]

# When stdout is read
DBG read stdout container_id=sandbox-xxx pid=123 stdout_len=0

# When stderr is read
DBG read stderr container_id=sandbox-xxx pid=123 stderr_len=2048
";

/// The same lines as the worker prints them: fields by name, lists as JSON, a time of day.
const PRETTY: &str = "\
3:04PM INF running sandbox command cmd=\"docker pull nginx\" container_id=sandbox-xxx
3:04PM DBG sandbox process started cmd=[\"docker\",\"pull\",\"--progress=plain\",\"nginx:latest\"] container_id=sandbox-xxx pid=123
3:04PM DBG read stdout container_id=sandbox-xxx pid=123 stdout_len=0
3:05PM DBG read stderr container_id=sandbox-xxx pid=123 stderr_len=2048
";

/// With colours, zerolog's default.
const COLOURED: &str = "\
\x1b[90m3:04PM\x1b[0m DBG sandbox process started \x1b[36mcmd=\x1b[0m[\"docker\",\"pull\",\"--progress=plain\",\"nginx:latest\"] \x1b[36mcontainer_id=\x1b[0msandbox-xxx \x1b[36mpid=\x1b[0m123
\x1b[90m3:04PM\x1b[0m \x1b[33mDBG\x1b[0m read stdout \x1b[36mcontainer_id=\x1b[0msandbox-xxx \x1b[36mpid=\x1b[0m123 \x1b[36mstdout_len=\x1b[0m0
\x1b[90m3:05PM\x1b[0m DBG \x1b[1mcontainer_server.go:651\x1b[0m\x1b[36m >\x1b[0m read stderr \x1b[36mcontainer_id=\x1b[0msandbox-xxx \x1b[36mpid=\x1b[0m123 \x1b[36mstderr_len=\x1b[0m2048
";

const JSON: &str = r#"
{"level":"info","container_id":"sandbox-xxx","cmd":"docker pull","time":"2026-08-19T15:04:05Z","message":"running sandbox command"}
{"level":"debug","container_id":"sandbox-xxx","pid":123,"cmd":["docker","pull","--progress=plain","nginx:latest"],"time":"2026-08-19T15:04:05Z","message":"sandbox process started"}
{"level":"debug","container_id":"sandbox-xxx","pid":123,"stdout_len":0,"time":"2026-08-19T17:04:06+02:00","message":"read stdout"}
{"level":"debug","container_id":"sandbox-xxx","pid":123,"stderr_len":2048,"time":"2026-08-19T15:04:07Z","message":"read stderr"}
"#;

/// 2026-08-19T15:04:05Z.
const AT: i64 = 1_787_151_845_000_000_000;
const SECOND: i64 = 1_000_000_000;

/// Reads a complete log that has no bad line.
fn statements(log: &str) -> Vec<Statement> {
    let (statements, reader) = read(log.as_bytes());
    assert_eq!((reader.bad(), reader.first_bad()), (0, None));
    statements
}

/// The number of statements and of bad lines in a complete log.
fn counts(log: &str) -> (usize, u64) {
    let (statements, reader) = read(log.as_bytes());
    (statements.len(), reader.bad())
}

fn read(log: &[u8]) -> (Vec<Statement>, Reader) {
    let mut reader = Reader::new();
    let mut statements = reader.feed(log);
    statements.extend(reader.finish());
    (statements, reader)
}

fn returned(stream: Stream, bytes: u64, time: Option<StatementTime>) -> Statement {
    let what = StatementKind::Returned { stream, bytes };
    Statement { container: Some("sandbox-xxx".into()), pid: 123, time, what }
}

/// The three statements of the report's log, in any form.
fn expected(times: [Option<StatementTime>; 3]) -> Vec<Statement> {
    let command = ["docker", "pull", "--progress=plain", "nginx:latest"];
    let command = command.map(str::to_owned).to_vec();
    let started = StatementKind::Started { command };
    vec![
        Statement { what: started, ..returned(Stream::Stdout, 0, times[0]) },
        returned(Stream::Stdout, 0, times[1]),
        returned(Stream::Stderr, 2048, times[2]),
    ]
}

fn clock(minute: u8) -> Option<StatementTime> {
    Some(StatementTime::TimeOfDay { hour: 15, minute })
}

fn exactly(nanos: i64) -> Option<StatementTime> {
    Some(StatementTime::UnixNanos(nanos))
}

#[test]
fn the_reports_own_lines_are_read() {
    assert_eq!(statements(REPORT), expected([None; 3]));
    assert_eq!(read(REPORT.as_bytes()).1.lines(), 8);
}

#[test]
fn console_lines_are_read_with_and_without_colours() {
    let expected = expected([clock(4), clock(4), clock(5)]);
    assert_eq!(statements(PRETTY), expected);
    assert_eq!(statements(COLOURED), expected);
    assert_eq!(statements(&PRETTY.replace('\n', "\r\n")), expected);
}

#[test]
fn console_lines_with_full_dates_are_read() {
    let expected = expected([exactly(AT), exactly(AT), exactly(AT + SECOND)]);
    let dated = |log: &str| {
        log.replace("3:04PM", "2026-08-19T15:04:05Z").replace("3:05PM", "2026-08-19T11:04:06-04:00")
    };
    assert_eq!(statements(&dated(PRETTY)), expected);
    assert_eq!(statements(&dated(COLOURED)), expected);
}

#[test]
fn json_lines_are_read() {
    let times = [exactly(AT), exactly(AT + SECOND), exactly(AT + 2 * SECOND)];
    assert_eq!(statements(JSON), expected(times));
}

#[test]
fn any_manager_can_be_read_from_plain_objects() {
    let log = r#"
{"pid":71,"stream":"stdout","bytes":4096}
{"bytes":0,"container_id":"web","pid":"71","stream":"stderr","time":"2026-08-19T15:04:05.5Z"}
"#;
    let statement = |container: Option<&str>, time, stream, bytes| Statement {
        container: container.map(str::to_owned),
        pid: 71,
        time,
        what: StatementKind::Returned { stream, bytes },
    };
    assert_eq!(
        statements(log),
        [
            statement(None, None, Stream::Stdout, 4096),
            statement(Some("web"), exactly(AT + SECOND / 2), Stream::Stderr, 0),
        ]
    );
}

#[test]
fn go_quoted_values_are_read() {
    let log = "3:04PM DBG read stdout container_id=\"a \\\"b\\\" \\u00e9\" pid=1 stdout_len=7\n";
    assert_eq!(statements(log)[0].container.as_deref(), Some("a \"b\" é"));
}

#[test]
fn more_fields_and_another_order_do_no_harm() {
    let log = r#"
DBG read stdout error="rpc error: [x" stdout_len=7 worker={"id":1} pid=1 list=[1,2] took=1.5ms
{"message":"read stdout","stdout_len":7,"time":1787151845,"level":"debug","pid":1}
{"message":"read stdout","stdout_len":7,"time":"","time":"2026-08-19T15:04:05Z","level":"debug","pid":1}
"#;
    let what = StatementKind::Returned { stream: Stream::Stdout, bytes: 7 };
    let statement = Statement { container: None, pid: 1, time: None, what };
    let dated = Statement { time: exactly(AT), ..statement.clone() };
    assert_eq!(statements(log), [statement.clone(), statement, dated]);
}

#[test]
fn a_last_line_without_a_break_waits_for_the_end() {
    let mut reader = Reader::new();
    assert_eq!(reader.feed(b"DBG read stdout pid=1 stdout_len=20"), []);
    assert_eq!(reader.lines(), 0);
    assert_eq!(reader.feed(b"48").len(), 0);
    let statements = reader.finish();
    assert_eq!(statements[0].what, StatementKind::Returned { stream: Stream::Stdout, bytes: 2048 });
    assert_eq!(reader.lines(), 1);
    assert_eq!(reader.finish(), [], "said once");
}

#[test]
fn a_line_without_end_is_bad_once_and_the_next_one_counts() {
    let mut log = b"DBG read stdout container_id=".to_vec();
    log.resize(3 * MAX_LINE, b'x');
    log.extend(b" pid=1 stdout_len=1\nDBG read stdout pid=1 stdout_len=2\n");
    let (statements, reader) = read(&log);
    assert_eq!((statements.len(), reader.lines(), reader.bad()), (1, 2, 1));
    let shown = reader.first_bad().unwrap();
    assert!(shown.starts_with("DBG read stdout") && shown.ends_with('…'), "{shown}");
    assert_eq!(shown.chars().count(), SHOWN + 1);
}

#[test]
fn the_first_bad_line_is_escaped() {
    let log = "DBG read stdout pid=\x1b]0;x\x07\nDBG read stdout pid=x\n";
    let (_, reader) = read(log.as_bytes());
    assert_eq!(reader.bad(), 2);
    assert_eq!(reader.first_bad(), Some("DBG read stdout pid=\\u{1b}]0;x\\u{7}"));
}
