//! One indented document. Its long lists are serialised on all CPUs: for a tree with tens of thousands of processes,
//! serialisation takes most of the time between the end of a trace and its report.

use std::{io, thread};

use serde::Serialize;
use serde_json::ser::{Formatter as _, PrettyFormatter, Serializer};
use tracer_core::{parallel::InOrder, text::json::Harmless};

type Pretty = Harmless<PrettyFormatter<'static>>;

/// How many elements are serialised together.
const PIECE: usize = 128;

/// A document that is being written: an object, member by member.
pub(super) struct Document<W> {
    out: W,
    formatter: Pretty,
    is_empty: bool,
}

impl<W: io::Write> Document<W> {
    /// Begins the object.
    pub(super) fn begin(mut out: W) -> io::Result<Self> {
        let mut formatter = Harmless(PrettyFormatter::new());
        formatter.begin_object(&mut out)?;
        Ok(Self { out, formatter, is_empty: true })
    }

    /// Writes a member.
    pub(super) fn member(&mut self, name: &str, value: &impl Serialize) -> io::Result<()> {
        self.name(name)?;
        value.serialize(&mut Serializer::with_formatter(&mut self.out, inside(1)?))?;
        self.formatter.end_object_value(&mut self.out)
    }

    /// Writes a member that is a list.
    pub(super) fn list<T: Serialize + Sync>(&mut self, name: &str, list: &[T]) -> io::Result<()> {
        self.name(name)?;
        self.formatter.begin_array(&mut self.out)?;
        let mut is_first = true;
        side_by_side(list, |text| {
            self.formatter.begin_array_value(&mut self.out, std::mem::take(&mut is_first))?;
            self.out.write_all(text)?;
            self.formatter.end_array_value(&mut self.out)
        })?;
        self.formatter.end_array(&mut self.out)?;
        self.formatter.end_object_value(&mut self.out)
    }

    /// Ends the object and the line.
    pub(super) fn end(mut self) -> io::Result<()> {
        self.formatter.end_object(&mut self.out)?;
        self.out.write_all(b"\n")?;
        self.out.flush()
    }

    fn name(&mut self, name: &str) -> io::Result<()> {
        let (formatter, out) = (&mut self.formatter, &mut self.out);
        formatter.begin_object_key(out, std::mem::take(&mut self.is_empty))?;
        name.serialize(&mut Serializer::with_formatter(&mut *out, inside(0)?))?;
        formatter.end_object_key(out)?;
        formatter.begin_object_value(out)
    }
}

/// The indentation inside this many objects and lists.
fn inside(depth: u32) -> io::Result<Pretty> {
    let mut formatter = Harmless(PrettyFormatter::new());
    for _ in 0..depth {
        formatter.begin_object(&mut io::sink())?;
    }
    Ok(formatter)
}

/// Texts of several elements, one after another, and where each ends.
type Texts = (Vec<u8>, Vec<usize>);

/// Serialises elements on all CPUs, and calls `write` with the text of each in their order.
fn side_by_side<T: Serialize + Sync>(
    list: &[T],
    mut write: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    if list.len() <= PIECE {
        return each(texts(list)?, write);
    }
    thread::scope(|scope| {
        let mut made = InOrder::new(scope, texts::<T>);
        let mut pieces = list.chunks(PIECE);
        loop {
            while made.has_room()
                && let Some(piece) = pieces.next()
            {
                made.give(piece);
            }
            let Some(piece) = made.take() else { return Ok(()) };
            each(piece?, &mut write)?;
        }
    })
}

fn each((texts, ends): Texts, mut write: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    let mut start = 0;
    for end in ends {
        write(texts.get(start..end).unwrap_or_default())?;
        start = end;
    }
    Ok(())
}

fn texts<T: Serialize>(elements: &[T]) -> serde_json::Result<Texts> {
    let (mut texts, mut ends) = (Vec::new(), Vec::with_capacity(elements.len()));
    for element in elements {
        let formatter = inside(2).map_err(serde_json::Error::io)?;
        element.serialize(&mut Serializer::with_formatter(&mut texts, formatter))?;
        ends.push(texts.len());
    }
    Ok((texts, ends))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn it_is_what_it_would_be_in_one_piece() {
        let element = |number: usize| json!({"n": number, "list": [[], {}, "x"], "none": null});
        for length in [0, 1, PIECE, 3 * PIECE + 1, 40 * PIECE] {
            let list: Vec<Value> = (0..length).map(element).collect();
            let mut out = Vec::new();
            let mut document = Document::begin(&mut out).unwrap();
            document.member("before", &json!({"a": [1, 2]})).unwrap();
            document.list("list", &list).unwrap();
            document.member("after", &"text").unwrap();
            document.end().unwrap();
            // There, members are in alphabetical order.
            let text = String::from_utf8(out).unwrap();
            let value: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(value, json!({"before": {"a": [1, 2]}, "list": list, "after": "text"}));
            let alone = serde_json::to_string_pretty(&json!({"list": list})).unwrap();
            let body = alone.trim_start_matches("{\n").trim_end_matches("\n}");
            assert!(text.contains(body), "{length}");
        }
    }

    #[test]
    fn a_document_that_cannot_be_written_says_so() {
        struct Full;
        impl io::Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let out = io::BufWriter::with_capacity(4096, Full);
        let mut document = Document::begin(out).unwrap();
        let error = document.list("list", &vec!["text"; 100 * PIECE]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }
}
