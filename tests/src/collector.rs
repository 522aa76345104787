//! Collectors of OpenTelemetry: rotel, and the place to which it passes on what it got.

use std::{
    collections::BTreeMap,
    env,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
};

use anyhow::{Context as _, Result, ensure};
use flate2::read::GzDecoder;
use opentelemetry_proto::tonic::{
    collector::{logs::v1::ExportLogsServiceRequest, metrics::v1::ExportMetricsServiceRequest},
    common::v1::{AnyValue, KeyValue, any_value::Value},
    metrics::v1::{NumberDataPoint, metric::Data, number_data_point},
};
use prost::Message as _;
use tempfile::TempDir;

use crate::deadline::{OwnedChild, wait_until};

/// Environment variable with the path of `rotel-agent`, which `cargo xtask setup` installs.
pub const ROTEL_ENV: &str = "TRACER_TEST_ROTEL";

/// Attributes as text, by key.
pub type Attributes = BTreeMap<String, String>;

/// A log record that arrived.
#[derive(Clone, Debug)]
pub struct Record {
    /// Number of the severity.
    pub severity: i32,
    /// The text of its body.
    pub body: String,
    /// Name of the event.
    pub event: String,
    /// Its attributes, with those of the resource.
    pub attributes: Attributes,
}

/// What arrived.
#[derive(Debug, Default)]
struct Arrived {
    records: Vec<Record>,
    /// The latest value of each sum, by the name of the metric and its attributes.
    sums: BTreeMap<(String, Attributes), u64>,
}

/// Takes what a collector passes on.
#[derive(Clone, Debug)]
pub struct Sink {
    address: SocketAddr,
    arrived: Arc<Mutex<Arrived>>,
}

impl Sink {
    /// Listens on a free port. Its threads end with the test.
    pub fn start() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let sink = Self { address: listener.local_addr()?, arrived: Arc::default() };
        let of_thread = sink.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let sink = of_thread.clone();
                thread::spawn(move || sink.serve(stream));
            }
        });
        Ok(sink)
    }

    fn lock(&self) -> MutexGuard<'_, Arrived> {
        self.arrived.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The log records that arrived.
    pub fn records(&self) -> Vec<Record> {
        self.lock().records.clone()
    }

    /// Those about a process with this name.
    pub fn of(&self, name: &str) -> Vec<Record> {
        let is_of = |it: &Record| {
            it.attributes.get("process.executable.name").is_some_and(|found| found == name)
        };
        self.records().into_iter().filter(is_of).collect()
    }

    /// The latest values of a metric, by its attributes.
    pub fn sums(&self, name: &str) -> Vec<(Attributes, u64)> {
        let arrived = self.lock();
        let of = arrived.sums.iter().filter(|((metric, _), _)| metric == name);
        of.map(|((_, attributes), sum)| (attributes.clone(), *sum)).collect()
    }

    fn serve(&self, stream: TcpStream) {
        let mut stream = BufReader::new(stream);
        while let Some((path, body)) = request(&mut stream) {
            match path.as_str() {
                "/v1/logs" => self.take_logs(&body),
                "/v1/metrics" => self.take_metrics(&body),
                _ => {}
            }
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
            if stream.get_mut().write_all(answer).is_err() {
                return;
            }
        }
    }

    fn take_logs(&self, body: &[u8]) {
        let Ok(request) = ExportLogsServiceRequest::decode(body) else { return };
        for logs in request.resource_logs {
            let resource = logs.resource.map(|it| it.attributes).unwrap_or_default();
            for record in logs.scope_logs.into_iter().flat_map(|scope| scope.log_records) {
                let record = Record {
                    severity: record.severity_number,
                    body: shown(record.body.as_ref()),
                    event: record.event_name,
                    attributes: attributes(resource.iter().chain(&record.attributes)),
                };
                self.lock().records.push(record);
            }
        }
    }

    fn take_metrics(&self, body: &[u8]) {
        let Ok(request) = ExportMetricsServiceRequest::decode(body) else { return };
        let scopes = request.resource_metrics.into_iter().flat_map(|it| it.scope_metrics);
        for metric in scopes.flat_map(|scope| scope.metrics) {
            let Some(Data::Sum(sum)) = metric.data else { continue };
            for NumberDataPoint { attributes: of_point, value, .. } in sum.data_points {
                let Some(number_data_point::Value::AsInt(value)) = value else { continue };
                let key = (metric.name.clone(), attributes(&of_point));
                self.lock().sums.insert(key, u64::try_from(value).unwrap_or_default());
            }
        }
    }
}

fn attributes<'a>(all: impl IntoIterator<Item = &'a KeyValue>) -> Attributes {
    all.into_iter().map(|it| (it.key.clone(), shown(it.value.as_ref()))).collect()
}

fn shown(value: Option<&AnyValue>) -> String {
    match value.and_then(|any| any.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        Some(Value::BoolValue(flag)) => flag.to_string(),
        other => format!("{other:?}"),
    }
}

/// Reads one request of HTTP/1.1 with a length: its path and its body.
fn request(stream: &mut BufReader<TcpStream>) -> Option<(String, Vec<u8>)> {
    let (mut first, mut length, mut is_packed) = (String::new(), 0, false);
    stream.read_line(&mut first).ok().filter(|read| *read > 0)?;
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).ok()?;
        let line = line.trim().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        // rotel packs, also if it is told not to.
        is_packed |= line == "content-encoding: gzip";
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    if is_packed {
        let mut plain = Vec::new();
        GzDecoder::new(&body[..]).read_to_end(&mut plain).ok()?;
        body = plain;
    }
    Some((first.split(' ').nth(1)?.to_owned(), body))
}

/// A running rotel, which passes on what it gets. Dropping it kills it.
#[derive(Debug)]
pub struct Rotel {
    child: OwnedChild,
    address: SocketAddr,
    _folder: TempDir,
}

impl Rotel {
    /// Starts it on this address, and waits until it listens.
    pub fn start(address: SocketAddr, sink: &Sink) -> Result<Self> {
        let folder = TempDir::new()?;
        let mut command = Command::new(rotel()?);
        command.arg("start").args(["--exporter", "otlp", "--batch-timeout", "100ms"]);
        command.args(["--otlp-exporter-protocol", "http"]);
        command.arg("--otlp-exporter-endpoint").arg(format!("http://{}", sink.address));
        command.arg("--otlp-http-endpoint").arg(address.to_string());
        command.arg("--otlp-grpc-endpoint").arg(free_address()?.to_string());
        command.arg("--pid-file").arg(folder.path().join("pid"));
        command.arg("--log-file").arg(folder.path().join("log"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = OwnedChild::spawn(&mut command, "rotel")?;
        wait_until("rotel", || Ok(TcpStream::connect(address).ok()))?;
        Ok(Self { child, address, _folder: folder })
    }

    /// Its URL for OTLP over HTTP.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Kills it: what it has not passed on is lost.
    pub fn kill(mut self) -> Result<()> {
        self.child.signal(rustix::process::Signal::KILL)?;
        self.child.wait().map(drop)
    }
}

/// An address of this machine at which nothing listens.
pub fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

/// Where the program is.
fn rotel() -> Result<PathBuf> {
    let installed = "../target/xtask/rotel-0.0.1a15/rotel/rotel-agent";
    let path = env::var_os(ROTEL_ENV)
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join(installed), PathBuf::from);
    ensure!(path.is_file(), "no rotel at {}: run `cargo xtask setup --tests`", path.display());
    path.canonicalize().context("rotel")
}
