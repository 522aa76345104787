//! Entries for tests.

use std::{path::Path, time::Duration};

use crate::{Entry, Fate, Limits, Place, Stream, Writer};

/// One second in µs.
pub(crate) const SECOND: i64 = 1_000_000;
/// 2024-11-18, 03:00:00 UTC.
pub(crate) const BEGIN: i64 = 1_731_898_800 * SECOND;

/// An ordinary command whose output arrived: the `index`th, of one of 200 containers.
pub(crate) fn entry(index: i64) -> Entry {
    let pid = 4000 + u32::try_from(index % 4_000_000).unwrap();
    let bytes = 100 + u64::try_from(index * 7919 % 100_000).unwrap();
    let number = index % 200;
    let ended_us = BEGIN + index * SECOND / 100;
    let stream = |fd: i32, bytes: u64| Stream {
        fd,
        bytes,
        destination: format!("pipe:[{}]", 88_000 + index * 2 + i64::from(fd)),
        outcome: if bytes == 0 { "silent" } else { "read" }.into(),
        reader: (bytes > 0).then(|| "containerd-shim".into()),
        fate: Some(Fate { delivered: bytes, ..Fate::default() }),
    };
    Entry {
        began_us: ended_us - 40_000 - index % 1000,
        ended_us,
        pid,
        ns_pid: 7 + u32::try_from(index % 300).unwrap(),
        name: ["sh", "report", "python3", "curl", "node"][usize::try_from(index % 5).unwrap()]
            .into(),
        command: format!("/usr/local/bin/report --customer {} --format pdf", index % 5000),
        exit_code: Some(0),
        place: place(number),
        streams: vec![stream(1, bytes), stream(2, 0)],
        rule: "delivered".into(),
        severity: "info".into(),
        confidence: "high".into(),
        sentence: format!(
            "report ({pid}) wrote {bytes} B to stdout; containerd-shim (812) read all of it"
        ),
        ..Entry::default()
    }
}

/// The place of a container.
pub(crate) fn place(number: i64) -> Place {
    let id = format!("{:016x}", number.wrapping_mul(0x1234_5678_9abc_def1)).repeat(4);
    Place {
        cgroup: format!("/system.slice/docker-{id}.scope"),
        engine: Some("docker".into()),
        container_id: Some(id),
        container: Some(format!("report-{number}")),
        image: Some("registry.example/report:1.4".into()),
        ..Place::default()
    }
}

/// The same command with output that did not arrive.
pub(crate) fn lost(index: i64) -> Entry {
    let report = format!("{{\"schema\":\"tracer.report/1\",\"verdict\":\"{index}\"}}").into_bytes();
    Entry {
        rule: "unread".into(),
        severity: "loss".into(),
        has_loss: true,
        report: Some(report),
        ..entry(index)
    }
}

/// Limits that remove nothing by age and have room for everything.
pub(crate) const ROOMY: Limits = Limits {
    age: Duration::MAX,
    bytes: u64::MAX,
    file_bytes: 64 << 20,
    queue_entries: usize::MAX,
    queue_bytes: usize::MAX,
};

/// Writes entries, and waits until they are written.
pub(crate) fn write(folder: &Path, entries: impl IntoIterator<Item = Entry>) {
    let writer = Writer::start(folder, ROOMY).unwrap();
    entries.into_iter().for_each(|entry| writer.add(entry));
    assert!(writer.close(Duration::from_secs(60)));
}
