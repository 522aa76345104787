//! The report for scripts: one document, or one object on each line. `SCHEMA.md` describes both.

mod document;

use std::io;

use serde::Serialize;
use tracer_core::{
    capture::Keep,
    report::{Captured, Report, Window},
    session::{LossReason, Target},
    text::json::harmless_line,
};

use self::document::Document;

/// How many bytes of a document are collected before they are written: it comes in pieces of a few bytes.
const BUFFER: usize = 32 << 10;

/// Writes one indented document.
pub(super) fn write(report: &Report, out: &mut dyn io::Write) -> io::Result<()> {
    let mut document = Document::begin(io::BufWriter::with_capacity(BUFFER, out))?;
    document.member("schema", &report.schema)?;
    document.member("verdict", &report.verdict)?;
    document.member("target", &report.target)?;
    document.member("window", &report.window)?;
    document.list("processes", &report.processes)?;
    document.member("summed_up", &report.summed_up)?;
    document.list("objects", &report.objects)?;
    document.list("commands", &report.commands)?;
    document.member("more_commands", &report.more_commands)?;
    document.member("hops", &report.hops)?;
    document.member("claims", &report.claims)?;
    document.member("worker_logs", &report.worker_logs)?;
    document.member("findings", &report.findings)?;
    document.member("losses", &report.losses)?;
    document.member("lost_bytes", &report.lost_bytes)?;
    if !report.sandboxes.is_empty() {
        document.member("sandboxes", &report.sandboxes)?;
    }
    let mut captured = report.capture.iter();
    captured.try_for_each(|captured| document.member("capture", captured))?;
    if !report.tails.is_empty() {
        document.list("tails", &report.tails)?;
    }
    if report.more_tails > 0 {
        document.member("more_tails", &report.more_tails)?;
    }
    document.end()
}

/// Writes one object on each line. The first is the head of the report.
pub(super) fn write_lines(report: &Report, out: &mut dyn io::Write) -> io::Result<()> {
    let Report {
        schema,
        verdict,
        target,
        window,
        processes,
        summed_up,
        objects,
        commands,
        more_commands,
        hops,
        claims,
        worker_logs,
        findings,
        losses,
        lost_bytes,
        sandboxes,
        capture,
        tails,
        more_tails,
    } = report;
    let head =
        Head { verdict, target, window, more_commands: *more_commands, more_tails: *more_tails };
    line(out, schema, "report", &head)?;
    processes.iter().try_for_each(|process| line(out, schema, "process", process))?;
    summed_up.iter().try_for_each(|sums| line(out, schema, "summed_up", sums))?;
    objects.iter().try_for_each(|object| line(out, schema, "object", object))?;
    commands.iter().try_for_each(|command| line(out, schema, "command", command))?;
    hops.iter().try_for_each(|chain| line(out, schema, "hop", chain))?;
    claims.iter().try_for_each(|claim| line(out, schema, "claim", claim))?;
    worker_logs.iter().try_for_each(|log| line(out, schema, "worker_log", log))?;
    findings.iter().try_for_each(|finding| line(out, schema, "finding", finding))?;
    losses.iter().try_for_each(|(reason, events)| {
        let bytes = lost_bytes.get(reason).copied().unwrap_or(0);
        line(out, schema, "loss", &Reason { reason, events: *events, bytes })
    })?;
    sandboxes.iter().try_for_each(|sandbox| line(out, schema, "sandbox", sandbox))?;
    capture.iter().try_for_each(|captured| write_capture(out, schema, captured))?;
    tails.iter().try_for_each(|tail| line(out, schema, "tail", tail))
}

fn write_capture(out: &mut dyn io::Write, schema: &str, captured: &Captured) -> io::Result<()> {
    let Captured { directory, limit, keep, streams, recovered, more } = captured;
    let folder = Folder { directory, limit: *limit, keep: *keep, more: *more };
    line(out, schema, "capture", &folder)?;
    streams.iter().try_for_each(|stream| line(out, schema, "captured_stream", stream))?;
    recovered.iter().try_for_each(|recovered| line(out, schema, "recovered", recovered))
}

/// What every line has.
#[derive(Serialize)]
struct Line<'a, T> {
    #[serde(rename = "type")]
    kind: &'static str,
    schema: &'a str,
    #[serde(flatten)]
    body: &'a T,
}

#[derive(Serialize)]
struct Head<'a> {
    verdict: &'a str,
    target: &'a Target,
    window: &'a Window,
    more_commands: u64,
    #[serde(skip_serializing_if = "is_none")]
    more_tails: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_none(number: &u64) -> bool {
    *number == 0
}

#[derive(Serialize)]
struct Folder<'a> {
    directory: &'a str,
    limit: Option<u64>,
    keep: Keep,
    more: u64,
}

#[derive(Serialize)]
struct Reason<'a> {
    reason: &'a LossReason,
    events: u64,
    bytes: u64,
}

fn line<T: Serialize>(
    out: &mut dyn io::Write,
    schema: &str,
    kind: &'static str,
    body: &T,
) -> io::Result<()> {
    harmless_line(&Line { kind, schema, body }, out)
}
