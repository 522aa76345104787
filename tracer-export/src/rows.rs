//! The rows of an export, `tracer.export/1`: SCHEMA.md describes them.

use tracer_history::{Entry, Gap, Stream};

use crate::table::{
    Column,
    Kind::{Bool, Number, Text, Time},
    Value,
};

/// Name and version of the schema.
pub(crate) const SCHEMA: &str = "tracer.export/1";

/// The columns of a row for a command and one of its streams.
pub(crate) const STREAMS: [Column; 35] = [
    Column::new("node", Text),
    Column::new("ended", Time),
    Column::new("began", Time),
    Column::new("is_interim", Bool),
    Column::new("is_first", Bool),
    Column::new("pid", Number),
    Column::new("ns_pid", Number),
    Column::new("name", Text),
    Column::new("command", Text),
    Column::optional("exit_code", Number),
    Column::optional("signal", Number),
    Column::new("cgroup", Text),
    Column::optional("engine", Text),
    Column::optional("container_id", Text),
    Column::optional("container", Text),
    Column::optional("image", Text),
    Column::optional("namespace", Text),
    Column::optional("pod", Text),
    Column::optional("unit", Text),
    Column::optional("fd", Number),
    Column::optional("stream", Text),
    Column::optional("bytes", Number),
    Column::optional("delivered", Number),
    Column::optional("lost", Number),
    Column::optional("discarded", Number),
    Column::optional("unknown", Number),
    Column::optional("refused", Number),
    Column::optional("destination", Text),
    Column::optional("outcome", Text),
    Column::optional("reader", Text),
    Column::new("rule", Text),
    Column::new("severity", Text),
    Column::new("confidence", Text),
    Column::new("sentence", Text),
    Column::new("has_loss", Bool),
];

/// The columns of a gap.
pub(crate) const GAPS: [Column; 7] = [
    Column::new("node", Text),
    Column::new("began", Time),
    Column::new("ended", Time),
    Column::new("reason", Text),
    Column::optional("events", Number),
    Column::optional("bytes", Number),
    Column::optional("container", Text),
];

/// Gives the rows of a command to `take`: one for each stream, or one without a stream.
pub(crate) fn of_entry<E>(
    node: &str,
    entry: &Entry,
    mut take: impl FnMut(&[Value<'_>]) -> Result<(), E>,
) -> Result<(), E> {
    if entry.streams.is_empty() {
        return take(&row(node, entry, true, None));
    }
    entry
        .streams
        .iter()
        .enumerate()
        .try_for_each(|(index, stream)| take(&row(node, entry, index == 0, Some(stream))))
}

fn row<'a>(
    node: &'a str,
    entry: &'a Entry,
    is_first: bool,
    stream: Option<&'a Stream>,
) -> [Value<'a>; STREAMS.len()] {
    let number = |number: Option<u64>| number.map_or(Value::Null, Value::count);
    let place = &entry.place;
    let fate = stream.and_then(|stream| stream.fate);
    [
        Value::Text(node),
        Value::Number(entry.ended_us),
        Value::Number(entry.began_us),
        Value::Bool(entry.is_interim),
        Value::Bool(is_first),
        Value::count(entry.pid.into()),
        Value::count(entry.ns_pid.into()),
        Value::Text(&entry.name),
        Value::Text(&entry.command),
        number(entry.exit_code.map(u64::from)),
        number(entry.signal.map(u64::from)),
        Value::Text(&place.cgroup),
        Value::text(place.engine.as_deref()),
        Value::text(place.container_id.as_deref()),
        Value::text(place.container.as_deref()),
        Value::text(place.image.as_deref()),
        Value::text(place.namespace.as_deref()),
        Value::text(place.pod.as_deref()),
        Value::text(place.unit.as_deref()),
        stream.map_or(Value::Null, |stream| Value::Number(stream.fd.into())),
        Value::text(stream.and_then(|stream| name_of(stream.fd))),
        number(stream.map(|stream| stream.bytes)),
        number(fate.map(|fate| fate.delivered)),
        number(fate.map(|fate| fate.lost)),
        number(fate.map(|fate| fate.discarded)),
        number(fate.map(|fate| fate.unknown)),
        number(fate.map(|fate| fate.refused)),
        Value::text(stream.map(|stream| &*stream.destination)),
        Value::text(stream.map(|stream| &*stream.outcome)),
        Value::text(stream.and_then(|stream| stream.reader.as_deref())),
        Value::Text(&entry.rule),
        Value::Text(&entry.severity),
        Value::Text(&entry.confidence),
        Value::Text(&entry.sentence),
        Value::Bool(entry.has_loss),
    ]
}

const fn name_of(fd: i32) -> Option<&'static str> {
    match fd {
        0 => Some("stdin"),
        1 => Some("stdout"),
        2 => Some("stderr"),
        _ => None,
    }
}

/// The row of a gap. The history has 0 for a number that is not known.
pub(crate) fn of_gap<'a>(node: &'a str, gap: &'a Gap) -> [Value<'a>; GAPS.len()] {
    let number = |number: u64| if number == 0 { Value::Null } else { Value::count(number) };
    [
        Value::Text(node),
        Value::Number(gap.from_us),
        Value::Number(gap.until_us),
        Value::Text(&gap.reason),
        number(gap.events),
        number(gap.bytes),
        Value::text(gap.container.as_deref()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(columns: &[Column], row: &[Value<'_>]) {
        for (column, value) in columns.iter().zip(row) {
            let fits = match value {
                Value::Null => column.is_optional,
                Value::Bool(_) => column.kind == Bool,
                Value::Number(_) => matches!(column.kind, Number | Time),
                Value::Text(_) => column.kind == Text,
            };
            assert!(fits, "{}: {value:?}", column.name);
        }
    }

    #[test]
    fn each_value_is_of_its_column() {
        let whole = Stream {
            fd: 1,
            bytes: 5,
            reader: Some("r".into()),
            fate: Some(tracer_history::Fate::default()),
            ..Stream::default()
        };
        let old = Stream { fd: 7, ..Stream::default() };
        let entry = Entry { streams: vec![whole, old], ..Entry::default() };
        let mut rows = 0;
        let mut check = |row: &[Value<'_>]| -> Result<(), ()> {
            rows += 1;
            fits(&STREAMS, row);
            Ok(())
        };
        of_entry("n", &entry, &mut check).unwrap();
        of_entry("n", &Entry::default(), &mut check).unwrap();
        assert_eq!(rows, 3);
        fits(&GAPS, &of_gap("n", &Gap::default()));
        let counted = Gap { events: 1, bytes: 1, container: Some("c".into()), ..Gap::default() };
        fits(&GAPS, &of_gap("n", &counted));
    }
}
