//! Parses one line of a recording. Does not depend on the session, so lines can be parsed in parallel.

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use tracer_common::{event as layout, id::ProcessId};

use super::{
    fast_scan,
    limits::{Head, Limits},
    line::{Checkpoint, End, Loss, Row, StartedHere, kind},
};
use crate::event::{Event, EventKind, Exit, Image, Sighting};

/// A parsed line.
#[derive(Debug)]
pub(super) struct Parsed {
    /// What it uses of the limits.
    pub(super) used: Limits,
    pub(super) line: Line,
}

/// The content of a line.
#[derive(Debug)]
pub(super) enum Line {
    Event(Event),
    StartedHere(StartedHere),
    Survey,
    Row(Row),
    Checkpoint(Checkpoint),
    Loss(Loss),
    End(End),
    /// A type of line or event that this version does not know; it is skipped.
    Unknown,
}

/// Parses a line, or returns an error.
pub(super) fn line(text: &[u8]) -> Result<Parsed, String> {
    // Checks the line once, instead of each string in it.
    let text = std::str::from_utf8(text).map_err(|fault| fault.to_string())?;
    let (used, head) = fast_scan::at(text).map_or_else(|| Limits::of_line(text), Ok)?;
    let line = match head.kind.as_deref().ok_or("it has no `type`")? {
        kind::EVENT => event(text, &head)?,
        kind::STARTED_HERE => Line::StartedHere(body(text)?),
        kind::SURVEY => Line::Survey,
        kind::ROW => Line::Row(body(text)?),
        kind::CHECKPOINT => Line::Checkpoint(body(text)?),
        kind::LOSS => Line::Loss(body(text)?),
        kind::END => Line::End(body(text)?),
        kind::SESSION => return Err("another session begins here".to_owned()),
        _ => Line::Unknown,
    };
    Ok(Parsed { used, line })
}

fn body<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_str(text).map_err(|fault| fault.to_string())
}

fn event(text: &str, head: &Head<'_>) -> Result<Line, String> {
    if let (Some(name), Some(time_ns)) = (&head.event, head.time_ns)
        && let Some(kind) = frequent(text, name)?
    {
        return Ok(Line::Event(Event { time_ns, kind }));
    }
    match body::<Event>(text) {
        Ok(event) => Ok(Line::Event(event)),
        Err(_) if is_unknown_event(text) => Ok(Line::Unknown),
        Err(fault) => Err(fault),
    }
}

/// The members of [`EventKind::Holder`].
#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct HolderLine {
    holder: layout::Holder,
    comm: String,
    sighting: Sighting,
}

/// The members of the variant of the same name.
#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct EnvironmentLine {
    process: ProcessId,
    variables: Vec<(String, String)>,
    cut: bool,
}

/// The members of the variant of the same name.
#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct FirstIoLine {
    first: layout::FirstIo,
    comm: String,
}

/// Parses frequent events directly: for an internally tagged enum, serde builds a tree first. `None` for any other
/// event.
fn frequent(text: &str, name: &str) -> Result<Option<EventKind>, String> {
    Ok(Some(match name {
        "image" => EventKind::Image(body::<Image>(text)?),
        "exit" => EventKind::Exit(body::<Exit>(text)?),
        "holder" => {
            let HolderLine { holder, comm, sighting } = body(text)?;
            EventKind::Holder { holder, comm, sighting }
        }
        "environment" => {
            let EnvironmentLine { process, variables, cut } = body(text)?;
            EventKind::Environment { process, variables, cut }
        }
        "first_io" => {
            let FirstIoLine { first, comm } = body(text)?;
            EventKind::FirstIo { first, comm }
        }
        _ => return Ok(None),
    }))
}

/// Whether an event is of an unknown kind, from a later version. All members of known kinds are optional, so an event
/// with a known name alone is readable.
fn is_unknown_event(text: &str) -> bool {
    let Ok(value) = serde_json::from_str::<Value>(text) else { return false };
    let Some(name @ Value::String(_)) = value.get("event") else { return false };
    let alone = serde_json::json!({ "event": name });
    EventKind::deserialize(&alone).is_err()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directly_parsed_events_equal_those_parsed_by_serde() {
        let lines = [
            r#"{"type":"event","event":"image","time_ns":5,"comm":"sh","process":"7@5"}"#,
            r#"{"type":"event","event":"exit","time_ns":6,"status":256,"sizes":[1,2,3]}"#,
            r#"{"type":"event","event":"holder","time_ns":7,"comm":"a\u0041","sighting":"closed"}"#,
            r#"{"type":"event","event":"environment","time_ns":8,"variables":[["TERM","x"]]}"#,
            r#"{"type":"event","event":"first_io","time_ns":9,"first":{"role":1},"later":{}}"#,
        ];
        for text in lines {
            let Ok(Parsed { line: Line::Event(event), .. }) = line(text.as_bytes()) else {
                panic!("{text}")
            };
            assert_eq!(event, serde_json::from_str::<Event>(text).unwrap());
            let name = serde_json::from_str::<Value>(text).unwrap()["event"].clone();
            assert!(frequent(text, name.as_str().unwrap()).unwrap().is_some());
        }
    }

    #[test]
    fn an_event_without_a_time_is_damaged() {
        assert!(line(br#"{"type":"event","event":"image","comm":"sh"}"#).is_err());
    }
}
