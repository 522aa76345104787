//! The table of a workload's results.

use super::{Comparison, Row, contender::Contender, workload::Unit};
use crate::harness::table::{Table, number, times};

/// The table, in Markdown.
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
    use crate::cost::comparison::tests::comparison as made_of;

    #[test]
    fn a_comparison_shows_cost_ratios_and_absent_contenders() {
        let mut of = made_of(
            "write32",
            &[(Contender::Native, 300.0), (Contender::Floor, 400.0), (Contender::Tracer, 450.0)],
        );
        of.mark_absent(Contender::Bpftrace, "bpftrace is not installed".into());
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
