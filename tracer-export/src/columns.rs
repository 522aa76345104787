//! The values of a column that wait for their row group.

use std::collections::HashMap;

use bytes::Bytes;
use parquet::{
    data_type::{BoolType, ByteArray, ByteArrayType, DataType, Int64Type},
    errors::Result,
    file::writer::SerializedColumnWriter,
};

use crate::table::{Column, Kind, Value};

/// Values that are handed to the library at once.
const BATCH: usize = 1024;

/// The values of a column.
pub(crate) struct Waiting {
    /// For each row 1, or 0 for a null (the definition levels of the format); empty without nulls.
    levels: Vec<i16>,
    is_optional: bool,
    values: Values,
}

enum Values {
    Numbers(Vec<i64>),
    Bools(Vec<bool>),
    Texts(Texts),
}

/// Texts, each of which is kept once.
#[derive(Default)]
struct Texts {
    /// Of each value the place in `distinct`.
    places: Vec<u32>,
    distinct: Vec<Bytes>,
    known: HashMap<Bytes, u32>,
}

impl Waiting {
    pub(crate) fn new(column: &Column) -> Self {
        let values = match column.kind {
            Kind::Time | Kind::Number => Values::Numbers(Vec::new()),
            Kind::Bool => Values::Bools(Vec::new()),
            Kind::Text => Values::Texts(Texts::default()),
        };
        Self { levels: Vec::new(), is_optional: column.is_optional, values }
    }

    /// Adds a value. Returns how many bytes of texts that takes.
    pub(crate) fn add(&mut self, value: Value<'_>) -> usize {
        if self.is_optional {
            self.levels.push(i16::from(value != Value::Null));
        }
        match (&mut self.values, value) {
            (Values::Numbers(numbers), Value::Number(number)) => numbers.push(number),
            (Values::Bools(bools), Value::Bool(value)) => bools.push(value),
            (Values::Texts(texts), Value::Text(text)) => return texts.add(text),
            (_, value) => debug_assert!(self.is_optional && value == Value::Null, "{value:?}"),
        }
        0
    }

    /// Writes the values, and forgets them.
    pub(crate) fn write(&mut self, column: &mut SerializedColumnWriter<'_>) -> Result<()> {
        let levels = self.is_optional.then_some(&*self.levels);
        match &mut self.values {
            Values::Numbers(numbers) => {
                put::<Int64Type, _>(column, levels, numbers, |number| *number)?;
                numbers.clear();
            }
            Values::Bools(bools) => {
                put::<BoolType, _>(column, levels, bools, |value| *value)?;
                bools.clear();
            }
            Values::Texts(texts) => {
                let Texts { places, distinct, .. } = &texts;
                put::<ByteArrayType, _>(column, levels, places, |place| {
                    let text = distinct.get(*place as usize).cloned();
                    ByteArray::from(text.unwrap_or_default())
                })?;
                *texts = Texts::default();
            }
        }
        self.levels.clear();
        Ok(())
    }
}

impl Texts {
    fn add(&mut self, text: &str) -> usize {
        if let Some(place) = self.known.get(text.as_bytes()) {
            self.places.push(*place);
            return 0;
        }
        let bytes = Bytes::copy_from_slice(text.as_bytes());
        // A row group has fewer rows.
        let place = u32::try_from(self.distinct.len()).unwrap_or(u32::MAX);
        self.places.push(place);
        self.distinct.push(bytes.clone());
        self.known.insert(bytes, place);
        text.len()
    }
}

/// Writes values in batches, so that few of them exist twice.
fn put<T: DataType, V>(
    column: &mut SerializedColumnWriter<'_>,
    levels: Option<&[i16]>,
    values: &[V],
    convert: impl Fn(&V) -> T::T,
) -> Result<()> {
    let writer = column.typed::<T>();
    let mut values = values.iter();
    let mut batch = Vec::with_capacity(BATCH);
    let mut write = |number: usize, levels: Option<&[i16]>| {
        batch.clear();
        batch.extend(values.by_ref().take(number).map(&convert));
        writer.write_batch(&batch, levels, None).map(|_| batch.len())
    };
    match levels {
        Some(levels) => levels.chunks(BATCH).try_for_each(|levels| {
            let number = levels.iter().filter(|level| **level == 1).count();
            write(number, Some(levels)).map(drop)
        }),
        None => {
            while write(BATCH, None)? > 0 {}
            Ok(())
        }
    }
}
