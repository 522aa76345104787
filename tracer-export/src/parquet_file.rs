//! Rows as a Parquet file. Its memory is that of one row group.

use std::{
    io::{self, Write},
    sync::Arc,
};

use parquet::{
    basic::{Compression, Encoding, ZstdLevel},
    errors::{ParquetError, Result},
    file::{
        metadata::KeyValue,
        properties::{WriterProperties, WriterPropertiesBuilder},
        writer::SerializedFileWriter,
    },
    schema::{
        parser::parse_message_type,
        types::{ColumnPath, Type},
    },
};

use crate::{
    columns::Waiting,
    rows::SCHEMA,
    table::{Column, Kind, Sink, Value, to_io},
};

/// The most rows of a row group: about what DuckDB (122,880) and others read by one thread.
const GROUP_ROWS: usize = 131_072;
/// Bytes of different texts after which a row group ends earlier.
const GROUP_BYTES: usize = 32 << 20;

/// Writes Parquet.
pub(crate) struct ParquetFile<W: Write + Send> {
    writer: SerializedFileWriter<W>,
    waiting: Vec<Waiting>,
    rows: usize,
    bytes: usize,
}

impl<W: Write + Send> ParquetFile<W> {
    /// Begins a file. It names the schema and the machine.
    pub(crate) fn new(columns: &'static [Column], node: &str, out: W) -> io::Result<Self> {
        let begin = || {
            let properties = Arc::new(properties(columns, node)?.build());
            SerializedFileWriter::new(out, schema(columns)?, properties)
        };
        Ok(Self {
            writer: begin().map_err(to_io)?,
            waiting: columns.iter().map(Waiting::new).collect(),
            rows: 0,
            bytes: 0,
        })
    }

    fn write_group(&mut self) -> Result<()> {
        let mut group = self.writer.next_row_group()?;
        for waiting in &mut self.waiting {
            let missing = || ParquetError::General("a column is missing".into());
            let mut column = group.next_column()?.ok_or_else(missing)?;
            waiting.write(&mut column)?;
            column.close()?;
        }
        group.close()?;
        (self.rows, self.bytes) = (0, 0);
        Ok(())
    }
}

impl<W: Write + Send> Sink for ParquetFile<W> {
    fn row(&mut self, row: &[Value<'_>]) -> io::Result<()> {
        for (waiting, value) in self.waiting.iter_mut().zip(row) {
            self.bytes += waiting.add(*value);
        }
        self.rows += 1;
        if self.rows >= GROUP_ROWS || self.bytes >= GROUP_BYTES {
            return self.write_group().map_err(to_io);
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> io::Result<()> {
        if self.rows > 0 {
            self.write_group().map_err(to_io)?;
        }
        self.writer.finish().map_err(to_io)?;
        self.writer.inner_mut().flush()
    }
}

fn properties(columns: &[Column], node: &str) -> Result<WriterPropertiesBuilder> {
    let pair = |key: &str, value: &str| KeyValue::new(key.to_owned(), value.to_owned());
    let mut properties = WriterProperties::builder()
        .set_created_by(concat!("tracer-export version ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(3)?))
        .set_key_value_metadata(Some(vec![pair("schema", SCHEMA), pair("node", node)]));
    // Times are all different and near to each other.
    for column in columns.iter().filter(|column| column.kind == Kind::Time) {
        let path = ColumnPath::from(column.name);
        properties = properties
            .set_column_dictionary_enabled(path.clone(), false)
            .set_column_encoding(path, Encoding::DELTA_BINARY_PACKED);
    }
    Ok(properties)
}

/// The schema in the language of `parquet-format`'s message types.
fn schema(columns: &[Column]) -> Result<Arc<Type>> {
    let mut text = "message tracer {\n".to_owned();
    for Column { name, kind, is_optional } in columns {
        let presence = if *is_optional { "optional" } else { "required" };
        let (physical, logical) = match kind {
            Kind::Time => ("int64", " (TIMESTAMP(MICROS,true))"),
            Kind::Bool => ("boolean", ""),
            Kind::Number => ("int64", ""),
            Kind::Text => ("binary", " (STRING)"),
        };
        text += &format!("  {presence} {physical} {name}{logical};\n");
    }
    parse_message_type(&(text + "}")).map(Arc::new)
}
