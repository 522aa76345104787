//! Reports of recordings that tracer did not write.

use std::{fs, path::PathBuf};

use proptest::prelude::*;
use serde_json::Value;
use tracer_core::recording::read;

use super::super::{Format, Style, View, write};

fn lines(name: &str) -> Vec<String> {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/sessions"));
    let session = fs::read_to_string(folder.join(format!("{name}.session"))).unwrap();
    session.lines().map(str::to_owned).collect()
}

/// Replaces the number at a position of a line.
fn replace_number(value: &mut Value, at: &mut usize, number: u64) {
    match value {
        Value::Number(_) => {
            if *at == 0 {
                *value = number.into();
            }
            *at = at.wrapping_sub(1);
        }
        Value::Array(items) => items.iter_mut().for_each(|item| replace_number(item, at, number)),
        Value::Object(members) => {
            members.values_mut().for_each(|member| replace_number(member, at, number));
        }
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

proptest! {
    #[test]
    fn no_number_however_large_is_a_panic(
        name in prop::sample::select(vec!["refused", "other_stream", "manager", "killed"]),
        changes in prop::collection::vec(
            (1usize..60, 0usize..20, prop::sample::select(vec![
                0, 1, u64::from(u32::MAX), 1 << 50, 1 << 56, 1 << 60, i64::MAX as u64, u64::MAX,
            ])), 1..30),
    ) {
        let mut lines = lines(name);
        for (line, at, number) in changes {
            let count = lines.len();
            let line = &mut lines[line % count];
            let mut value: Value = serde_json::from_str(line).unwrap();
            replace_number(&mut value, &mut at.clone(), number);
            *line = value.to_string();
        }
        if let Ok(recording) = read((lines.join("\n") + "\n").as_bytes(), u64::MAX) {
            let style = Style { color: false, width: 80 };
            let (report, _) = recording.report();
            for all in [true, false] {
                let view = View { all, ..View::default() };
                write(&report, Format::Human, &view, &style, &mut Vec::new()).unwrap();
            }
            for format in [Format::Html, Format::Dot, Format::Mermaid] {
                write(&report, format, &View::default(), &style, &mut Vec::new()).unwrap();
            }
        }
    }
}
