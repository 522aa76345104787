//! What holds for every screen.

use proptest::prelude::*;
use ratatui::crossterm::event::KeyCode;
use tracer_core::{snapshot::Snapshot, text::is_hazard};

use super::{Shown, samples};
use crate::top::link::Playback;

/// No cell has a character that moves the cursor, hides text or reverses it, and no line is longer than the screen.
fn check(shown: &Shown) {
    let width = usize::from(shown.buffer().area.width);
    for cell in &shown.buffer().content {
        let symbol = cell.symbol();
        assert!(!symbol.chars().any(|it| is_hazard(it) && it != '\u{200d}'), "{symbol:?}");
    }
    for line in shown.text().lines() {
        assert!(textwrap::core::display_width(line) <= width, "{width}: {line:?}");
    }
}

#[test]
fn hostile_names_change_nothing_but_their_own_place() {
    let mut shown = Shown::new(samples::hostile(), (80, 24));
    check(&shown);
    assert!(shown.text().contains("\\x1b]0;title"), "{}", shown.text());
    assert!(shown.text().contains("\\u{202e}"), "{}", shown.text());
    for _ in 0..5 {
        shown.press(KeyCode::Enter);
        check(&shown);
        shown.keys("G");
        check(&shown);
        shown.press(KeyCode::Esc);
        shown.keys("j");
    }
}

#[test]
fn every_size_can_be_drawn_and_keeps_the_selected_line() {
    for snapshot in [samples::workers(200), samples::hostile(), Snapshot::default()] {
        let mut shown = Shown::new(snapshot, (80, 24));
        shown.keys("jjjjj");
        let before = (shown.text(), shown.inks());
        for keys in ["", "?"] {
            shown.keys(keys);
            for (width, height) in
                [(1, 1), (40, 10), (41, 11), (59, 24), (60, 7), (200, 60), (500, 12)]
            {
                shown.resize(width, height);
                check(&shown);
            }
        }
        shown.press(KeyCode::Esc);
        shown.resize(80, 24);
        assert_eq!((shown.text(), shown.inks()), before, "the same screen as before");
    }
}

#[test]
fn a_forged_tree_with_a_circle_is_a_list() {
    let mut snapshot = samples::workers(3);
    let ids: Vec<_> = snapshot.rows.iter().map(|row| row.id).collect();
    for (row, above) in snapshot.rows.iter_mut().zip(ids.iter().cycle().skip(1)) {
        row.above = Some(*above);
    }
    let shown = Shown::new(snapshot, (80, 24));
    assert_eq!(shown.state.lines.len(), 4);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn no_keys_lead_out_of_the_list(keys in proptest::collection::vec(0..KEYS.len(), 1..60)) {
        let mut shown = Shown::new(samples::recorded("trees/make"), (80, 24));
        shown.state.playback = Some(Playback { length_ms: 1.0, speed: 1.0, plays: false });
        for (turn, key) in keys.into_iter().enumerate() {
            shown.press(KEYS[key]);
            if turn % 7 == 3 {
                shown.take(samples::workers(turn as u32 * 5));
            }
            if turn % 11 == 5 {
                shown.resize(30 + turn as u16 * 2, 8 + turn as u16 % 30);
            }
            let place = shown.state.place();
            prop_assert!(place < shown.state.lines.len().max(1));
        }
    }
}

const KEYS: [KeyCode; 22] = [
    KeyCode::Up,
    KeyCode::Down,
    KeyCode::PageUp,
    KeyCode::PageDown,
    KeyCode::Home,
    KeyCode::End,
    KeyCode::Enter,
    KeyCode::Esc,
    KeyCode::Backspace,
    KeyCode::Char('n'),
    KeyCode::Char('N'),
    KeyCode::Char('/'),
    KeyCode::Char('1'),
    KeyCode::Char('t'),
    KeyCode::Char('e'),
    KeyCode::Char('I'),
    KeyCode::Char('>'),
    KeyCode::Char('W'),
    KeyCode::Char('?'),
    KeyCode::Char(' '),
    KeyCode::Char('q'),
    KeyCode::F(6),
];
