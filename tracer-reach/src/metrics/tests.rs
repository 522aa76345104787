//! Real clients of the server, and what they are told.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    os::unix::net::UnixStream,
    path::Path,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use tracer_history::{Fate, Finding, Place, Stream};

use super::*;
use crate::Blocked;

const OPEN: &str = "Accept: application/openmetrics-text;version=1.0.0\r\n";
/// The page of the book with the table of all metrics.
const PAGE: &str = include_str!("../../../docs/src/prometheus.md");

/// Work that is started by hand.
type Work = Box<dyn FnOnce() + Send>;

fn started(name: &'static str, work: Work) -> io::Result<()> {
    thread::Builder::new().name(name.into()).spawn(work).map(drop)
}

fn about() -> About {
    About { version: "1.2.3".into(), reasons: vec!["ring_full".into()] }
}

/// A server, and where it listens.
fn server() -> (Metrics, SocketAddr) {
    let listening = Listening::at(&"127.0.0.1:0".parse().unwrap()).unwrap();
    let Address::Tcp(address) = listening.address().clone() else { panic!() };
    (Metrics::start(listening, about(), &started).unwrap(), address)
}

/// The answer to a request.
fn ask(address: SocketAddr, request: &str) -> String {
    let mut client = TcpStream::connect(address).unwrap();
    client.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    answer
}

fn scrape(address: SocketAddr, fields: &str) -> String {
    ask(address, &format!("GET /metrics HTTP/1.1\r\nHost: x\r\n{fields}\r\n"))
}

/// The metrics, when all earlier messages have been counted.
fn counted(metrics: &Metrics, address: SocketAddr) -> String {
    let wait = Instant::now();
    while metrics.messages.capacity() < WAITING {
        assert!(wait.elapsed() < Duration::from_secs(20));
        thread::sleep(Duration::from_millis(5));
    }
    scrape(address, OPEN)
}

/// The sum of all series of a metric whose labels have this text.
fn sum(text: &str, metric: &str, with: &str) -> u64 {
    let of_metric = text.lines().filter_map(|line| line.strip_prefix(metric));
    let values = of_metric.filter(|rest| rest.starts_with(['{', ' ']) && rest.contains(with));
    values.map(|rest| rest.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap()).sum()
}

fn series(text: &str, metric: &str) -> usize {
    text.lines().filter(|line| line.starts_with(&format!("{metric}{{"))).count()
}

/// A command that wrote 1,000 bytes to stdout, of which 300 were lost.
fn entry(pid: u32, place: Place) -> Entry {
    let fate = Fate { delivered: 700, lost: 300, ..Fate::default() };
    Entry {
        pid,
        started_ns: 5,
        place,
        exit_code: Some(0),
        streams: vec![Stream {
            fd: 1,
            bytes: 1_000,
            destination: "pipe:[7]".into(),
            outcome: "unread".into(),
            fate: Some(fate),
            ..Stream::default()
        }],
        confidence: "certain".into(),
        findings: vec![Finding { rule: "unread".into(), severity: "loss".into() }],
        ..Entry::default()
    }
}

fn named(container: &str) -> Place {
    Place { container: Some(container.into()), ..Place::default() }
}

fn pod() -> Place {
    let pod = Some("web-7d4b9c6f5-x2x9p".into());
    Place { namespace: Some("prod".into()), pod, ..named("app") }
}

#[test]
fn an_entry_is_told_in_both_formats() {
    let (metrics, address) = server();
    metrics.entry(&entry(7, pod()));
    let open = counted(&metrics, address);
    let labels = r#"{namespace="prod",workload="web",container="app",stream="stdout""#;
    for line in [
        format!("tracer_written_bytes_total{labels}}} 1000"),
        format!("tracer_delivered_bytes_total{labels}}} 700"),
        format!(r#"tracer_lost_bytes_total{labels},rule="unread"}} 300"#),
        r#"tracer_findings_total{namespace="prod",workload="web",container="app",rule="unread",severity="loss"} 1"#.into(),
        r#"tracer_commands_total{namespace="prod",workload="web",container="app",result="succeeded"} 1"#.into(),
        r#"tracer_recorder_losses_total{reason="ring_full"} 0"#.into(),
        r#"tracer_build_info{version="1.2.3"} 1"#.into(),
        "# UNIT tracer_written_bytes bytes".into(),
    ] {
        assert!(open.lines().any(|found| found == line), "{line}\n{open}");
    }
    assert!(open.contains("content-type: application/openmetrics-text; version=1.0.0"));
    assert!(open.ends_with("\n# EOF\n") && open.contains("\nprocess_resident_memory_bytes "));
    let older = scrape(address, "");
    assert!(older.contains("content-type: text/plain; version=0.0.4"), "{older}");
    assert!(older.contains("\n# TYPE tracer_written_bytes_total counter\n"), "{older}");
    assert!(!older.contains("# EOF") && !older.contains("# UNIT"), "{older}");
}

#[test]
fn names_beyond_the_limit_are_summed_up_and_nothing_is_lost() {
    let (metrics, address) = server();
    for pid in 0..5_000 {
        metrics.entry(&entry(pid, named(&format!("evil\"\\\n{pid}-{}", "x".repeat(300)))));
    }
    let text = counted(&metrics, address);
    assert_eq!(sum(&text, "tracer_written_bytes_total", ""), 5_000_000);
    assert_eq!(sum(&text, "tracer_lost_bytes_total", ""), 1_500_000);
    assert_eq!(sum(&text, "tracer_findings_total", ""), 5_000);
    let most = places::MOST_PLACES;
    assert_eq!(series(&text, "tracer_written_bytes_total"), most + 1);
    let others = u64::try_from(5_000 - most).unwrap();
    assert_eq!(sum(&text, "tracer_commands_total", r#"workload="other""#), others);
    assert_eq!(sum(&text, "tracer_folded_commands_total", ""), others);
    assert_eq!(sum(&text, "tracer_metrics_dropped_total", ""), 0);
    assert!(text.contains(r#"container="evil\"\\?0-xxx"#), "{text}");
    let labels = text.lines().filter(|line| line.starts_with("tracer_"));
    assert!(labels.clone().all(|line| line.len() < 500) && labels.count() < 10 * most + 100);
}

/// Findings have so many labels that places alone do not keep them few.
#[test]
fn no_metric_has_more_series_than_the_limit() {
    let (metrics, address) = server();
    for pid in 0..2_500 {
        let mut entry = entry(pid, named(&format!("c{}", pid % 100)));
        entry.findings[0].rule = format!("rule{}", pid % 25 + pid / 100);
        metrics.entry(&entry);
    }
    let text = counted(&metrics, address);
    let found = series(&text, "tracer_findings_total");
    assert!((table::MOST_SERIES..table::MOST_SERIES + 60).contains(&found), "{found}");
    assert_eq!(sum(&text, "tracer_findings_total", ""), 2_500);
}

#[test]
fn clients_that_are_slow_keep_no_other_from_its_answer() {
    let (metrics, address) = server();
    let slow: Vec<TcpStream> = (0..40)
        .map(|number| {
            let mut client = TcpStream::connect(address).unwrap();
            let part = if number % 2 == 0 { "GET /met" } else { "GET /metrics HTTP/1.1\r\nX: " };
            client.write_all(part.as_bytes()).unwrap();
            client
        })
        .collect();
    let begin = Instant::now();
    for pid in 0..100 {
        metrics.entry(&entry(pid, pod()));
        assert!(scrape(address, OPEN).ends_with("# EOF\n"));
    }
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    drop(slow);
}

#[test]
fn what_is_no_question_for_metrics_is_refused() {
    let (_metrics, address) = server();
    let status =
        |request: &str| ask(address, request).lines().next().unwrap_or_default().to_owned();
    for (request, expected) in [
        ("GET / HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 200 OK"),
        ("GET /other HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 404 Not Found"),
        (
            "POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 405 Method Not Allowed",
        ),
        ("nonsense\r\n\r\n", "HTTP/1.1 400 Bad Request"),
    ] {
        assert_eq!(status(request), expected, "{request}");
    }
    let long = format!("GET /metrics HTTP/1.1\r\nX: {}\r\n\r\n", "y".repeat(100_000));
    let mut client = TcpStream::connect(address).unwrap();
    let _ = client.write_all(long.as_bytes());
    let mut answer = Vec::new();
    let _ = client.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP/1.1 200"));
    let head = ask(address, "HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 200 OK") && !head.contains("tracer_"), "{head}");
}

#[test]
fn a_unix_socket_answers_and_is_removed_at_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metrics.sock");
    let listening = Listening::at(&Address::Unix(path.clone())).unwrap();
    let metrics = Metrics::start(listening, about(), &started).unwrap();
    let ask = |path: &Path| {
        let mut client = UnixStream::connect(path).unwrap();
        client.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        answer
    };
    assert!(ask(&path).contains("\ntracer_build_info{"));
    drop(metrics);
    assert!(!path.exists(), "a process may end before its thread does");
}

/// The thread takes nothing at first.
#[test]
fn what_comes_too_fast_is_dropped_and_counted() {
    let listening = Listening::at(&"127.0.0.1:0".parse().unwrap()).unwrap();
    let Address::Tcp(address) = listening.address().clone() else { panic!() };
    let (sender, works) = mpsc::channel::<Work>();
    let later =
        |_: &'static str, work: Work| sender.send(work).map_err(|_| io::ErrorKind::Other.into());
    let metrics = Metrics::start(listening, about(), &later).unwrap();
    let begin = Instant::now();
    let more = 1_000;
    for pid in 0..WAITING + more {
        metrics.entry(&entry(u32::try_from(pid).unwrap(), pod()));
    }
    assert!(begin.elapsed() < Duration::from_secs(5));
    started("metrics", works.recv().unwrap()).unwrap();
    let text = counted(&metrics, address);
    assert_eq!(sum(&text, "tracer_metrics_dropped_total", ""), more as u64);
    assert_eq!(sum(&text, "tracer_written_bytes_total", ""), WAITING as u64 * 1_000);
}

#[test]
fn the_state_of_the_recorder_is_told() {
    let (metrics, address) = server();
    let blocked =
        |seconds| Blocked { place: pod(), writers: 2, longest: Duration::from_secs(seconds) };
    let status =
        |blocked| Status { attached_us: Some(1_500_000), running: 3, blocked, ..Status::default() };
    metrics.status(&status(vec![blocked(20), blocked(400)]));
    let text = counted(&metrics, address);
    let labels = r#"{namespace="prod",workload="web",container="app"}"#;
    for line in [
        "tracer_recording 1".to_owned(),
        "tracer_recording_start_timestamp_seconds 1.5".into(),
        "tracer_processes 3".into(),
        format!("tracer_blocked_writers{labels} 4"),
        format!("tracer_blocked_seconds{labels} 400.0"),
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    metrics.status(&status(Vec::new()));
    let text = counted(&metrics, address);
    assert!(!text.contains("tracer_blocked_writers{"), "{text}");
}

/// The table of the book: name, type, labels and meaning of each metric, in the order in which they are told.
#[test]
fn the_book_has_every_metric() {
    let (metrics, address) = server();
    let mut of_all = entry(7, pod());
    let fate = Fate { delivered: 1, lost: 2, discarded: 3, unknown: 4, refused: 5 };
    (of_all.streams[0].fate, of_all.confidence) = (Some(fate), "unsure".into());
    metrics.entry(&of_all);
    metrics.gap(&Gap { reason: "ring_full".into(), ..Gap::default() });
    let blocked = vec![Blocked { place: pod(), writers: 1, longest: Duration::from_secs(9) }];
    let missed = std::collections::BTreeMap::from([("disk_full", 0)]);
    let history = tracer_history::Stand { missed, ..Default::default() };
    metrics.status(&Status { blocked, history, ..Status::default() });
    drop(counted(&metrics, address));
    let text = scrape(address, "");
    let row = |line: &str| {
        let (name, help) = line.strip_prefix("# HELP ")?.split_once(' ')?;
        let kind = text.lines().find_map(|line| line.strip_prefix(&format!("# TYPE {name} ")))?;
        let sample = text.lines().find(|line| line.starts_with(&format!("{name}{{")));
        let labels = sample.and_then(|line| line.split_once('{')?.1.split_once('}')).map(|it| it.0);
        let labels = labels.into_iter().flat_map(|labels| labels.split(','));
        let labels: Vec<&str> = labels.filter_map(|label| Some(label.split_once('=')?.0)).collect();
        Some(format!(
            "| `{name}` | {kind} | {} | {} |",
            labels.join(", "),
            help.trim_end_matches('.')
        ))
    };
    let table: Vec<String> = text.lines().filter_map(row).collect();
    assert!(table.len() > 25, "{table:#?}");
    let missing: Vec<&String> = table.iter().filter(|row| !PAGE.contains(row.as_str())).collect();
    assert!(missing.is_empty(), "docs/src/prometheus.md must have these rows: {missing:#?}");
    let rows = PAGE
        .lines()
        .filter(|line| line.starts_with("| `tracer_") || line.starts_with("| `process_"));
    assert_eq!(rows.count(), table.len(), "docs/src/prometheus.md has rows of no metric");
}

#[test]
#[ignore = "a measurement: run it alone, in a release build"]
fn what_an_entry_and_a_scrape_cost() {
    let (metrics, address) = server();
    let number = 4_000;
    let entries: Vec<Entry> =
        (0..number).map(|pid| entry(pid, named(&format!("c{}", pid % 300)))).collect();
    let begin = Instant::now();
    entries.iter().for_each(|entry| metrics.entry(entry));
    let each = begin.elapsed() / number;
    let text = counted(&metrics, address);
    let begin = Instant::now();
    (0..100).for_each(|_| drop(scrape(address, OPEN)));
    let scrapes = begin.elapsed() / 100;
    let lines = text.lines().filter(|line| !line.starts_with('#')).count();
    eprintln!(
        "{each:?} for an entry; {scrapes:?} for a scrape of {lines} series, {} B",
        text.len()
    );
}
