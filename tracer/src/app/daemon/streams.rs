//! Where the streams of a job led, and what became of its bytes there.

use tracer_core::{
    session::{Job, named},
    verdict::{Case, Fate, Part},
};
use tracer_history::Stream;

use super::entry::word;

/// The most segments of one stream. Further ones are summed up.
const MOST_SEGMENTS: usize = 64;

/// stdout and stderr of a job, each with the objects that it led to.
pub(super) fn streams(case: &Case<'_>, job: &Job) -> Vec<Stream> {
    let Some(command) = case.command_of(job.root) else { return Vec::new() };
    let is_over = job.ended_ns.is_some();
    let of = |fd: i32| {
        let parts = command.parts.iter().filter(|part| part.segment.stream == fd);
        let parts: Vec<(&Part, Fate)> =
            parts.map(|part| (part, case.fate(command.process, part, is_over))).collect();
        let (shown, rest) = parts.split_at(parts.len().min(MOST_SEGMENTS));
        let shown = shown.iter().map(|(part, fate)| segment(case, part, fate));
        shown.chain(sum_up(fd, rest)).collect::<Vec<_>>()
    };
    [1, 2].into_iter().flat_map(of).collect()
}

fn segment(case: &Case<'_>, part: &Part, fate: &Fate) -> Stream {
    let object = &part.segment.object;
    // Readers are in the order of their bytes.
    let reader = case.flows.get(object).readers.first();
    let reader = reader.filter(|reader| fate.written > 0 && reader.bytes > 0);
    Stream {
        fd: part.segment.stream,
        bytes: fate.written,
        destination: case.session.object_name(object),
        outcome: word(&part.outcome),
        reader: reader.map(|reader| named(&reader.comm, reader.process)),
        fate: Some(numbers(fate)),
    }
}

/// One stream for several segments: the worst outcome, and all bytes.
fn sum_up(fd: i32, parts: &[(&Part, Fate)]) -> Option<Stream> {
    let worst = parts.iter().map(|(part, _)| part.outcome).min()?;
    let mut sum = Fate::default();
    parts.iter().for_each(|(_, fate)| sum.add(fate));
    Some(Stream {
        fd,
        bytes: sum.written,
        destination: "others".to_owned(),
        outcome: word(&worst),
        reader: None,
        fate: Some(numbers(&sum)),
    })
}

const fn numbers(fate: &Fate) -> tracer_history::Fate {
    let Fate { delivered, lost, discarded, unknown, refused, .. } = *fate;
    tracer_history::Fate { delivered, lost, discarded, unknown, refused }
}
