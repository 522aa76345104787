//! What keys do.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use tracer_core::verdict::Severity;

use super::{Shown, samples};
use crate::top::{
    link::{Order, Playback},
    state::{Effect, Page},
};

const SIZE: (u16, u16) = (80, 24);

/// The pid in the selected line.
fn pid(shown: &Shown) -> u32 {
    shown.state.row().unwrap().command.pid
}

#[test]
fn lines_are_selected_as_in_less_and_htop() {
    let mut shown = Shown::new(samples::workers(200), SIZE);
    assert_eq!(pid(&shown), 100, "the manager is above the stuck one");
    shown.keys("j");
    assert_eq!(pid(&shown), 1137);
    shown.press(KeyCode::Down);
    assert_eq!(pid(&shown), 1000);
    shown.keys("kk");
    assert_eq!(pid(&shown), 100);
    shown.keys("G");
    assert_eq!(pid(&shown), 1199);
    assert!(shown.selected().contains("1199"), "{}", shown.selected());
    shown.press(KeyCode::PageUp);
    assert_eq!(pid(&shown), 1199 - shown.state.height as u32);
    shown.press(KeyCode::Home);
    assert_eq!(pid(&shown), 100);
    shown.press(KeyCode::PageDown);
    assert!(shown.selected().contains(&pid(&shown).to_string()));
}

#[test]
fn the_selected_command_stays_selected_when_the_order_changes() {
    let mut shown = Shown::new(samples::workers(200), SIZE);
    shown.keys("jjjj");
    let before = pid(&shown);
    let mut later = samples::workers(200);
    let worst = later.rows.iter_mut().find(|row| row.command.pid == 1_150).unwrap();
    (worst.severity, worst.is_stuck) = (Severity::Loss, true);
    shown.take(later);
    assert_eq!(pid(&shown), before);
    assert!(shown.selected().contains(&before.to_string()));
}

#[test]
fn a_new_stuck_command_appears_at_the_top_as_long_as_nothing_was_selected() {
    let mut shown = Shown::new(samples::workers(130), SIZE);
    assert!(!shown.text().contains("STUCK"));
    shown.take(samples::workers(200));
    assert!(shown.text().contains("STUCK"));
}

#[test]
fn n_goes_to_the_next_command_in_trouble_and_around() {
    let mut snapshot = samples::workers(200);
    snapshot.rows[180].severity = Severity::Loss;
    let mut shown = Shown::new(snapshot, SIZE);
    shown.keys("t");
    let mut seen = Vec::new();
    for key in ["n", "n", "n", "N", "N"] {
        shown.keys(key);
        seen.push(pid(&shown));
    }
    assert_eq!(seen, [1179, 1137, 1179, 1137, 1179]);
    let mut shown = Shown::new(samples::workers(3), SIZE);
    shown.keys("n");
    assert!(shown.text().contains("No command lost output or is stuck."));
}

#[test]
fn typing_filters_and_esc_clears() {
    let mut shown = Shown::new(samples::workers(200), SIZE);
    shown.keys("/ID 42q");
    assert!(shown.text().contains("no command contains this text"));
    shown.press(KeyCode::Backspace);
    assert!(shown.state.is_typing && shown.state.lines.len() == 2, "the manager and worker 42");
    shown.press(KeyCode::Enter);
    assert!(!shown.state.is_typing && shown.text().contains("/ID 42"));
    shown.press(KeyCode::Esc);
    assert_eq!(shown.state.lines.len(), 201);
    shown.keys("/1042");
    assert_eq!(shown.state.lines.len(), 2, "a pid");
    shown.press(KeyCode::Esc);
    assert!(!shown.state.is_typing && shown.state.filter.is_empty());
}

#[test]
fn the_list_is_sorted_by_each_column_and_in_reverse() {
    let mut snapshot = samples::workers(150);
    snapshot.rows[7].streams[0].written = 1 << 40;
    let mut shown = Shown::new(snapshot, SIZE);
    shown.keys("t");
    let mut first = |key: &str| {
        shown.keys(key);
        shown.keys("g");
        (shown.state.sort.name(), pid(&shown))
    };
    assert_eq!(first(""), ("trouble", 1137));
    assert_eq!(first(">"), ("bytes written", 1006));
    assert_eq!(first(">").0, "rate");
    assert_eq!(first(">"), ("start", 100));
    assert_eq!(first("I"), ("start, reversed", 1149));
    assert_eq!(first(">"), ("trouble", 1137));
    assert_eq!(first("<"), ("start", 100));
    assert_eq!(first("W"), ("bytes written", 1006));
}

#[test]
fn a_command_stands_where_the_worst_below_it_stands() {
    let mut snapshot = samples::workers(0);
    snapshot.rows.push(samples::row(200, None, "quiet", 1));
    snapshot.rows.push(samples::row(300, Some(200), "lossy", 1));
    snapshot.rows[2].severity = Severity::Loss;
    let shown = Shown::new(snapshot, SIZE);
    let order: Vec<usize> = shown.state.lines.iter().map(|line| line.row).collect();
    assert_eq!(order, [1, 2, 0]);
    assert_eq!(shown.state.lines[1].depth, 1);
}

#[test]
fn what_has_ended_well_can_be_hidden() {
    let mut snapshot = samples::workers(0);
    let mut lossy = samples::ended(samples::row(300, Some(100), "lossy", 1), 0);
    lossy.severity = Severity::Loss;
    let parent = samples::ended(samples::row(200, Some(100), "parent", 1), 0);
    let below = samples::row(400, Some(200), "below", 1);
    let done = samples::ended(samples::row(500, Some(100), "done", 1), 1);
    snapshot.rows.extend([parent, lossy, below, done]);
    let mut shown = Shown::new(snapshot, SIZE);
    shown.keys("e");
    let text = shown.text();
    assert!(text.contains("lossy") && text.contains("parent") && text.contains("below"), "{text}");
    assert!(!text.contains("done"), "{text}");
    shown.keys("e");
    assert!(shown.text().contains("done"));
}

#[test]
fn a_frozen_screen_does_not_change_until_it_goes_on() {
    let mut shown = Shown::new(samples::workers(150), SIZE);
    shown.keys(" ");
    let before = shown.text();
    assert!(before.contains("FROZEN"), "{before}");
    shown.take(samples::workers(10));
    assert_eq!(shown.text(), before);
    shown.keys("p");
    shown.take(samples::workers(10));
    assert!(!shown.text().contains("FROZEN") && !shown.text().contains("STUCK"));
    shown.keys(" ");
    let mut over = samples::workers(10);
    over.is_over = true;
    shown.take(over);
    assert!(shown.text().contains("ended after"), "the end of a trace is shown");
}

#[test]
fn a_page_of_a_command_stays_with_it() {
    let mut shown = Shown::new(samples::workers(200), SIZE);
    shown.keys("n");
    shown.press(KeyCode::Enter);
    assert!(shown.text().contains("pid 1137"), "{}", shown.text());
    shown.keys("R");
    shown.take(samples::workers(150));
    assert!(shown.text().contains("pid 1137"));
    shown.take(samples::workers(100));
    assert_eq!(shown.state.page, Page::List, "the command is gone");
}

#[test]
fn rates_are_the_difference_of_two_snapshots() {
    let mut shown = Shown::new(samples::workers(3), SIZE);
    let mut later = samples::workers(3);
    later.at_ms += 500.0;
    later.rows[2].streams[0].written += 512 << 10;
    later.totals.bytes.written += 512 << 10;
    shown.take(later);
    assert!(shown.text().contains("1.0 M/s runs"), "{}", shown.text());
    assert_eq!(shown.state.rates.total, f64::from(1 << 20));
}

#[test]
fn keys_of_a_recording_are_orders_and_mean_nothing_in_a_trace() {
    let mut shown = Shown::new(samples::workers(3), SIZE);
    assert_eq!(shown.press(KeyCode::Char('.')), Effect::None);
    shown.state.playback = Some(Playback { length_ms: 9_000.0, speed: 2.0, plays: true });
    shown.draw();
    assert!(shown.text().contains("plays at 2x"), "{}", shown.text());
    for (key, order) in [
        (' ', Order::PlayOrPause),
        ('.', Order::StepForward),
        (',', Order::StepBack),
        (']', Order::Faster),
        ('[', Order::Slower),
        ('0', Order::ToStart),
        ('$', Order::ToEnd),
        ('s', Order::Save),
    ] {
        assert_eq!(shown.press(KeyCode::Char(key)), Effect::Order(order));
    }
    assert!(!shown.state.is_frozen);
}

#[test]
fn q_closes_a_page_and_then_the_view() {
    let mut shown = Shown::new(samples::workers(3), SIZE);
    shown.press(KeyCode::Enter);
    assert_eq!((shown.press(KeyCode::Char('q')), shown.state.page), (Effect::None, Page::List));
    shown.keys("?");
    assert_eq!(shown.press(KeyCode::Char('q')), Effect::None);
    assert_eq!(shown.press(KeyCode::Char('q')), Effect::Quit);
    let control = |key| KeyEvent::new(KeyCode::Char(key), KeyModifiers::CONTROL);
    shown.keys("/");
    assert_eq!(shown.state.press(control('c')), Effect::Quit);
    assert_eq!(shown.state.press(control('l')), Effect::Redraw);
}
