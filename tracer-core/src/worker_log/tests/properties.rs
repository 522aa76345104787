//! Properties of every byte string and every way to cut it.

use proptest::{collection::vec, prelude::*, sample::select};

use super::*;

/// Fragments that reach deep into the grammar when they are combined.
const SCRAPS: &[&str] = &[
    "\n",
    "\r\n",
    " ",
    "\x1b[90m",
    "\x1b",
    "3:04PM",
    "12:60AM",
    "DBG ",
    "INF ",
    "read stdout ",
    "read stderr ",
    "sandbox process started ",
    "pid=1 ",
    "pid=",
    "stdout_len=5 ",
    "stderr_len=",
    "cmd=[",
    "\"a\",",
    "]",
    "cmd=[\"a\"] ",
    "container_id=\"x\\u00e9\" ",
    "\"",
    "\\",
    "\\x",
    "{",
    "}",
    "[[[[",
    "{\"log\":\"",
    "\\n\",\"stream\":\"stdout\",\"time\":\"\"}\n",
    "{\"level\":\"debug\",\"message\":\"read stdout\",\"pid\":1,\"stdout_len\":5}\n",
    "{\"pid\":1,\"stream\":\"stderr\",\"bytes\":18446744073709551616}",
    "2026-08-19T15:04:05.1Z ",
    "stdout F ",
    "stdout P ",
    "stderr P:x ",
    "é",
    "\u{2028}",
];

fn logs() -> impl Strategy<Value = Vec<u8>> {
    let scrap = prop_oneof![
        8 => select(SCRAPS).prop_map(|scrap| scrap.as_bytes().to_vec()),
        1 => vec(any::<u8>(), 0..8),
    ];
    vec(scrap, 0..40).prop_map(|scraps| scraps.concat())
}

/// Everything that a reader returns for a log.
type Outcome = (Vec<Statement>, u64, u64, Option<String>);

fn outcome(log: &[u8], mut cuts: impl Iterator<Item = usize>) -> Outcome {
    let mut reader = Reader::new();
    let mut statements = Vec::new();
    let mut rest = log;
    while !rest.is_empty() {
        let (chunk, tail) = rest.split_at(cuts.next().unwrap_or(rest.len()).min(rest.len()));
        statements.extend(reader.feed(chunk));
        rest = tail;
    }
    statements.extend(reader.finish());
    (statements, reader.lines(), reader.bad(), reader.first_bad().map(str::to_owned))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn chunk_borders_do_not_matter(log in logs(), cuts in vec(0_usize..30, 0..20)) {
        let whole = outcome(&log, std::iter::empty());
        prop_assert_eq!(&outcome(&log, std::iter::repeat(1)), &whole);
        prop_assert_eq!(&outcome(&log, cuts.into_iter()), &whole);
    }

    #[test]
    fn any_bytes_give_statements_or_bad_lines(log: Vec<u8>) {
        let (statements, lines, bad, first_bad) = outcome(&log, std::iter::empty());
        prop_assert!(statements.len() as u64 + bad <= lines);
        prop_assert_eq!(first_bad.is_some(), bad > 0);
    }

    #[test]
    fn a_line_gives_at_most_one_statement_or_one_bad_count(log in logs()) {
        let (statements, lines, bad, _) = outcome(&log, std::iter::empty());
        prop_assert!(statements.len() as u64 + bad <= lines);
    }

    #[test]
    fn a_relayed_line_is_never_a_statement(
        said in "[^\n]{0,80}",
        scraps in vec(select(SCRAPS), 0..20),
    ) {
        let said = said + &scraps.concat().replace('\n', "");
        prop_assert_eq!(counts(&format!("3:04PM INF {said}\n")), (0, 0));
        let line = serde_json::json!({"level": "info", "message": scraps.concat()});
        prop_assert_eq!(counts(&line.to_string()), (0, 0));
    }

    #[test]
    fn every_command_comes_back_from_json_and_from_the_console(
        command in vec(any::<String>(), 0..6),
        pid: u32,
    ) {
        let list = serde_json::to_string(&command).unwrap();
        let message = "sandbox process started";
        let log = format!(
            "3:04PM DBG {message} cmd={list} container_id=c pid={pid}\n\
             {{\"level\":\"debug\",\"cmd\":{list},\"pid\":{pid},\"message\":\"{message}\"}}\n"
        );
        let read = statements(&log);
        prop_assert_eq!(read.len(), 2);
        for statement in read {
            prop_assert_eq!(statement.pid, pid);
            prop_assert_eq!(statement.what, StatementKind::Started { command: command.clone() });
        }
    }
}
