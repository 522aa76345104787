//! Reports in the form that runs produce.

pub(super) mod build;
mod commands;
pub(super) mod live;

use std::collections::BTreeMap;

use serde_json::Map;
use tracer_common::loss;
use tracer_core::{
    capture::{Keep, Reason, recovery::Doubt, summary::GapSum},
    report::{
        Captured, CapturedStream, Elsewhere, Endpoint, Exit, Fd, Holder, Object, Process,
        Recovered, RecoveredKind, Report, SCHEMA, Window,
    },
    session::{LossReason, Target},
    verdict::{Confidence, Finding, Rule, Severity},
};

/// `docker pull` in a container wrote to stdout and its manager read all of it.
pub(in crate::render) fn delivered() -> Report {
    let mut report = pid_report(
        "`docker pull nginx:1.27` (pid 71) wrote 2,048 B to stdout and nothing to stderr; manager \
         (60) read all of it.",
    );
    report.findings = vec![
        Finding {
            advice: Some(
                "Read what manager (60) did with these bytes: they left the kernel.".into(),
            ),
            message: report.verdict.clone(),
            ..finding(Rule::Delivered, Severity::Info, 71)
        },
        Finding {
            message: "`docker pull nginx:1.27` (pid 71) asked whether fd 1 is a terminal and was \
                      told no, so it may write less than it does on a screen."
                .into(),
            advice: Some("Give it a terminal, or look for an option like --progress=plain.".into()),
            ..finding(Rule::PutOff, Severity::Warning, 71)
        },
    ];
    report.processes = vec![
        Process { attached_late: true, ..process(60, 1, &["/opt/manager"], -5_400.0) },
        Process {
            ns_pid: 1,
            fds: vec![fd(1, "pipe:[88123]", 2048, 3, (12.0, 340.0))],
            stdio: stdio("pipe:[88123]", "pipe:[88124]"),
            stdio_at_end: Vec::new(),
            ..exited(process(71, 60, &["docker", "pull", "nginx:1.27"], 3.0), 0, 1_243.0)
        },
    ];
    report.objects = vec![
        Object {
            written: 2048,
            read: 2048,
            readers: vec![endpoint(60, "manager", 2048)],
            writers: vec![endpoint(71, "docker", 2048)],
            ..pipe("pipe:[88123]")
        },
        pipe("pipe:[88124]"),
    ];
    report
}

/// An option that `docker pull` does not know.
pub(super) fn stderr_only() -> Report {
    let mut report = pid_report(
        "`docker pull --progress=plain nginx:latest` (pid 71) wrote nothing to stdout and 122 B to \
         stderr, then ended with exit code 125; manager (60) read the 122 B.",
    );
    report.findings = vec![Finding {
        message: report.verdict.clone(),
        advice: Some("Read stderr: its message is there.".into()),
        fd: Some(2),
        ..finding(Rule::OtherStream, Severity::Warning, 71)
    }];
    let argv = ["docker", "pull", "--progress=plain", "nginx:latest"];
    report.processes = vec![Process {
        fds: vec![fd(2, "pipe:[88124]", 122, 2, (41.5, 41.8))],
        stdio: stdio("pipe:[88123]", "pipe:[88124]"),
        stdio_at_end: Vec::new(),
        ..exited(process(71, 60, &argv, 1.0), 125, 62.4)
    }];
    report.objects = vec![
        pipe("pipe:[88123]"),
        Object {
            written: 122,
            read: 122,
            readers: vec![endpoint(60, "manager", 122)],
            ..pipe("pipe:[88124]")
        },
    ];
    report
}

/// A program that started, was killed and never wrote.
pub(super) fn never_wrote() -> Report {
    let mut report = pid_report("`sleep 60` (pid 71) wrote nothing and was killed by SIGKILL.");
    report.findings = vec![Finding {
        message: report.verdict.clone(),
        ..finding(Rule::NeverWrote, Severity::Warning, 71)
    }];
    report.processes = vec![Process {
        stdio: stdio("/dev/null", "/var/log/sleep.log"),
        stdio_at_end: Vec::new(),
        exit: Some(Exit { code: None, signal: Some(9) }),
        end_ms: Some(2_741.0),
        ..process(71, 60, &["sleep", "60"], 0.4)
    }];
    report
}

/// A full pipe that was not read, and losses.
pub(super) fn unread() -> Report {
    let mut report = pid_report(
        "`backup --verbose` (pid 71) wrote 1,288,895 B to stdout, of which 65,536 B were never \
         read: manager (60) still holds the pipe but stopped reading.",
    );
    report.findings = vec![Finding {
        message: report.verdict.clone(),
        advice: Some("Look why manager (60) stopped reading.".into()),
        confidence: Confidence::Unsure,
        fd: Some(1),
        ..finding(Rule::Unread, Severity::Loss, 71)
    }];
    report.processes = vec![Process {
        fds: vec![
            Fd {
                errors: BTreeMap::from([("EAGAIN".to_owned(), 5), ("EPIPE".to_owned(), 2)]),
                refused_bytes: 40_960,
                short: 1,
                zero: 2,
                ..fd(1, "pipe:[88123]", 1_288_895, 312, (-20.0, 2_950.0))
            },
            fd(2, "/var/log/backup/2026-11-22/stderr-of-the-nightly-run.log", 77, 1, (5.0, 5.0)),
        ],
        elsewhere: Elsewhere { bytes: Some(4_096), writes: Some(1) },
        attached_late: true,
        ..process(71, 60, &["backup", "--verbose"], -120.0)
    }];
    report.objects = vec![Object {
        unread_before: Some(4_096),
        written: 1_288_895,
        read: 1_227_455,
        unread: Some(65_536),
        balanced: Some(false),
        writers: vec![endpoint(71, "backup", 1_288_000), endpoint(72, "gzip", 895)],
        readers: vec![endpoint(60, "manager", 1_227_000), endpoint(61, "tee", 455)],
        holders: vec![Holder { pid: 60, comm: "manager".into(), fd: 7, access: "read".into() }],
        ..pipe("pipe:[88123]")
    }];
    report.losses = BTreeMap::from([
        (loss::Reason::RingFull.into(), 3),
        (loss::Reason::LedgerFull.into(), 1),
        (LossReason::Other("never_hit".to_owned()), 0),
        (LossReason::Other("later_reason".to_owned()), 1),
    ]);
    report.lost_bytes = BTreeMap::from([(loss::Reason::LedgerFull.into(), 455)]);
    report
}

/// Shells that start programs, subshells, and a command that failed in silence.
pub(super) fn tree() -> Report {
    let mut report = pid_report("`make all` (pid 62) wrote 26 B to stdout; all of it was read.");
    report.target = Target {
        kind: "command".into(),
        name: "sh -c 'make all; false'".into(),
        pids: vec![61],
        doubt: None,
    };
    report.findings = vec![Finding {
        message: report.verdict.clone(),
        ..finding(Rule::Delivered, Severity::Info, 62)
    }];
    let shell = process(61, 60, &["sh", "-c", "make all; false"], 0.0);
    let make = process(62, 61, &["make", "all"], 10.0);
    let echo = Process { comm: "sh".into(), ..process(64, 62, &[], 30.0) };
    report.processes = vec![
        exited(shell, 1, 90.0),
        Process { fds: vec![fd(1, "pipe:[5]", 20, 1, (40.0, 40.0))], ..exited(make, 0, 80.0) },
        exited(process(63, 62, &["sh", "-c", "cc 'a b.c'"], 20.0), 0, 50.0),
        Process {
            fds: vec![fd(1, "pipe:[5]", 6, 1, (33.0, 33.0))],
            executed: false,
            ..exited(echo, 0, 34.0)
        },
        exited(process(65, 63, &["cc", "a b.c"], 21.0), 0, 49.0),
        exited(process(70, 61, &["false"], 85.0), 1, 86.0),
    ];
    for pid in 80..92 {
        let subshell = Process { executed: false, ..process(pid, 61, &["sh"], 60.0) };
        report.processes.push(exited(subshell, 0, 61.0));
    }
    report.objects = vec![Object {
        written: 26,
        read: 26,
        readers: vec![endpoint(60, "manager", 26)],
        ..pipe("pipe:[5]")
    }];
    report
}

/// [`stderr_only`] with its output, and unread output of other pipes.
pub(super) fn captured() -> Report {
    let capture = Captured {
        directory: "out".into(),
        limit: Some(64 << 20),
        keep: Keep::Last,
        streams: captured_streams(),
        recovered: recovered(),
        more: 2,
    };
    let commands = vec![commands::complains()];
    Report { capture: Some(capture), commands, more_commands: 7, ..stderr_only() }
}

fn captured_streams() -> Vec<CapturedStream> {
    let whole = CapturedStream {
        pid: 71,
        comm: "docker".into(),
        fd: 2,
        object: "pipe:[88124]".into(),
        file: "docker-71.stderr".into(),
        written: 122,
        kept: 122,
        ..CapturedStream::default()
    };
    let gap = GapSum { reason: Reason::RingFull, bytes: 55, times: 3, source: None };
    let source = Some("/tmp/layer.tar".to_owned());
    let copied = GapSum { reason: Reason::Copied, bytes: 98_945, times: 1, source };
    let short = CapturedStream {
        fd: 7,
        object: "pipe:[5]".into(),
        file: "docker-71.fd7".into(),
        written: 5_000_067,
        kept: 1_067,
        cut: 4_900_000,
        missing: 99_000,
        gaps: vec![gap, copied],
        ..whole.clone()
    };
    vec![whole, short]
}

fn recovered() -> Vec<Recovered> {
    let found = |kind, object: &str, fd, text: &str| Recovered {
        kind,
        object: object.into(),
        fds: vec![fd],
        pids: vec![71],
        comms: vec!["docker".into()],
        bytes: text.len() as u64,
        exact: true,
        text: text.into(),
        ..Recovered::default()
    };
    let (unread, stream) = (RecoveredKind::Unread, RecoveredKind::Stream);
    let usage = "unknown flag: --progress\nSee 'docker pull --help'.\n";
    vec![
        Recovered {
            bytes: 3_000,
            missing: 55,
            exact: false,
            doubts: vec![Doubt::Gaps, Doubt::Threads],
            text_cut: 2_985,
            ..found(unread, "pipe:[5]", 7, "layer 9\x1b[2K\t1/3")
        },
        Recovered {
            fds: vec![1, 2],
            file: Some("lost/1".into()),
            ..found(unread, "pipe:[6]", 2, "a\n\n\u{202e}b")
        },
        found(stream, "pipe:[88124]", 2, usage),
        Recovered { bytes: 0, missing: 4_096, ..found(unread, "pipe:[9]", 1, "") },
        Recovered { bytes: 1_027, text_cut: 1_024, ..found(stream, "/dev/null", 1, "end") },
    ]
}

fn pid_report(verdict: &str) -> Report {
    Report {
        schema: SCHEMA.into(),
        verdict: verdict.into(),
        target: Target { kind: "pid".into(), name: "--pid 60".into(), pids: vec![60], doubt: None },
        window: Window { start: "2026-11-22T21:00:00Z".into(), seconds: 3.2 },
        processes: Vec::new(),
        objects: Vec::new(),
        commands: Vec::new(),
        more_commands: 0,
        hops: Vec::new(),
        claims: Vec::new(),
        summed_up: Vec::new(),
        worker_logs: Vec::new(),
        findings: Vec::new(),
        losses: BTreeMap::new(),
        lost_bytes: BTreeMap::new(),
        sandboxes: Vec::new(),
        capture: None,
        tails: Vec::new(),
        more_tails: 0,
    }
}

/// A finding without words.
pub(super) fn finding(rule: Rule, severity: Severity, pid: u32) -> Finding {
    Finding {
        rule,
        severity,
        confidence: Confidence::Certain,
        pid,
        start_ns: 0,
        fd: None,
        message: String::new(),
        advice: None,
        evidence: Map::new(),
    }
}

/// A running process that executed `argv`.
fn process(pid: u32, ppid: u32, argv: &[&str], start_ms: f64) -> Process {
    let comm = argv.first().and_then(|path| path.rsplit('/').next()).unwrap_or_default();
    Process {
        pid,
        sandbox: 0,
        ns_pid: pid,
        ppid,
        comm: comm.to_owned(),
        argv: argv.iter().map(|&argument| argument.to_owned()).collect(),
        argv_bytes: None,
        start_ms,
        end_ms: None,
        exit: None,
        attached_late: false,
        executed: start_ms >= 0.0,
        elsewhere: Elsewhere::default(),
        fds: Vec::new(),
        stdio: Vec::new(),
        stdio_at_end: Vec::new(),
        facts: Vec::new(),
        environment: None,
        environment_cut: false,
    }
}

fn exited(process: Process, code: u32, end_ms: f64) -> Process {
    let exit = Some(Exit { code: Some(code), signal: None });
    Process { exit, end_ms: Some(end_ms), ..process }
}

fn fd(fd: i32, object: &str, bytes: u64, writes: u64, (first, last): (f64, f64)) -> Fd {
    Fd {
        fd,
        object: object.into(),
        kind: if object.starts_with("pipe:") { "pipe" } else { "file" }.into(),
        bytes,
        writes,
        first_write_ms: Some(first),
        last_write_ms: Some(last),
        ways: vec!["write".into()],
        ..Fd::default()
    }
}

fn stdio(stdout: &str, stderr: &str) -> Vec<String> {
    ["/dev/null", stdout, stderr].map(str::to_owned).to_vec()
}

fn pipe(id: &str) -> Object {
    Object {
        id: id.into(),
        kind: "pipe".into(),
        unread_before: Some(0),
        unread: Some(0),
        balanced: Some(true),
        ..Object::default()
    }
}

fn endpoint(pid: u32, comm: &str, bytes: u64) -> Endpoint {
    Endpoint { pid, comm: comm.into(), bytes }
}
