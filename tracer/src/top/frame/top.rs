//! The first lines of the screen: the verdict, and the totals.

use ratatui::text::{Line, Span};
use tracer_core::{
    text::{escape, shorten, units},
    verdict::{Rule, Severity},
};

use super::{
    bar::rate,
    ink::{Ink, Inks, mark},
};
use crate::top::{
    RECORDER,
    state::{Page, State},
};

/// From this height on, the verdict may have three lines.
const TALL: u16 = 20;

pub(super) fn lines(state: &State, inks: Inks, width: u16, height: u16) -> Vec<Line<'static>> {
    if state.snapshot.target.kind.is_empty() {
        let words = "· tracing: the first look at the processes is under way.";
        return vec![Line::styled(words, inks.style(Ink::Strong))];
    }
    let most = if height >= TALL { 3 } else { 1 };
    let mut lines = verdict(state, inks, usize::from(width), most);
    lines.push(run(state, inks, usize::from(width)));
    lines.push(totals(state, inks, usize::from(width)));
    lines
}

/// The mark and the sentence. A running trace without trouble says that it runs.
fn verdict(state: &State, inks: Inks, width: usize, most: usize) -> Vec<Line<'static>> {
    let snapshot = &state.snapshot;
    // A command that runs may still write.
    let is_silence = snapshot.findings.first().is_none_or(|first| first.rule == Rule::NeverWrote);
    let is_quiet = snapshot.severity() == Severity::Info || is_silence;
    let (mark, ink, sentence) = if !snapshot.is_over && is_quiet {
        let words = match snapshot.target.kind.as_str() {
            RECORDER => "recording: no output was lost in the last hour, and no command is stuck.",
            _ => "tracing: no output is lost, and no command is stuck, so far.",
        };
        ("·", Ink::Good, words.to_owned())
    } else {
        let (mark, ink) = mark(snapshot.severity());
        (mark, ink, escape(&snapshot.verdict).into_owned())
    };
    let room = width.saturating_sub(2).max(10);
    let wrapped = textwrap::wrap(&sentence, room);
    let mut lines: Vec<String> =
        wrapped.iter().take(most).map(|line| line.clone().into_owned()).collect();
    if wrapped.len() > most
        && let (Some(last), Some(next)) = (lines.last_mut(), wrapped.get(most))
    {
        *last = shorten(&format!("{last} {next}"), room);
    }
    let first = [mark].into_iter().chain(std::iter::repeat(" "));
    let strong = inks.style(Ink::Strong);
    first
        .zip(lines)
        .map(|(mark, line)| {
            let mark = Span::styled(format!("{mark} "), inks.style(ink));
            Line::from(vec![mark, Span::styled(line, strong)])
        })
        .collect()
}

/// What is traced, for how long, and how the list is arranged.
fn run(state: &State, inks: Inks, width: usize) -> Line<'static> {
    let snapshot = &state.snapshot;
    let time = units::duration(snapshot.at_ms);
    let state_of = match (&state.playback, snapshot.is_over, state.is_frozen) {
        (Some(playback), ..) => {
            let does = if playback.plays { "plays" } else { "paused" };
            let length = units::duration(playback.length_ms);
            format!("{time} of {length}, {does} at {}x", playback.speed)
        }
        (None, true, _) => format!("ended after {time}"),
        (None, false, true) => format!("FROZEN at {time}, Space goes on"),
        (None, false, false) => time,
    };
    let processes = units::count(snapshot.totals.processes, "process");
    let running = match snapshot.totals.running {
        0 => String::new(),
        running => format!(", {} running", units::grouped(running)),
    };
    let rest = format!(" · {state_of} · {processes}{running}");
    let room = width.saturating_sub(rest.chars().count()).max(12);
    Line::from(vec![
        Span::styled(shorten(&snapshot.target.name, room), inks.style(Ink::Strong)),
        Span::styled(rest, inks.style(Ink::Plain)),
    ])
}

/// Bytes of all commands, and at the right end how the list is arranged.
fn totals(state: &State, inks: Inks, width: usize) -> Line<'static> {
    let bytes = &state.snapshot.totals.bytes;
    let mut spans = Vec::new();
    let mut part = |name: &'static str, value: u64, ink: Ink, is_always: bool| {
        if value == 0 && !is_always {
            return;
        }
        let ink = if value == 0 { Ink::Plain } else { ink };
        spans.push(Span::styled(format!("{name} "), inks.style(Ink::Faint)));
        spans.push(Span::styled(format!("{}  ", units::short(value)), inks.style(ink)));
    };
    part("written", bytes.written, Ink::Strong, true);
    part("lost", bytes.lost, Ink::Bad, true);
    part("inside", bytes.inside, Ink::Odd, true);
    part("arrived", bytes.arrived, Ink::Good, true);
    part("discarded", bytes.discarded, Ink::Plain, false);
    part("not seen", bytes.unseen, Ink::Odd, false);
    spans.push(Span::raw(rate(state.rates.total)));
    let order = arrangement(state);
    let used: usize = spans.iter().map(Span::width).sum();
    let gap = width.saturating_sub(used + order.chars().count());
    if gap > 1 && state.page == Page::List {
        spans.push(Span::raw(" ".repeat(gap)));
        spans.push(Span::styled(order, inks.style(Ink::Faint)));
    }
    Line::from(spans)
}

/// Number of lines, what is left out, and their order: `12 of 2,000 by trouble`.
fn arrangement(state: &State) -> String {
    let shown = state.lines.len() as u64;
    let all = state.snapshot.rows.len() as u64 + state.snapshot.more_rows;
    let of = if shown < all { format!(" of {}", units::grouped(all)) } else { String::new() };
    format!("{}{of} by {}", units::grouped(shown), state.sort.name())
}
