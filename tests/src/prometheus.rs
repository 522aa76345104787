//! Debian's Prometheus: scrapes what a test starts, and answers PromQL.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::deadline::{DEADLINE, OwnedChild, wait_until};

/// The rules that tracer ships.
const RULES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/prometheus/tracer.rules.yml");

/// A running Prometheus.
#[derive(Debug)]
pub struct Prometheus {
    _child: OwnedChild,
    address: SocketAddr,
}

/// An address of this machine at which nothing listens.
pub fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// The body of an answer to `GET`, with further header fields.
pub fn get(address: SocketAddr, path: &str, fields: &str) -> Result<String> {
    let mut client = TcpStream::connect(address)?;
    client.set_read_timeout(Some(*DEADLINE))?;
    client.write_all(format!("GET {path} HTTP/1.0\r\nHost: x\r\n{fields}\r\n").as_bytes())?;
    let mut answer = String::new();
    client.read_to_string(&mut answer)?;
    let (_, body) = answer.split_once("\r\n\r\n").with_context(|| format!("no body: {answer}"))?;
    Ok(body.to_owned())
}

impl Prometheus {
    /// Starts it in a folder; it scrapes the job `tracer` at this address each second, and looks at the rules that tracer
    /// ships.
    pub fn start(folder: &Path, target: SocketAddr) -> Result<Self> {
        let config = folder.join("prometheus.yml");
        fs::write(
            &config,
            format!(
                "global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}}\nrule_files: [{RULES}]\nscrape_configs:\n  - job_name: tracer\n    static_configs: [{{targets: [\"{target}\"]}}]\n"
            ),
        )?;
        let address = free_address()?;
        let mut command = Command::new("prometheus");
        command
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("tsdb").display()))
            .arg(format!("--web.listen-address={address}"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = OwnedChild::spawn(&mut command, "prometheus")?;
        let prometheus = Self { _child: child, address };
        wait_until("Prometheus", || {
            let answer = get(address, "/-/ready", "").unwrap_or_default();
            Ok(answer.contains("is Ready").then_some(()))
        })?;
        wait_until("the first scrape", || {
            Ok((prometheus.number("up")? == Some(1.0)).then_some(()))
        })?;
        Ok(prometheus)
    }

    /// The answer to a question: labels and value of each series.
    pub fn ask(&self, question: &str) -> Result<Vec<(Value, f64)>> {
        let encoded = question.bytes().map(|byte| format!("%{byte:02x}")).collect::<String>();
        let answer = get(self.address, &format!("/api/v1/query?query={encoded}"), "")?;
        let answer: Value = serde_json::from_str(&answer).with_context(|| answer.clone())?;
        ensure!(answer["status"] == "success", "{question}: {answer:#}");
        let result = answer["data"]["result"].as_array().context("no result")?;
        let series = result.iter().map(|series| {
            let value = series["value"][1].as_str().context("no value")?;
            Ok((series["metric"].clone(), value.parse()?))
        });
        series.collect()
    }

    /// The one number that is the answer; `None` if there is no series.
    pub fn number(&self, question: &str) -> Result<Option<f64>> {
        let answer = self.ask(question)?;
        ensure!(answer.len() <= 1, "{question}: {answer:?}");
        Ok(answer.first().map(|(_, value)| *value))
    }

    /// Waits until the answer is this number.
    pub fn wait_for(&self, question: &str, expected: f64) -> Result<()> {
        let mut latest = None;
        let waited = wait_until(question, || {
            std::thread::sleep(Duration::from_millis(200));
            latest = self.number(question)?;
            Ok((latest == Some(expected)).then_some(()))
        });
        waited.with_context(|| format!("{question} is {latest:?}, not {expected}"))
    }
}
