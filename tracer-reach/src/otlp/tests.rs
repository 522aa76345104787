//! The thread against a collector of the test: a real listener whose answers are given.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::mpsc::{Receiver, channel},
    thread,
    time::Instant,
};

use opentelemetry_proto::tonic::{
    collector::{
        logs::v1::{ExportLogsPartialSuccess, ExportLogsServiceRequest, ExportLogsServiceResponse},
        metrics::v1::ExportMetricsServiceRequest,
    },
    logs::v1::LogRecord,
    metrics::v1::Metric,
};
use prost::Message as _;
use tracer_history::{Fate, Stream};

use super::*;

/// A request that came: its path and its body.
type Request = (String, Vec<u8>);
/// An answer: the status with further headers, and the body.
type Answer = (&'static str, Vec<u8>);

const OK: Answer = ("200 OK", Vec::new());

/// Reads one request of a connection; `None` at its end.
fn request(stream: &mut BufReader<TcpStream>) -> Option<Request> {
    let (mut first, mut length) = (String::new(), 0);
    stream.read_line(&mut first).ok().filter(|read| *read > 0)?;
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).ok()?;
        let line = line.trim().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if let Some(value) = line.strip_prefix("content-type:") {
            assert_eq!(value.trim(), "application/x-protobuf");
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some((first.split(' ').nth(1)?.to_owned(), body))
}

/// Serves requests until the test ends. `answer` gets the path, and how many of that path came before.
fn serve(
    listener: TcpListener,
    answer: impl Fn(&str, usize) -> Answer + Send + Clone + 'static,
) -> Receiver<Request> {
    let (put, requests) = channel();
    thread::spawn(move || {
        let mut seen: Vec<String> = Vec::new();
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            if let Some(request) = request(&mut stream) {
                let before = seen.iter().filter(|path| **path == request.0).count();
                let (status, body) = answer(&request.0, before);
                seen.push(request.0.clone());
                let head = format!(
                    "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                    body.len()
                );
                let _ = stream.get_mut().write_all(&[head.as_bytes(), &body].concat());
                if put.send(request).is_err() {
                    return;
                }
            }
        }
    });
    requests
}

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

const FAST: Pace = Pace {
    linger: Duration::from_millis(50),
    request: Duration::from_millis(500),
    pauses: (Duration::from_millis(20), Duration::from_millis(100)),
    give_up: Duration::from_secs(60),
    metrics: (Duration::from_millis(50), Duration::from_secs(60)),
    warnings: Duration::from_secs(60),
};

fn start(address: SocketAddr, pace: Pace) -> Otlp {
    let endpoint = format!("http://{address}").parse().unwrap();
    Otlp::start_with(&endpoint, pace, &|name, work| {
        thread::Builder::new().name(name.into()).spawn(work).map(drop)
    })
    .unwrap()
}

fn finding(pid: u32, lost: u64) -> Entry {
    let fate = Some(Fate { lost, ..Fate::default() });
    Entry {
        pid,
        severity: "loss".into(),
        rule: "unread".into(),
        has_loss: true,
        sentence: format!("{lost} B are lost"),
        streams: vec![Stream { fd: 1, fate, bytes: lost, ..Stream::default() }],
        ..Entry::default()
    }
}

fn logs((path, body): &Request) -> Vec<LogRecord> {
    assert_eq!(path, "/v1/logs");
    let request = ExportLogsServiceRequest::decode(&body[..]).unwrap();
    let scopes = request.resource_logs.into_iter().flat_map(|it| it.scope_logs);
    scopes.flat_map(|scope| scope.log_records).collect()
}

fn metrics((path, body): &Request) -> Vec<Metric> {
    assert_eq!(path, "/v1/metrics");
    let request = ExportMetricsServiceRequest::decode(&body[..]).unwrap();
    let scopes = request.resource_metrics.into_iter().flat_map(|it| it.scope_metrics);
    scopes.flat_map(|scope| scope.metrics).collect()
}

/// The next request with this path.
fn next(requests: &Receiver<Request>, path: &str) -> Request {
    loop {
        let request = requests.recv_timeout(Duration::from_secs(20)).expect("no request came");
        if request.0 == path {
            return request;
        }
    }
}

#[test]
fn findings_arrive_in_one_batch_and_lost_bytes_as_a_sum() {
    let (listener, address) = listener();
    let requests = serve(listener, |_, _| OK);
    let otlp = start(address, FAST);
    (0..100).for_each(|pid| otlp.entry(&finding(pid, 7)));
    otlp.entry(&Entry { has_loss: false, severity: "info".into(), ..finding(1_000, 0) });
    otlp.gap(&Gap { reason: "ring_full".into(), ..Gap::default() }, "missed");
    // They come in any order, and the first sums may be older than the entries.
    let (mut records, mut sums) = (Vec::new(), Vec::new());
    while records.is_empty() || sums.len() < 2 {
        let request = requests.recv_timeout(Duration::from_secs(20)).expect("no request came");
        if request.0 == "/v1/logs" {
            records = logs(&request);
        } else {
            sums = metrics(&request);
        }
    }
    assert_eq!((records.len(), records[100].event_name.as_str()), (101, "tracer.gap"));
    assert!(format!("{sums:?}").contains("AsInt(700)"), "{sums:?}");
    assert_eq!(otlp.dropped(), Dropped::default());
    otlp.close(Duration::from_secs(5));
}

#[test]
fn what_waits_is_sent_at_the_end() {
    let (listener, address) = listener();
    let requests = serve(listener, |_, _| OK);
    let otlp = start(
        address,
        Pace { linger: Duration::from_secs(60), request: Duration::from_secs(10), ..FAST },
    );
    (0..1_200).for_each(|pid| otlp.entry(&finding(pid, 1)));
    otlp.close(Duration::from_secs(20));
    let sent: usize = (0..3).map(|_| logs(&next(&requests, "/v1/logs")).len()).sum();
    assert_eq!(sent, 1_200);
}

#[test]
fn a_batch_is_sent_again_after_a_temporary_refusal_and_after_the_pause_that_was_asked_for() {
    let (listener, address) = listener();
    let requests = serve(listener, |path, before| match (path, before) {
        ("/v1/logs", 0) => ("503 Service Unavailable", Vec::new()),
        ("/v1/logs", 1) => ("429 Too Many Requests\r\nretry-after: 1", Vec::new()),
        _ => OK,
    });
    let otlp = start(address, FAST);
    otlp.entry(&finding(1, 7));
    let first = next(&requests, "/v1/logs");
    let second = next(&requests, "/v1/logs");
    let asked = Instant::now();
    let third = next(&requests, "/v1/logs");
    assert!(asked.elapsed() > Duration::from_millis(900), "{:?}", asked.elapsed());
    assert_eq!((&first, &second), (&second, &third));
    assert_eq!(otlp.dropped(), Dropped::default());
    otlp.close(Duration::from_secs(5));
}

#[test]
fn what_is_refused_is_counted_and_not_sent_again() {
    let (listener, address) = listener();
    let partial = ExportLogsPartialSuccess { rejected_log_records: 2, error_message: "no".into() };
    let partial = ExportLogsServiceResponse { partial_success: Some(partial) }.encode_to_vec();
    let requests = serve(listener, move |path, before| match (path, before) {
        ("/v1/logs", 0) => ("400 Bad Request", b"{}".to_vec()),
        ("/v1/logs", 1) => ("200 OK", partial.clone()),
        ("/v1/logs", 2) => ("302 Found\r\nlocation: http://127.0.0.1:1/", Vec::new()),
        ("/v1/logs", _) => ("200 OK", b"no protobuf".to_vec()),
        _ => ("404 Not Found", Vec::new()),
    });
    let otlp = start(address, FAST);
    for (pid, refused) in [(1, 5), (2, 7), (3, 12), (4, 12)] {
        (0..5).for_each(|_| otlp.entry(&finding(pid, 1)));
        assert_eq!(logs(&next(&requests, "/v1/logs")).len(), 5);
        let until = Instant::now() + Duration::from_secs(10);
        while otlp.dropped().refused != refused && Instant::now() < until {
            thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(otlp.dropped(), Dropped { refused, ..Dropped::default() }, "{pid}");
    }
    otlp.close(Duration::from_secs(5));
}

#[test]
fn a_collector_that_comes_later_gets_all() {
    let (closed, address) = listener();
    drop(closed);
    let otlp = start(address, FAST);
    (0..10).for_each(|pid| otlp.entry(&finding(pid, 1)));
    thread::sleep(Duration::from_millis(300));
    let requests = serve(TcpListener::bind(address).unwrap(), |_, _| OK);
    assert_eq!(logs(&next(&requests, "/v1/logs")).len(), 10);
    assert_eq!(otlp.dropped(), Dropped::default());
    otlp.close(Duration::from_secs(5));
}

#[test]
fn a_batch_that_nobody_takes_is_given_up() {
    let (closed, address) = listener();
    drop(closed);
    let otlp = start(address, Pace { give_up: Duration::from_millis(200), ..FAST });
    (0..10).for_each(|pid| otlp.entry(&finding(pid, 1)));
    let until = Instant::now() + Duration::from_secs(10);
    while otlp.dropped().gave_up == 0 && Instant::now() < until {
        thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(otlp.dropped(), Dropped { gave_up: 10, ..Dropped::default() });
    otlp.close(Duration::from_secs(5));
}

/// No program accepts its connections or reads what it was sent: the kernel takes the first bytes.
#[test]
fn a_collector_that_never_answers_costs_drops_and_no_time() {
    let (_listener, address) = listener();
    let otlp = start(address, FAST);
    let began = Instant::now();
    (0..10_000).for_each(|pid| otlp.entry(&finding(pid, 1)));
    let took = began.elapsed();
    assert!(took < Duration::from_secs(20), "{took:?}");
    let dropped = otlp.dropped();
    assert_eq!((dropped.queue_full, dropped.refused), (10_000 - queue::MOST_RECORDS as u64, 0));
    let began = Instant::now();
    otlp.close(Duration::from_millis(300));
    assert!(began.elapsed() < Duration::from_millis(600), "{:?}", began.elapsed());
}
