//! Describes the commands: their images, their streams, and what became of each segment.

use tracer_common::ledger::LedgerRow;

use crate::{
    report::{Command, CommandImage, CommandStream, StreamSegment},
    session::{PastImage, Process, Session},
    verdict::{self, Case, Part},
};

use super::process::exit;

/// The most commands of one report.
const MAX_COMMANDS: usize = 1024;
/// The most segments of one stream.
const MAX_SEGMENTS: usize = 64;
/// The most readers of one segment; the object has all of them.
const MAX_READERS: usize = 16;
/// The most characters of a command line; `processes[].argv` has more of them.
const MAX_COMMAND: usize = 256;

/// The commands, and the number of those that are left out. `stdio_of_interest`: which of fd 0, 1 and 2 the user asked
/// for.
pub(crate) fn commands(case: &Case<'_>, stdio_of_interest: &[i32]) -> (Vec<Command>, u64) {
    let (found, left_out) = verdict::commands(case, stdio_of_interest, MAX_COMMANDS);
    let described = found.iter().map(|known| command(case, known, stdio_of_interest));
    (described.collect(), left_out)
}

/// One command.
pub(crate) fn command(
    case: &Case<'_>,
    known: &verdict::Command<'_>,
    stdio_of_interest: &[i32],
) -> Command {
    let (session, process) = (case.session, known.process);
    let images = images(known);
    let streams = [(1, "stdout"), (2, "stderr")].into_iter();
    let streams = streams.filter(|(fd, _)| stdio_of_interest.contains(fd));
    Command {
        pid: process.id.tgid,
        command: beginning(&process.command()),
        start_ms: session.since_start_ms(process.id.start_ns),
        exit: exit(process),
        streams: streams.map(|(fd, name)| stream(case, known, &images, (fd, name))).collect(),
        images: images.iter().map(|known| image(session, known)).collect(),
        more_images: process.forgotten_images,
        opening: known.opening.map(str::to_owned),
    }
}

/// The images of a process. That of the parent, which it has between `fork` and its first `execve`, only if it wrote.
fn images(known: &verdict::Command<'_>) -> Vec<PastImage> {
    let process = known.process;
    let mut images = process.past_images.clone();
    let is_of_parent = |image: &PastImage| {
        let rows = known.parts.iter().map(|part| part.segment.row);
        let wrote = rows.filter(|row| row.bytes > 0).any(|row| row.first_ns < image.until_ns);
        !image.executed && !process.attached_late && !wrote
    };
    if images.first().is_some_and(is_of_parent) {
        images.remove(0);
    }
    images.push(process.latest_image());
    images
}

fn image(session: &Session, known: &PastImage) -> CommandImage {
    CommandImage {
        comm: known.comm.clone(),
        command: beginning(&known.command),
        start_ms: session.since_start_ms(known.since_ns),
        executed: known.executed,
    }
}

/// The first characters of a command line; a longer one ends with `…`.
fn beginning(command: &str) -> String {
    match command.char_indices().nth(MAX_COMMAND) {
        Some((end, _)) => format!("{}…", command.get(..end).unwrap_or_default()),
        None => command.to_owned(),
    }
}

fn stream(
    case: &Case<'_>,
    known: &verdict::Command<'_>,
    images: &[PastImage],
    (fd, name): (i32, &str),
) -> CommandStream {
    let parts: Vec<&Part> = known.parts.iter().filter(|part| part.segment.stream == fd).collect();
    let shown = parts.iter().take(MAX_SEGMENTS);
    CommandStream {
        stream: name.to_owned(),
        segments: shown.map(|part| segment(case, known.process, images, part)).collect(),
        more_segments: parts.len().saturating_sub(MAX_SEGMENTS) as u64,
    }
}

fn segment(case: &Case<'_>, process: &Process, images: &[PastImage], part: &Part) -> StreamSegment {
    let (session, known) = (case.session, &part.segment);
    // Readers are in the order of their bytes.
    let readers = &case.flows.get(&known.object).readers;
    let wrote = known.row.bytes > 0 || part.started > 0;
    let read = if wrote { readers.partition_point(|reader| reader.bytes > 0) } else { 0 };
    let (first_image, last_image) = writing_images(process, images, &known.row);
    StreamSegment {
        fd: known.fd,
        object: session.object_name(&known.object),
        kind: session.object_kind(&known.object).name().to_owned(),
        since_ms: known.since_ns.map(|since_ns| session.since_start_ms(since_ns)),
        redirected_by: known.redirected_by,
        first_image,
        last_image,
        bytes: known.row.bytes,
        started_bytes: part.started,
        refused_bytes: part.refused,
        outcome: part.outcome,
        confidence: part.confidence,
        read_by: readers.iter().take(read.min(MAX_READERS)).map(|it| it.process.tgid).collect(),
        more_readers: read.saturating_sub(MAX_READERS) as u64,
    }
}

/// The images that wrote first and last.
fn writing_images(
    process: &Process,
    images: &[PastImage],
    row: &LedgerRow,
) -> (Option<u64>, Option<u64>) {
    let begin = images.first().map_or(0, |image| image.since_ns);
    let image_at = |time_ns: u64| {
        let is_forgotten = process.forgotten_images > 0 && time_ns < begin;
        let image = images.iter().position(|image| time_ns < image.until_ns);
        image.filter(|_| !is_forgotten && row.bytes > 0).map(|image| image as u64)
    };
    (image_at(row.first_ns), image_at(row.last_ns.max(row.first_ns)))
}
