//! Histories with known content, and their exports.

#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    collections::BTreeMap,
    fs::{self, File},
    path::Path,
    process::{Command, Output, Stdio},
    time::Duration,
};

use parquet::{
    file::reader::{FileReader as _, SerializedFileReader},
    record::Field,
};
use serde_json::{Map, Value, json};
use tracer_history::{Entry, Fate, Limits, Place, Stream, Writer};

/// 2024-11-18, 03:00:00 UTC, in µs.
pub(crate) const BEGIN: i64 = 1_731_898_800_000_000;
/// A second in µs.
pub(crate) const SECOND: i64 = 1_000_000;

/// A row as JSON.
pub(crate) type Row = Map<String, Value>;

/// Writes a history. Its files are small, so that there are several a day.
pub(crate) fn write(folder: &Path, entries: &[Entry]) {
    let limits = Limits {
        age: Duration::from_secs(100 * 365 * 86_400),
        bytes: 1 << 40,
        file_bytes: 1 << 20,
        queue_entries: usize::MAX,
        queue_bytes: usize::MAX,
    };
    let writer = Writer::start(folder, limits).unwrap();
    writer.attached("all", BEGIN);
    entries.iter().for_each(|entry| writer.add(entry.clone()));
    writer.detached(BEGIN + 7 * 86_400 * SECOND, "SIGTERM");
    assert!(writer.close(Duration::from_secs(120)));
}

/// A command with one stream.
pub(crate) fn entry(pid: u32, bytes: u64, lost: u64) -> Entry {
    let fate = Fate { delivered: bytes - lost, lost, ..Fate::default() };
    let ended_us = BEGIN + i64::from(pid) * SECOND;
    Entry {
        began_us: ended_us - SECOND,
        ended_us,
        pid,
        ns_pid: 1,
        name: "seq".into(),
        command: "seq 1 100".into(),
        exit_code: Some(0),
        place: Place {
            cgroup: "/c".into(),
            container: Some("web".into()),
            container_id: Some("ab".repeat(32)),
            ..Place::default()
        },
        streams: vec![Stream {
            fd: 1,
            bytes,
            destination: "pipe:[1]".into(),
            outcome: "read".into(),
            reader: Some("cat".into()),
            fate: Some(fate),
        }],
        rule: if lost > 0 { "unread" } else { "delivered" }.into(),
        severity: if lost > 0 { "loss" } else { "info" }.into(),
        confidence: "certain".into(),
        sentence: format!("seq ({pid}) wrote {bytes} B"),
        has_loss: lost > 0,
        ..Entry::default()
    }
}

/// Random commands in several containers, with none to three streams each, over three days.
pub(crate) fn plan(seed: u64, number: u32) -> Vec<Entry> {
    let mut random = fastrand::Rng::with_seed(seed);
    let rules = ["delivered", "unread", "refused", "reader_gone", "discarded"];
    let mut plan: Vec<Entry> = (1..=number)
        .map(|pid| {
            let ended_us = BEGIN + random.i64(1..3 * 86_400 * SECOND);
            let container = random.option(3, |it| format!("job-{}", it.u8(0..5)));
            let streams = (0..random.i32(0..4)).map(|fd| stream(&mut random, fd)).collect();
            Entry {
                began_us: ended_us - random.i64(0..1000 * SECOND),
                ended_us,
                ns_pid: random.u32(1..9),
                exit_code: random.option(1, |it| it.u32(0..3)),
                signal: random.option(1, |it| it.u32(1..32)),
                place: Place {
                    cgroup: format!("/c{}", random.u8(0..9)),
                    container,
                    unit: random.option(1, |_| "cron.service".into()),
                    ..Place::default()
                },
                streams,
                rule: rules[random.usize(0..rules.len())].into(),
                severity: ["loss", "info", "warning"][random.usize(0..3)].into(),
                has_loss: random.bool(),
                ..entry(pid, 0, 0)
            }
        })
        .collect();
    plan.sort_by_key(|entry| entry.ended_us);
    plan
}

fn stream(random: &mut fastrand::Rng, fd: i32) -> Stream {
    let [delivered, lost, discarded, unknown, refused] =
        [0; 5].map(|_: u64| if random.bool() { random.u64(0..1 << 40) } else { 0 });
    Stream {
        fd,
        bytes: delivered + lost + discarded + unknown,
        destination: format!("pipe:[{}]", random.u32(..)),
        outcome: "read".into(),
        reader: random.option(1, |_| "containerd-shim".into()),
        fate: Some(Fate { delivered, lost, discarded, unknown, refused }),
    }
}

trait RandomOption {
    /// A value, in `often` of `often` + 1 cases.
    fn option<T>(&mut self, often: u8, make: impl FnOnce(&mut Self) -> T) -> Option<T>;
}

impl RandomOption for fastrand::Rng {
    fn option<T>(&mut self, often: u8, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        (self.u8(0..=often) > 0).then(|| make(self))
    }
}

/// Sums of `bytes`, `lost` and `refused` by container and rule.
pub(crate) type Sums = BTreeMap<(Option<String>, String), [u64; 3]>;

/// The sums of entries.
pub(crate) fn sums_of_entries<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> Sums {
    let mut sums = Sums::new();
    for entry in entries {
        let sum = sums.entry((entry.place.container.clone(), entry.rule.clone())).or_default();
        for stream in &entry.streams {
            let fate = stream.fate.unwrap_or_default();
            for (sum, number) in sum.iter_mut().zip([stream.bytes, fate.lost, fate.refused]) {
                *sum += number;
            }
        }
    }
    sums
}

/// The sums of rows.
pub(crate) fn sums_of_rows(rows: &[Row]) -> Sums {
    let mut sums = Sums::new();
    for row in rows {
        let container = row["container"].as_str().map(str::to_owned);
        let sum = sums.entry((container, row["rule"].as_str().unwrap().to_owned())).or_default();
        for (sum, column) in sum.iter_mut().zip(["bytes", "lost", "refused"]) {
            *sum += row[column].as_u64().unwrap_or(0);
        }
    }
    sums
}

/// The program with a history.
pub(crate) fn program(history: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tracer-export"));
    command.arg("--history").arg(history).args(arguments).stdin(Stdio::null());
    command
}

/// Rows of an export as NDJSON.
pub(crate) fn ndjson(history: &Path, arguments: &[&str]) -> Vec<Row> {
    let output = program(history, &[&["--format", "ndjson"], arguments].concat()).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    rows_of(&output.stdout)
}

/// Rows of NDJSON.
pub(crate) fn rows_of(text: &[u8]) -> Vec<Row> {
    let text = std::str::from_utf8(text).unwrap();
    text.split_terminator('\n').map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Rows of an export as Parquet, which the library reads.
pub(crate) fn parquet(history: &Path, arguments: &[&str]) -> Vec<Row> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rows.parquet");
    let path = file.to_str().unwrap();
    let output = program(history, &[&["-o", path], arguments].concat()).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    read_parquet(&file)
}

/// Rows of a Parquet file.
pub(crate) fn read_parquet(file: &Path) -> Vec<Row> {
    let reader = SerializedFileReader::new(File::open(file).unwrap()).unwrap();
    let rows = reader.get_row_iter(None).unwrap();
    rows.map(|row| {
        let row = row.unwrap();
        row.get_column_iter().map(|(name, field)| (name.clone(), value(field))).collect()
    })
    .collect()
}

fn value(field: &Field) -> Value {
    match field {
        Field::Null => Value::Null,
        Field::Bool(value) => json!(value),
        Field::Long(number) => json!(number),
        Field::Str(text) => json!(text),
        Field::TimestampMicros(us) => {
            json!(format!("{:.6}", jiff::Timestamp::from_microsecond(*us).unwrap()))
        }
        other => panic!("{other:?}"),
    }
}

/// Checks a refusal: exit code 3, and one line that names this.
pub(crate) fn refused(output: &Output, named: &str) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{stderr}");
    assert!(stderr.contains(named) && stderr.trim_end().lines().count() == 1, "{stderr}");
    assert!(stderr.starts_with("tracer-export: ") && !stderr.contains("panicked"), "{stderr}");
}
