//! Whole screens.

use std::{env, fs, path::PathBuf};

use ratatui::crossterm::event::KeyCode;

use super::{Shown, samples};
use crate::top::frame::Inks;

/// Compares text and styles with `golden/NAME.txt`.
fn same(name: &str, shown: &Shown) {
    let drawn = format!("{}\n{}", shown.text(), shown.inks());
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src/top/golden"));
    let path = path.join(format!("{name}.txt"));
    if env::var_os("TRACER_BLESS").is_some() {
        fs::write(path, drawn).unwrap();
        return;
    }
    let golden = fs::read_to_string(path).unwrap();
    assert!(drawn == golden, "top/golden/{name}.txt differs from what was drawn:\n{drawn}");
}

const SIZE: (u16, u16) = (80, 24);

#[test]
fn a_stuck_writer_among_200_is_on_the_first_screen() {
    let shown = Shown::new(samples::workers(200), SIZE);
    assert!(shown.text().contains("STUCK"), "{}", shown.text());
    same("stuck", &shown);
}

#[test]
fn a_recorded_tree_has_the_lost_first() {
    same("make", &Shown::new(samples::recorded("trees/make"), SIZE));
}

#[test]
fn a_command_has_a_page() {
    let mut shown = Shown::new(samples::recorded("trees/make"), SIZE);
    shown.keys("n");
    shown.press(KeyCode::Enter);
    same("make_command", &shown);
    shown.press(KeyCode::PageDown);
    same("make_command_below", &shown);
}

#[test]
fn the_keys_have_a_page() {
    let mut shown = Shown::new(samples::workers(3), (80, 50));
    shown.keys("?");
    same("keys", &shown);
}

#[test]
fn a_wide_screen_has_longer_bars() {
    same("make_wide", &Shown::new(samples::recorded("trees/make"), (130, 24)));
}

#[test]
fn the_smallest_screen_has_the_verdict_and_the_stuck() {
    same("stuck_small", &Shown::new(samples::workers(200), (40, 10)));
    same("too_small", &Shown::new(samples::workers(200), (39, 10)));
}

#[test]
fn without_colours_the_text_is_the_same_and_no_cell_has_a_colour() {
    for name in ["trees/make", "trees/tmux", "stuck"] {
        let mut shown = Shown::new(samples::recorded(name), SIZE);
        for page in ["", "n", "\n", "?"] {
            match page {
                "\n" => drop(shown.press(KeyCode::Enter)),
                keys => shown.keys(keys),
            }
            let colored = shown.text();
            assert!(shown.inks().contains(['R', 'Y', 'g', 'C']), "{}", shown.inks());
            shown.inks = Inks { color: false };
            shown.draw();
            assert_eq!(shown.text(), colored);
            assert!(!shown.inks().contains(['r', 'R', 'y', 'Y', 'g', 'G', 'c', 'C']));
            shown.inks = Inks { color: true };
        }
    }
}

#[test]
fn before_the_first_snapshot_the_screen_says_what_it_waits_for() {
    same("starting", &Shown::new(Default::default(), (80, 10)));
}
