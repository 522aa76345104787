//! Aligned Markdown tables and their numbers, for the terminal and for documents.

/// The cells of a table; the first row is the head.
#[derive(Debug)]
pub(crate) struct Table(Vec<Vec<String>>);

impl Table {
    /// A table with this head.
    pub(crate) fn new(head: &[&str]) -> Self {
        Self(vec![head.iter().map(|cell| (*cell).to_owned()).collect()])
    }

    /// Adds a row.
    pub(crate) fn add(&mut self, row: Vec<String>) {
        self.0.push(row);
    }

    /// The table in Markdown. Columns of numbers are aligned to the right.
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

    /// Whether most cells below the head begin with a digit, or with a sign and a digit.
    fn is_number(&self, column: usize) -> bool {
        let cells = self.0.iter().skip(1).filter_map(|row| row.get(column));
        let cells: Vec<_> = cells.filter(|cell| *cell != "–").collect();
        let is_number = |cell: &&&String| {
            cell.trim_start_matches(['-', '+']).starts_with(|first: char| first.is_ascii_digit())
        };
        !cells.is_empty() && cells.iter().filter(is_number).count() * 2 > cells.len()
    }
}

/// Formats a number with three significant digits, but never rounds digits before the point.
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

/// Formats a number with one digit after the point; a dash for `None`.
pub(crate) fn tenths(value: Option<f64>) -> String {
    let Some(value) = value else { return "–".to_owned() };
    let text = format!("{value:.1}");
    let (sign, digits) = text.strip_prefix('-').map_or(("", text.as_str()), |rest| ("-", rest));
    let (whole, tenth) = digits.split_once('.').unwrap_or((digits, "0"));
    format!("{sign}{}.{tenth}", grouped(whole))
}

/// Formats a count, with commas between thousands.
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

/// Formats a ratio; a dash for `None`.
pub(crate) fn times(ratio: Option<f64>) -> String {
    ratio.map_or_else(|| "–".to_owned(), |ratio| format!("{} ×", number(ratio)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_numbers_to_the_right() {
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
        let tenths = [Some(1041.44), Some(0.06), Some(-7.0), None].map(tenths);
        assert_eq!(tenths, ["1,041.4", "0.1", "-7.0", "–"]);
        assert_eq!([0, 999, 1_000, 50_000].map(whole), ["0", "999", "1,000", "50,000"]);
    }
}
