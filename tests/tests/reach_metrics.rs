//! `tracer daemon --metrics`: a real Prometheus scrapes it, and PromQL answers what was planted.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;
use tracer_tests::{
    cgroup::ScratchCgroup,
    deadline::{OwnedChild, patient, wait_until},
    prometheus::{Prometheus, free_address, get},
    reader::Reader,
    recorder::{Recorder, start_in},
    refusal,
    tracer::binary,
};

/// A recorder of one cgroup, with metrics.
struct Scraped {
    folder: TempDir,
    recorder: Recorder,
    address: SocketAddr,
    prometheus: Prometheus,
}

impl Scraped {
    fn start(cgroup: &str) -> Result<Self> {
        let (folder, address) = (TempDir::new()?, free_address()?);
        let at = address.to_string();
        let history = folder.path().join("history");
        let recorder = Recorder::start(&history, &["--cgroup", cgroup, "--metrics", &at])?;
        let prometheus = Prometheus::start(folder.path(), address)?;
        Ok(Self { folder, recorder, address, prometheus })
    }

    fn stop(self) -> Result<()> {
        // The daemon prints where its metrics are before it records, and nothing after.
        self.recorder.stop()
    }
}

/// Runs a command in a cgroup and reads all of its stdout, or the first bytes of it.
fn run(cgroup: &ScratchCgroup, argv: &[&str], first: Option<usize>) -> Result<()> {
    let mut child = start_in(cgroup, argv)?;
    let mut stdout = child.take_stdout()?;
    match first {
        Some(first) => stdout.read_exact(&mut vec![0; first])?,
        None => stdout.read_to_end(&mut Vec::new()).map(drop)?,
    }
    child.wait()?;
    Ok(())
}

fn deploy(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/prometheus").join(file)
}

/// Bytes that `seq 1 NUMBER` writes for the numbers used here.
const SEQ_1000: f64 = 3_893.0;
const SEQ_100000: f64 = 588_895.0;

/// The looks at threads are five seconds apart; a hang has an entry after 15 s, and is counted so far.
#[test]
#[ignore = "needs root"]
fn prometheus_is_told_exactly_what_was_planted() -> Result<()> {
    let cgroup = ScratchCgroup::create("tracer-metrics")?;
    let scraped = Scraped::start(cgroup.name()?)?;
    let ask = &scraped.prometheus;
    let mut stuck = start_in(&cgroup, &["seq", "1", "100000"])?;
    let mut stuck_reader = stuck.take_stdout()?;
    run(&cgroup, &["seq", "1", "1000"], None)?;
    run(&cgroup, &["head", "-c", "3000", "/dev/zero"], Some(1_000))?;
    run(&cgroup, &["sh", "-c", "exec head -c 700 /dev/zero >/dev/null"], None)?;
    run(&cgroup, &["sh", "-c", "exec head -c 50 /dev/zero >/dev/full"], None)?;
    ask.wait_for("sum(tracer_commands_total)", 4.0)?;
    ask.wait_for("tracer_blocked_writers", 1.0)?;
    for (question, expected) in [
        ("sum(tracer_written_bytes_total{stream=\"stdout\"})", SEQ_1000 + 3_700.0),
        ("sum(tracer_delivered_bytes_total)", SEQ_1000 + 1_000.0),
        // The message about the full disk is not read.
        (
            "sum(tracer_written_bytes_total - ignoring(rule) tracer_lost_bytes_total)",
            SEQ_1000 + 1_700.0,
        ),
        ("sum(tracer_lost_bytes_total{rule=\"unread\",stream=\"stdout\"})", 2_000.0),
        ("sum(tracer_discarded_bytes_total)", 700.0),
        ("sum(tracer_refused_bytes_total)", 50.0),
        ("sum(tracer_unknown_bytes_total) or vector(0)", 0.0),
        ("tracer_commands_total{result=\"failed\"}", 1.0),
        ("tracer_findings_total{rule=\"unread\",severity=\"loss\"}", 2.0),
        ("tracer_recording", 1.0),
        ("tracer_processes", 1.0),
        ("sum(tracer_recorder_losses_total)", 0.0),
    ] {
        let found = ask.number(question)?;
        ensure!(found == Some(expected), "{question} is {found:?}, not {expected}");
    }
    // While it hangs, what it has written counts, and nothing of it is delivered or lost.
    ask.wait_for("tracer_findings_total{rule=\"stuck\",severity=\"warning\"}", 1.0)?;
    let longest = ask.number("tracer_blocked_seconds")?.context("no blocked writer")?;
    // It is told after fifteen seconds. This number is a second old at most, and may be that of the look before, five
    // seconds ago.
    ensure!((8.5..60.0).contains(&longest), "{longest}");
    let so_far = ask
        .number("sum(tracer_written_bytes_total{stream=\"stdout\"})")?
        .context("nothing written")?;
    ensure!(so_far > SEQ_1000 + 3_700.0 + 50_000.0, "{so_far}");
    ask.wait_for("sum(tracer_delivered_bytes_total)", SEQ_1000 + 1_000.0)?;
    stuck_reader.read_to_end(&mut Vec::new())?;
    stuck.wait()?;
    // The entries of the hang and of the end are of one command: nothing counts twice.
    ask.wait_for("sum(tracer_commands_total)", 5.0)?;
    let all = SEQ_1000 + 3_700.0 + SEQ_100000;
    ask.wait_for("sum(tracer_written_bytes_total{stream=\"stdout\"})", all)?;
    ask.wait_for("sum(tracer_delivered_bytes_total)", all - 2_700.0)?;
    ask.wait_for("sum(tracer_lost_bytes_total{stream=\"stdout\"})", 2_000.0)?;
    ask.wait_for("count(tracer_blocked_writers) or vector(0)", 0.0)?;
    ask.wait_for("tracer_history_entries_total", 6.0)?;
    check_text(&scraped)?;
    for question in questions_of_dashboard()? {
        ask.ask(&question)?;
    }
    ask.wait_for("count({__name__=\"ALERTS\",alertname=\"TracerOutputLost\"})", 1.0)?;
    scraped.stop()
}

/// What the dashboard asks, with what Grafana puts in.
fn questions_of_dashboard() -> Result<Vec<String>> {
    let dashboard: Value =
        serde_json::from_str(&fs::read_to_string(deploy("../grafana/tracer.json"))?)?;
    let panels = dashboard["panels"].as_array().context("no panels")?;
    let targets = panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten();
    let questions: Option<Vec<String>> = targets
        .map(|target| {
            let mut question = target["expr"].as_str()?.to_owned();
            for (variable, value) in [
                ("$__rate_interval", "1m"),
                ("$__range", "10m"),
                ("$instance", ".*"),
                ("$namespace", ".*"),
                ("$workload", ".*"),
            ] {
                question = question.replace(variable, value);
            }
            Some(question)
        })
        .collect();
    questions.filter(|questions| questions.len() > 10).context("no questions")
}

/// The text passes Prometheus' own checks, and tells nothing that is private or has no bound.
fn check_text(scraped: &Scraped) -> Result<()> {
    let text = get(scraped.address, "/metrics", "")?;
    let mut promtool =
        Command::new("promtool").args(["check", "metrics"]).stdin(Stdio::piped()).spawn()?;
    promtool.stdin.take().context("no stdin")?.write_all(text.as_bytes())?;
    ensure!(promtool.wait()?.success(), "promtool does not like it: {text}");
    for private in ["/dev/zero", "head", "pipe:", "cgroup.procs", "pid"] {
        let series = text.lines().filter(|line| !line.starts_with('#'));
        let labels: Vec<&str> = series.filter(|line| line.contains(private)).collect();
        ensure!(labels.is_empty(), "{private}: {labels:?}");
    }
    let size = fs::read_dir(scraped.folder.path().join("history"))?.count();
    ensure!(size > 0, "no history");
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn promtool_accepts_the_rules_and_their_tests() -> Result<()> {
    for (what, file) in [("check", "tracer.rules.yml"), ("test", "tracer.rules.test.yml")] {
        let output = Command::new("promtool").args([what, "rules"]).arg(deploy(file)).output()?;
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(output.status.success() && told.contains("SUCCESS"), "{output:?}");
    }
    // What the rules and the dashboard ask for exists: the table of the book is compared with what is told.
    let table = fs::read_to_string(deploy("../../docs/src/prometheus.md"))?;
    let asked =
        [questions_of_dashboard()?.join(" "), fs::read_to_string(deploy("tracer.rules.yml"))?];
    let is_part = |char: char| char.is_ascii_alphanumeric() || ['_', ':'].contains(&char);
    let asked = asked.join(" ");
    let names = asked.split(|char| !is_part(char)).filter(|word| word.starts_with("tracer_"));
    let unknown: Vec<&str> =
        names.filter(|name| !table.contains(&format!("| `{name}` |"))).collect();
    ensure!(unknown.is_empty(), "no such metrics: {unknown:?}");
    Ok(())
}

/// How many units run a command, each with a name of its own.
const UNITS: u32 = 2_000;
/// How many of them run at a time.
const AT_ONCE: u32 = 50;
/// How long all of them may take.
const MANY_TAKE: Duration = Duration::from_secs(300);

/// Each is a cgroup below the recorded one, as systemd makes them, with a name that is not harmless, and has a pipe of its
/// own.
#[test]
#[ignore = "needs root"]
fn many_names_and_slow_clients_change_no_sum() -> Result<()> {
    let cgroup = ScratchCgroup::of_slice("tracernames")?;
    let scraped = Scraped::start(cgroup.name()?)?;
    let slow: Vec<TcpStream> = (0..30)
        .map(|_| {
            let mut client = TcpStream::connect(scraped.address)?;
            client.write_all(b"GET /metrics HTTP/1.1\r\nX-Slow: ")?;
            Ok(client)
        })
        .collect::<Result<_>>()?;
    let each = "echo $$ >\"$0/cgroup.procs\"; echo 12345678; exec sleep 0.2";
    let all = format!(
        "i=0; while [ $i -lt {UNITS} ]; do d=\"$0/u\\\"\\\\{{}}$i.service\"; mkdir \"$d\"; sh -c '{each}' \"$d\" | cat & \
         i=$((i + 1)); [ $((i % {AT_ONCE})) -ne 0 ] || wait; done; wait; rmdir \"$0\"/*/"
    );
    let mut shell = Command::new("sh");
    shell.args(["-c", &all]).arg(cgroup.path());
    shell.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = OwnedChild::spawn(&mut shell, "the units")?;
    let reader = Reader::of_stdout(&mut child)?;
    ensure!(child.wait_for(patient(MANY_TAKE))?.success(), "the commands did not run");
    ensure!(reader.finish()?.bytes.len() == 9 * UNITS as usize);
    let ask = &scraped.prometheus;
    let begin = Instant::now();
    let expected = f64::from(UNITS);
    loop {
        let counted = ask.number("sum(tracer_commands_total)")?;
        if counted == Some(expected) {
            break;
        }
        ensure!(begin.elapsed() < patient(MANY_TAKE), "{counted:?} commands are counted");
        sleep(Duration::from_millis(500));
    }
    ask.wait_for("sum(tracer_written_bytes_total)", 9.0 * expected)?;
    ask.wait_for("sum(tracer_delivered_bytes_total)", 9.0 * expected)?;
    ask.wait_for("tracer_metrics_dropped_total", 0.0)?;
    ask.wait_for("count(count by (workload) (tracer_commands_total))", 251.0)?;
    // A process that ends before tracer has looked where it runs counts under `host`.
    let folded = ask.number("tracer_folded_commands_total")?.context("nothing is folded")?;
    ensure!(folded > 20.0, "{folded}");
    ask.wait_for("sum(tracer_commands_total{workload=\"other\"})", folded)?;
    let series = ask.number("count({job=\"tracer\"})")?.context("no series")?;
    ensure!(series < 2_500.0, "{series} series");
    // No scrape failed, although 30 clients never ended their request.
    ask.wait_for("min_over_time(up[10m])", 1.0)?;
    drop(slow);
    scraped.stop()
}

#[test]
#[ignore = "needs root"]
fn an_address_in_use_is_told_before_anything_is_recorded() -> Result<()> {
    let folder = TempDir::new()?;
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?.to_string();
    let history = folder.path().join("history");
    let daemon = |at: &str| -> Result<_> {
        let mut command = Command::new(binary()?);
        command.args(["daemon", "--cgroup", "tracer-none", "--metrics", at, "--history"]);
        refusal::run_command(command.arg(&history))
    };
    let refused = daemon(&address)?;
    refusal::check(&refused, refusal::ENVIRONMENT, &["another program listens", &address])?;
    let file = folder.path().join("file");
    fs::write(&file, "")?;
    let refused = daemon(&format!("unix:{}", file.display()))?;
    refusal::check(&refused, refusal::ENVIRONMENT, &["that is no socket"])?;
    let refused = daemon("example.org:80")?;
    refusal::check(&refused, refusal::USAGE, &["--metrics", "127.0.0.1:9753"])?;
    ensure!(!history.exists(), "something was recorded");
    Ok(())
}

/// A killed daemon leaves its socket, which the next one replaces. Others than root cannot connect.
#[test]
#[ignore = "needs root"]
fn a_unix_socket_is_for_root_and_survives_a_kill() -> Result<()> {
    use std::os::unix::{fs::MetadataExt as _, net::UnixStream};
    let (folder, cgroup) = (TempDir::new()?, ScratchCgroup::create("tracer-socket")?);
    let path = folder.path().join("metrics.sock");
    let at = format!("unix:{}", path.display());
    let start = || Recorder::start(folder.path(), &["--cgroup", cgroup.name()?, "--metrics", &at]);
    start()?.kill()?;
    ensure!(path.exists(), "a killed daemon cannot remove its socket");
    let recorder = start()?;
    ensure!(fs::metadata(&path)?.mode() & 0o777 == 0o600, "the mode is not 0600");
    wait_until("the state of the recorder", || {
        let mut client = UnixStream::connect(&path)?;
        client.write_all(b"GET /metrics HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        client.read_to_string(&mut answer)?;
        Ok(answer.contains("\ntracer_recording 1\n").then_some(()))
    })?;
    recorder.stop()?;
    ensure!(!path.exists(), "the socket is still there");
    Ok(())
}
