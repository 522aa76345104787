//! A bar of bytes by what became of them. Each part has a character of its own.

use ratatui::text::Span;
use tracer_core::{text::units::short, verdict::Bytes};

use super::ink::{Ink, Inks};

/// The bar of a stream, `width` columns wide. A part that is not 0 has at least one column, the lost ones first.
pub(super) fn bar(bytes: &Bytes, width: usize, inks: Inks) -> Vec<Span<'static>> {
    let parts = [
        (bytes.lost, 'x', Ink::Bad),
        (bytes.inside, '▒', Ink::Odd),
        (bytes.unseen, '?', Ink::Odd),
        (bytes.discarded, '·', Ink::Faint),
        (bytes.arrived, '█', Ink::Good),
    ];
    let total: u128 = parts.iter().map(|(part, ..)| u128::from(*part)).sum();
    if total == 0 {
        return vec![Span::raw(" ".repeat(width))];
    }
    let mut cells = parts.map(|(part, ..)| {
        let share = u128::from(part) * width as u128 / total;
        usize::try_from(share).unwrap_or(width).max(usize::from(part > 0))
    });
    fit(&mut cells, width);
    // What arrived comes first.
    let drawn = parts.iter().zip(cells).rev().filter(|(_, cells)| *cells > 0);
    drawn
        .map(|((_, character, ink), cells)| {
            Span::styled(character.to_string().repeat(cells), inks.style(*ink))
        })
        .collect()
}

/// Makes the parts as long as the bar: the largest one gives or takes what is over.
fn fit(cells: &mut [usize; 5], width: usize) {
    while cells.iter().sum::<usize>() > width {
        match cells.iter_mut().max() {
            Some(largest) if *largest > 1 => *largest -= 1,
            // More parts than columns: those behind go.
            _ => match cells.iter_mut().rev().find(|cells| **cells > 0) {
                Some(last) => *last -= 1,
                None => return,
            },
        }
    }
    let missing = width - cells.iter().sum::<usize>();
    if let Some(largest) = cells.iter_mut().max() {
        *largest += missing;
    }
}

/// A rate in at most eight columns; empty if it is 0.
pub(super) fn rate(bytes_per_second: f64) -> String {
    if bytes_per_second < 0.5 {
        return String::new();
    }
    format!("{}/s", short(bytes_per_second as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(bytes: Bytes, width: usize) -> String {
        bar(&bytes, width, Inks { color: false }).iter().map(|span| span.content.as_ref()).collect()
    }

    #[test]
    fn each_part_has_its_character_and_at_least_one_column() {
        let bytes = Bytes { arrived: 1 << 30, lost: 1, inside: 1, ..Bytes::default() };
        assert_eq!(drawn(bytes, 8), "██████▒x");
        let bytes = Bytes { arrived: 1, lost: 1, inside: 1, unseen: 1, discarded: 1, written: 5 };
        assert_eq!(drawn(bytes, 10), "██··??▒▒xx");
        assert_eq!(drawn(bytes, 2), "▒x", "the lost stay");
    }

    #[test]
    fn a_bar_is_as_long_as_it_should_be() {
        for (arrived, lost) in [(0, 0), (1, 0), (2, 1), (u64::MAX, u64::MAX), (7, 5)] {
            for width in 1..20 {
                let bar = drawn(Bytes { arrived, lost, ..Bytes::default() }, width);
                assert_eq!(bar.chars().count(), width, "{arrived} {lost} {width}: {bar}");
            }
        }
    }

    #[test]
    fn rates_fit_their_columns() {
        assert_eq!((rate(0.4), rate(1000.0)), (String::new(), "1.0 K/s".into()));
        for exponent in 0..64 {
            for bytes in [(1u64 << exponent) - 1, 1 << exponent, u64::MAX >> exponent] {
                assert!(rate(bytes as f64).len() <= 8, "{}", rate(bytes as f64));
            }
        }
    }
}
