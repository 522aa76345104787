//! Compares `SCHEMA.md` with the code: every field, line type and reason, and the example.

use std::collections::BTreeSet;

use serde_json::Value;
use tracer_core::{
    report::{Report, SCHEMA},
    session::LossReason,
    verdict::{Outcome, RedirectedBy},
};

use super::{
    super::{Format, View, left_out_json},
    PLAIN, rendered, samples,
};

const PAGE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../SCHEMA.md"));

fn example() -> Value {
    let (_, after) = PAGE.split_once("```json\n").unwrap();
    let (json, _) = after.split_once("```").unwrap();
    serde_json::from_str(json).unwrap()
}

/// First cells, in backquotes, of the rows of every table whose first column has this name.
fn first_cells(column: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut inside = false;
    for line in PAGE.lines() {
        if !line.starts_with('|') {
            inside = false;
        } else if line.starts_with(&format!("| {column} |")) {
            inside = true;
        } else if inside && let Some(name) = line.split('`').nth(1) {
            names.insert(name.to_owned());
        }
    }
    names
}

/// Every field below a value, as the tables name it.
fn fields(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            let is_map = ["errors", "evidence", "losses", "lost_bytes", "environment"]
                .iter()
                .any(|name| path.ends_with(name));
            for (name, member) in members {
                let name = if is_map { "*" } else { name };
                let inner =
                    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
                fields(member, &inner, found);
                found.insert(inner);
            }
        }
        Value::Array(items) => {
            items.iter().for_each(|item| fields(item, &format!("{path}[]"), found));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn the_example_is_a_report_with_every_field_and_no_other() {
    let report: Report = serde_json::from_value(example()).unwrap();
    assert_eq!(report.schema, SCHEMA);
    assert_eq!(serde_json::to_value(report).unwrap(), example());
}

#[test]
fn the_tables_name_every_field_and_no_other() {
    let mut found = BTreeSet::new();
    fields(&example(), "", &mut found);
    assert_eq!(first_cells("field"), found);
}

#[test]
fn the_tables_name_every_reason_and_no_other() {
    let reasons: BTreeSet<String> = LossReason::all().map(String::from).collect();
    assert_eq!(first_cells("reason (open)"), reasons);
}

#[test]
fn the_tables_name_every_outcome_and_every_way_to_redirect() {
    let name = |text: &Value| text.as_str().unwrap().to_owned();
    let names = |list: Value| list.as_array().unwrap().iter().map(name).collect();
    let outcomes: BTreeSet<String> = names(serde_json::to_value(Outcome::ALL).unwrap());
    assert_eq!(first_cells("outcome (open)"), outcomes);
    let ways: BTreeSet<String> = names(serde_json::to_value(RedirectedBy::ALL).unwrap());
    assert_eq!(first_cells("redirected_by (open)"), ways);
}

#[test]
fn the_tables_name_every_line_type_and_no_other() {
    let report: Report = serde_json::from_value(example()).unwrap();
    let lines = rendered(&report, Format::Ndjson, &View::default(), &PLAIN);
    let types: BTreeSet<String> = lines
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .map(|line| line["type"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(first_cells("type (open)"), types);
}

#[test]
fn the_table_names_every_line_while_a_trace_runs_and_its_fields() {
    let left_out = String::from_utf8(left_out_json(7)).unwrap();
    let lines = samples::live::events().into_iter().map(|event| event.json().unwrap());
    let lines = lines.map(|line| String::from_utf8(line).unwrap()).chain([left_out]);
    let mut types = BTreeSet::new();
    for line in lines {
        let line: Value = serde_json::from_str(&line).unwrap();
        let (kind, members) = (line["type"].as_str().unwrap(), line.as_object().unwrap());
        let fields: BTreeSet<&str> = members.keys().map(String::as_str).collect();
        let row = PAGE.lines().find(|row| row.starts_with(&format!("| `{kind}` |"))).unwrap();
        let cell = row.split('|').nth(3).unwrap();
        let named = cell.split('`').skip(1).step_by(2).chain(["type", "schema"]).collect();
        assert_eq!(fields, named, "{kind}");
        types.insert(kind.to_owned());
    }
    assert_eq!(first_cells("type while it runs (open)"), types);
}

#[test]
fn a_report_is_the_same_after_json() {
    for report in
        [samples::delivered(), samples::never_wrote(), samples::unread(), samples::captured()]
    {
        let text = rendered(&report, Format::Json, &View::default(), &PLAIN);
        assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report);
    }
}

#[test]
fn a_document_is_the_report_as_it_is_written_whole() {
    for report in [samples::delivered(), samples::unread(), samples::tree(), samples::captured()] {
        let whole = serde_json::to_string_pretty(&report).unwrap();
        let whole = format!("{}\n", whole.replace('\u{202e}', r"\u202e"));
        assert_eq!(rendered(&report, Format::Json, &View::default(), &PLAIN), whole);
    }
}
