//! Times in which something was not seen or not kept, in words.

use tracer_core::text::{
    shorten,
    units::{count, exact},
};
use tracer_history::{Gap, reason};

use super::Clock;

/// The longest name of a container in a sentence, in characters.
const NAME: usize = 1_024;

/// `tracer could not record 3 events, 70 B of web: ring_full`, for other systems.
pub(crate) fn sentence(gap: &Gap) -> String {
    let what = match (gap.events, gap.bytes) {
        (0, 0) => "everything".to_owned(),
        (0, bytes) => exact(bytes),
        (events, 0) => count(events, "event"),
        (events, bytes) => format!("{}, {}", count(events, "event"), exact(bytes)),
    };
    let place = gap.container.as_ref().map(|name| format!(" of {}", shorten(name, NAME)));
    format!("tracer could not record {what}{}: {}", place.unwrap_or_default(), gap.reason)
}

/// `not seen until 03:20:00, because tracer was not running`
pub(super) fn words(gap: &Gap, clock: &Clock) -> String {
    let until = clock.time(gap.until_us);
    let what = if is_about_history(&gap.reason) { "not kept" } else { "not seen" };
    let of = gap.container.as_ref().map(|name| format!(" of {name}")).unwrap_or_default();
    let noun = if is_about_history(&gap.reason) { "command" } else { "event" };
    let events = match (gap.events, gap.bytes) {
        (0, _) => String::new(),
        (events, 0) => format!(" ({})", count(events, noun)),
        (events, bytes) => format!(" ({}, {})", count(events, noun), exact(bytes)),
    };
    format!("{what}{of} until {until}, because {}{events}", because(&gap.reason))
}

/// `tracer was blind from 03:02:00 to 03:20:00, because it was not running.`
pub(super) fn blind(gap: &Gap, clock: &Clock) -> String {
    let because = because(&gap.reason).replace("tracer was", "it was");
    let (from, until) = (clock.time(gap.from_us), clock.time(gap.until_us));
    format!("tracer was blind from {from} to {until}, because {because}.")
}

fn is_about_history(why: &str) -> bool {
    matches!(why, reason::FULL | reason::DISK_FULL | reason::FAILED | reason::DAMAGED)
}

/// The reason of a gap, in words.
fn because(why: &str) -> String {
    let words = match why {
        reason::NOT_RUNNING => "tracer was not running",
        reason::STOPPED => "tracer was stopped",
        reason::VERSION_CHANGED => "this version of tracer could not go on with the one before",
        reason::CONTAINERS_MISSED => {
            "one recorder followed another, and a container that began and ended in between is missing"
        }
        reason::FULL => "commands ended faster than the history could be written",
        reason::DISK_FULL => "the disk was full",
        reason::FAILED => "the history could not be written",
        reason::DAMAGED => "a file of the history was damaged",
        reason::JOBS_FULL => "more commands waited to be judged than the memory allows",
        reason::CGROUPS_MISSED => "cgroups came faster than tracer could look at them",
        reason::CGROUPS_FULL => "there were more cgroups than tracer follows",
        other => return format!("of a loss ({other})"),
    };
    words.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_tells_what_is_known() {
        let gap =
            |events, bytes| Gap { events, bytes, reason: "ring_full".into(), ..Gap::default() };
        let begin = "tracer could not record";
        assert_eq!(sentence(&gap(0, 0)), format!("{begin} everything: ring_full"));
        assert_eq!(sentence(&gap(1, 0)), format!("{begin} 1 event: ring_full"));
        assert_eq!(sentence(&gap(3, 70)), format!("{begin} 3 events, 70 B: ring_full"));
        let of = Gap { container: Some("web".into()), ..gap(0, 7) };
        assert_eq!(sentence(&of), format!("{begin} 7 B of web: ring_full"));
    }
}
