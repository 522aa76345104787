//! The rows of an export are what is in the history.

mod common;

use std::fs;

use serde_json::json;
use tempfile::TempDir;
use tracer_history::{Entry, Stream};

use self::common::{
    BEGIN, SECOND, entry, ndjson, parquet, plan, sums_of_entries, sums_of_rows, write,
};

#[test]
fn sums_are_those_of_the_history_in_both_formats() {
    let folder = TempDir::new().unwrap();
    let plan = plan(7, 6_000);
    write(folder.path(), &plan);
    assert!(fs::read_dir(folder.path()).unwrap().count() > 3, "one file a day");
    let (lines, table) = (ndjson(folder.path(), &[]), parquet(folder.path(), &[]));
    assert_eq!(sums_of_rows(&lines), sums_of_entries(&plan));
    let number = plan.iter().map(|entry| entry.streams.len().max(1)).sum::<usize>();
    assert_eq!(lines.len(), number);
    let first = lines.iter().filter(|row| row["is_first"] == true).count();
    assert_eq!(first, plan.len());
    // Each value of each row, and the order.
    assert_eq!(lines, table);
}

#[test]
fn a_time_span_and_losses_are_chosen() {
    let folder = TempDir::new().unwrap();
    let plan = plan(8, 2_000);
    write(folder.path(), &plan);
    let since = BEGIN + 86_400 * SECOND;
    let until = since + 86_400 * SECOND - 1;
    let arguments = ["--since=2024-11-19T03:00:00Z", "--until=2024-11-20T02:59:59Z", "--lost"];
    let chosen = plan.iter().filter(|entry| {
        (since..=until).contains(&entry.ended_us) && (entry.has_loss || entry.severity == "loss")
    });
    let expected = sums_of_entries(chosen);
    assert!(!expected.is_empty());
    assert_eq!(sums_of_rows(&ndjson(folder.path(), &arguments)), expected);
    assert_eq!(sums_of_rows(&parquet(folder.path(), &arguments)), expected);
}

#[test]
fn every_value_has_its_column() {
    let folder = TempDir::new().unwrap();
    let silent = Entry { streams: Vec::new(), signal: Some(9), exit_code: None, ..entry(2, 0, 0) };
    write(folder.path(), &[entry(1, 1_000, 400), silent]);
    let rows = ndjson(folder.path(), &["--node", "web-7"]);
    let first = json!({
        "node": "web-7", "ended": "2024-11-18T03:00:01.000000Z", "began": "2024-11-18T03:00:00.000000Z",
        "is_interim": false, "is_first": true, "pid": 1, "ns_pid": 1, "name": "seq", "command": "seq 1 100",
        "exit_code": 0, "signal": null, "cgroup": "/c", "engine": null, "container_id": "ab".repeat(32),
        "container": "web", "image": null, "namespace": null, "pod": null, "unit": null, "fd": 1,
        "stream": "stdout", "bytes": 1000, "delivered": 600, "lost": 400, "discarded": 0, "unknown": 0,
        "refused": 0, "destination": "pipe:[1]", "outcome": "read", "reader": "cat", "rule": "unread",
        "severity": "loss", "confidence": "certain", "sentence": "seq (1) wrote 1000 B", "has_loss": true
    });
    assert_eq!(json!(rows[0]), first);
    let (second, table) = (&rows[1], parquet(folder.path(), &["--node", "web-7"]));
    assert_eq!((&second["signal"], &second["exit_code"]), (&json!(9), &json!(null)));
    for column in ["fd", "stream", "bytes", "delivered", "lost", "destination", "outcome", "reader"]
    {
        assert_eq!(second[column], json!(null), "{column}");
    }
    assert_eq!(table, rows);
}

/// Interim entries repeat what was counted since the beginning of the job.
#[test]
fn a_job_with_interim_entries_counts_once() {
    let folder = TempDir::new().unwrap();
    let began_us = BEGIN;
    let job = |pid, after: i64, bytes, lost, is_interim| Entry {
        began_us,
        ended_us: BEGIN + after * SECOND,
        is_interim,
        ..entry(pid, bytes, lost)
    };
    let entries = [
        job(1, 3600, 100, 0, true),
        job(2, 3700, 50, 50, true),
        job(1, 7200, 200, 0, true),
        job(3, 7300, 7, 7, true),
        job(2, 7400, 50, 0, false),
        job(1, 9000, 250, 30, false),
    ];
    write(folder.path(), &entries);
    let bytes = |arguments: &[&str]| -> Vec<(u64, u64, bool)> {
        let row = |row: &common::Row| {
            let number = |name: &str| row[name].as_u64().unwrap();
            (number("pid"), number("bytes"), row["is_interim"] == true)
        };
        let rows = ndjson(folder.path(), arguments);
        assert_eq!(parquet(folder.path(), arguments), rows);
        rows.iter().map(row).collect()
    };
    assert_eq!(bytes(&[]), [(3, 7, true), (2, 50, false), (1, 250, false)]);
    // What was lost for the moment only is no loss.
    assert_eq!(bytes(&["--lost"]), [(3, 7, true), (1, 250, false)]);
    // Before it ended, the latest totals count.
    let until = ["--until=2024-11-18T05:00:00Z"];
    assert_eq!(bytes(&until), [(2, 50, true), (1, 200, true)]);
}

#[test]
fn what_older_versions_did_not_count_is_null() {
    let folder = TempDir::new().unwrap();
    let mut old = entry(1, 10, 0);
    old.streams = vec![Stream { fate: None, ..old.streams[0].clone() }];
    write(folder.path(), &[old, entry(2, 20, 5)]);
    for rows in [ndjson(folder.path(), &[]), parquet(folder.path(), &[])] {
        assert_eq!(rows[0]["bytes"], 10);
        for column in ["delivered", "lost", "discarded", "unknown", "refused"] {
            assert_eq!(rows[0][column], json!(null), "{column}");
        }
        assert_eq!((&rows[1]["lost"], &rows[1]["delivered"]), (&json!(5), &json!(15)));
    }
}
