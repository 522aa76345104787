//! Results as aligned Markdown tables: what the terminal shows and what BENCHMARKS.md holds.

use super::{
    contender::Contender,
    rounds::{Comparison, Row},
    workload::Unit,
};

/// A table of text; the first row is its head.
#[derive(Debug)]
pub(crate) struct Table(Vec<Vec<String>>);

impl Table {
    /// With this head.
    pub(crate) fn new(head: &[&str]) -> Self {
        Self(vec![head.iter().map(|cell| (*cell).to_owned()).collect()])
    }

    /// Adds a row.
    pub(crate) fn add(&mut self, row: Vec<String>) {
        self.0.push(row);
    }

    /// The text: the first column to the left, numbers to the right.
    pub(crate) fn render(&self) -> String {
        let columns = self.0.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.0.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0).max(3)
        };
        let widths: Vec<_> = (0..columns).map(width).collect();
        let is_number: Vec<_> = (0..columns).map(|column| self.is_number(column)).collect();
        let mut text = String::new();
        for (number, row) in self.0.iter().enumerate() {
            for (column, width) in widths.iter().enumerate() {
                let cell = row.get(column).map_or("", String::as_str);
                text += &if is_number[column] {
                    format!("| {cell:>width$} ")
                } else {
                    format!("| {cell:<width$} ")
                };
            }
            text += "|\n";
            if number == 0 {
                for (width, is_number) in widths.iter().zip(&is_number) {
                    let (dashes, end) = ("-".repeat(width + 1), if *is_number { ":" } else { "-" });
                    text += &format!("|{dashes}{end}");
                }
                text += "|\n";
            }
        }
        text
    }

    /// Whether the cells below the head begin with a digit or a sign and a digit, most of them.
    fn is_number(&self, column: usize) -> bool {
        let cells = self.0.iter().skip(1).filter_map(|row| row.get(column));
        let cells: Vec<_> = cells.filter(|cell| *cell != "–").collect();
        let is_number = |cell: &&&String| {
            cell.trim_start_matches(['-', '+']).starts_with(|first: char| first.is_ascii_digit())
        };
        !cells.is_empty() && cells.iter().filter(is_number).count() * 2 > cells.len()
    }
}

/// A number with three significant digits, or all of those before the point.
pub(crate) fn number(value: f64) -> String {
    let digits = match value.abs() {
        small if small < 9.995 => 2,
        middle if middle < 99.95 => 1,
        _ => 0,
    };
    let text = format!("{value:.digits$}");
    let (whole, rest) =
        text.split_once('.').map_or((text.as_str(), ""), |(whole, rest)| (whole, rest));
    let (sign, digits) = whole.strip_prefix('-').map_or(("", whole), |digits| ("-", digits));
    let grouped = grouped(digits);
    if rest.is_empty() { format!("{sign}{grouped}") } else { format!("{sign}{grouped}.{rest}") }
}

/// A number of things.
pub(crate) fn whole(number: u64) -> String {
    grouped(&number.to_string())
}

fn grouped(digits: &str) -> String {
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// A ratio, or a dash where there is none.
pub(crate) fn times(ratio: Option<f64>) -> String {
    ratio.map_or_else(|| "–".to_owned(), |ratio| format!("{} ×", number(ratio)))
}

/// The table of one workload.
pub(crate) fn comparison(of: &Comparison) -> String {
    let mut head = vec!["", "best ns", "median ns", "spread"];
    match of.unit {
        Unit::Nanoseconds => {}
        Unit::MegabytesPerSecond => head.push("MB/s"),
        Unit::PerSecond => head.push("per second"),
    }
    head.extend(["added ns", "× floor", "× bpftrace", "count"]);
    let mut table = Table::new(&head);
    for row in &of.rows {
        table.add(cells(of, row, head.len()));
    }
    table.render()
}

fn cells(of: &Comparison, row: &Row, columns: usize) -> Vec<String> {
    let mut cells = vec![row.contender.name().to_owned()];
    let Some(figures) = &row.figures else {
        cells.resize(columns - 1, "–".to_owned());
        let reason = row.absent.as_deref().unwrap_or("not asked for");
        cells.push(format!("absent: {}", reason.replace('|', "/")));
        return cells;
    };
    cells.push(number(figures.best));
    cells.push(number(figures.median));
    cells.push(format!("{:.0} %", figures.spread * 100.0));
    match of.unit {
        Unit::Nanoseconds => {}
        Unit::MegabytesPerSecond => cells.push(number(of.bytes_per_call * 1e3 / figures.best)),
        Unit::PerSecond => cells.push(number(1e9 / figures.best)),
    }
    let is_native = row.contender == Contender::Native;
    let added = of.added(row.contender).filter(|_| !is_native);
    cells.push(added.map_or_else(|| "–".to_owned(), number));
    for base in [Contender::Floor, Contender::Bpftrace] {
        cells.push(times(of.added_ratio(row.contender, base).filter(|_| !is_native)));
    }
    let mut count = row.count.to_string();
    if let Some(reason) = &row.absent {
        count += &format!("; only {} rounds: {}", figures.rounds, reason.replace('|', "/"));
    }
    cells.push(count);
    cells
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::rounds::tests::comparison as made_of;

    #[test]
    fn columns_are_aligned_and_numbers_stand_to_the_right() {
        let mut table = Table::new(&["who", "ns"]);
        table.add(vec!["native".into(), "7".into()]);
        table.add(vec!["tracer ×".into(), "1,300".into()]);
        assert_eq!(
            table.render(),
            "| who      |    ns |\n|----------|------:|\n\
             | native   |     7 |\n| tracer × | 1,300 |\n"
        );
    }

    #[test]
    fn numbers_have_three_digits_and_groups() {
        let shown = [0.0, 0.254, 9.996, 41.26, 99.96, 436.4, 56_500.0, 1_234_567.0, -12.34];
        let expected =
            ["0.00", "0.25", "10.0", "41.3", "100", "436", "56,500", "1,234,567", "-12.3"];
        assert_eq!(shown.map(number), expected);
        assert_eq!([0, 999, 1_000, 50_000].map(whole), ["0", "999", "1,000", "50,000"]);
    }

    #[test]
    fn a_comparison_shows_cost_ratios_and_who_is_absent() {
        let mut of = made_of(
            "write32",
            &[(Contender::Native, 300.0), (Contender::Floor, 400.0), (Contender::Tracer, 450.0)],
        );
        of.miss(Contender::Bpftrace, "bpftrace is not installed".into());
        let text = comparison(&of);
        let row = |name: &str| {
            let line = text.lines().find(|line| line.starts_with(&format!("| {name} "))).unwrap();
            line.split('|').map(str::trim).collect::<Vec<_>>()
        };
        assert_eq!(row("tracer")[2..9], ["450", "450", "0 %", "150", "1.50 ×", "–", "exact"]);
        assert_eq!(row("native")[5..8], ["–", "–", "–"]);
        assert_eq!(row("bpftrace")[8], "absent: bpftrace is not installed");
    }

    #[test]
    fn bytes_and_calls_are_shown_per_second() {
        let mut of = made_of("pipe4k", &[(Contender::Native, 1000.0)]);
        of.unit = Unit::MegabytesPerSecond;
        of.bytes_per_call = 4096.0;
        assert!(comparison(&of).contains("| 4,096 |"), "{}", comparison(&of));
        of.unit = Unit::PerSecond;
        assert!(comparison(&of).contains("1,000,000 |"), "{}", comparison(&of));
    }
}
