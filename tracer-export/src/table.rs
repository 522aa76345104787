//! Tables as both formats know them: columns, rows, and what takes the rows.

use std::io;

use parquet::errors::ParquetError;

/// What a column has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A time in µs since 1970, UTC.
    Time,
    /// Yes or no.
    Bool,
    /// An integer.
    Number,
    /// UTF-8.
    Text,
}

/// A column of a table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// Whether its values may be null.
    pub(crate) is_optional: bool,
}

impl Column {
    /// A column without nulls.
    pub(crate) const fn new(name: &'static str, kind: Kind) -> Self {
        Self { name, kind, is_optional: false }
    }

    /// A column whose values may be null.
    pub(crate) const fn optional(name: &'static str, kind: Kind) -> Self {
        Self { name, kind, is_optional: true }
    }
}

/// A value of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    Null,
    Bool(bool),
    /// An integer, or a time in µs since 1970.
    Number(i64),
    Text(&'a str),
}

impl Value<'_> {
    /// A number. What SQLite can hold fits.
    pub(crate) fn count(number: u64) -> Self {
        Self::Number(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl<'a> Value<'a> {
    /// A text, or null.
    pub(crate) fn text(text: Option<&'a str>) -> Self {
        text.map_or(Self::Null, Value::Text)
    }
}

/// What takes the rows of a table.
pub(crate) trait Sink {
    /// Takes a row: a value for each column, in the order of the columns.
    fn row(&mut self, row: &[Value<'_>]) -> io::Result<()>;

    /// Writes what is still to be written.
    fn finish(self: Box<Self>) -> io::Result<()>;
}

/// The system's error inside of an error of the library, which keeps the kind: a full disk, a closed pipe.
pub(crate) fn to_io(error: ParquetError) -> io::Error {
    match error {
        ParquetError::External(source) => match source.downcast::<io::Error>() {
            Ok(error) => *error,
            Err(source) => io::Error::other(source.to_string()),
        },
        error => io::Error::other(error.to_string()),
    }
}
