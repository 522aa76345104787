//! Rows as JSON objects, one a line. The keys are the columns; a key with null is left in, so that all lines have the same.

use std::io::{self, BufWriter, Write};

use jiff::Timestamp;

use crate::table::{Column, Kind, Sink, Value};

/// Writes NDJSON.
pub(crate) struct Ndjson<W: Write> {
    columns: &'static [Column],
    out: BufWriter<W>,
}

impl<W: Write> Ndjson<W> {
    pub(crate) fn new(columns: &'static [Column], out: W) -> Self {
        Self { columns, out: BufWriter::with_capacity(1 << 17, out) }
    }
}

impl<W: Write> Sink for Ndjson<W> {
    fn row(&mut self, row: &[Value<'_>]) -> io::Result<()> {
        for (index, (column, value)) in self.columns.iter().zip(row).enumerate() {
            let before = if index == 0 { '{' } else { ',' };
            write!(self.out, "{before}\"{}\":", column.name)?;
            match (column.kind, value) {
                (_, Value::Null) => self.out.write_all(b"null")?,
                (_, Value::Bool(value)) => write!(self.out, "{value}")?,
                (Kind::Time, Value::Number(us)) => {
                    let time = Timestamp::from_microsecond(*us).unwrap_or_default();
                    // As exact as in Parquet, and all of the same length.
                    write!(self.out, "\"{time:.6}\"")?;
                }
                (_, Value::Number(number)) => write!(self.out, "{number}")?,
                (_, Value::Text(text)) => serde_json::to_writer(&mut self.out, text)?,
            }
        }
        self.out.write_all(b"}\n")
    }

    fn finish(mut self: Box<Self>) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 4] = [
        Column::new("a", Kind::Time),
        Column::optional("b", Kind::Number),
        Column::new("c", Kind::Text),
        Column::new("d", Kind::Bool),
    ];

    #[test]
    fn a_row_is_a_line() {
        let mut out = Vec::new();
        let mut sink = Box::new(Ndjson::new(&COLUMNS, &mut out));
        let row =
            [Value::Number(1_500_000), Value::Null, Value::Text("x\n\"\0"), Value::Bool(true)];
        sink.row(&row).unwrap();
        sink.finish().unwrap();
        let line = r#"{"a":"1970-01-01T00:00:01.500000Z","b":null,"c":"x\n\"\u0000","d":true}"#;
        assert_eq!(String::from_utf8(out).unwrap(), format!("{line}\n"));
    }
}
