//! JSON that is safe on a terminal: serde_json escapes only C0 control characters.

use std::io::{self, BufWriter, Write};

use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter, Serializer};

use crate::text::is_hazard;

/// Size of the buffer in bytes: serde_json writes pieces of a few bytes.
const BUFFER: usize = 32 << 10;

/// A formatter that also escapes each character that could do harm on a terminal. The JSON keeps its meaning.
pub struct Harmless<F>(pub F);

impl<F: Formatter> Formatter for Harmless<F> {
    /// Writes a part of a string in which JSON itself needs no escape.
    fn write_string_fragment<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        // Fast path for printable ASCII, which is nearly all text.
        if fragment.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            return writer.write_all(fragment.as_bytes());
        }
        let mut rest = fragment;
        while let Some((at, hazard)) = rest.char_indices().find(|(_, each)| is_hazard(*each)) {
            let (before, from) = rest.split_at(at);
            writer.write_all(before.as_bytes())?;
            for unit in hazard.encode_utf16(&mut [0; 2]) {
                write!(writer, "\\u{unit:04x}")?;
            }
            rest = from.get(hazard.len_utf8()..).unwrap_or_default();
        }
        writer.write_all(rest.as_bytes())
    }

    fn begin_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_array(writer)
    }

    fn end_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_array(writer)
    }

    fn end_array_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_array_value(writer)
    }

    fn begin_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_object(writer)
    }

    fn end_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_object(writer)
    }

    fn end_object_key<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_object_key(writer)
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_object_value(writer)
    }

    fn end_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_object_value(writer)
    }

    fn begin_array_value<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        self.0.begin_array_value(writer, first)
    }

    fn begin_object_key<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        self.0.begin_object_key(writer, first)
    }
}

/// Writes a value as one line of JSON that is safe on a terminal, whatever its strings hold.
///
/// # Errors
/// Errors of `out`; a part of the line may already be written.
pub fn harmless_line(value: &impl Serialize, out: impl Write) -> io::Result<()> {
    let mut out = BufWriter::with_capacity(BUFFER, out);
    value.serialize(&mut Serializer::with_formatter(&mut out, Harmless(CompactFormatter)))?;
    out.write_all(b"\n")?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use serde_json::ser::PrettyFormatter;

    use super::*;

    fn written<F: Formatter>(value: &serde_json::Value, formatter: F) -> String {
        let mut out = Vec::new();
        value.serialize(&mut Serializer::with_formatter(&mut out, formatter)).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn harmful_characters_are_escaped_and_keep_their_meaning() {
        let text = "a\u{9b}31m\u{202e}\u{e0041}\u{7f}\n\"é日";
        let value = serde_json::json!([text]);
        let shown = written(&value, Harmless(CompactFormatter));
        let expected = r#"["a\u009b31m\u202e\udb40\udc41\u007f\n\"é日"]"#;
        assert_eq!(shown, expected);
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), value);
    }

    #[test]
    fn other_json_is_unchanged() {
        let value = serde_json::json!({"a": [1, -2.5, null, true, {}], "b": {"c": []}, "d": "x"});
        let pretty = serde_json::to_string_pretty(&value).unwrap();
        assert_eq!(written(&value, Harmless(PrettyFormatter::new())), pretty);
        let compact = serde_json::to_string(&value).unwrap();
        assert_eq!(written(&value, Harmless(CompactFormatter)), compact);
    }
}
