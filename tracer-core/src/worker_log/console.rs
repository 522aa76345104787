//! zerolog's console form: `3:04PM DBG message name=value name="quoted value" list=["a","b"]`.

use serde_json::Value;

use super::{
    StatementTime, date,
    fields::{Fields, Unreadable},
    quoted,
};

/// The beginning of a console line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Head<'a> {
    /// There is no level at the place where the console form has one.
    NotConsole,
    /// A line at a level that has no statements: the manager's other messages, and output of its guests.
    OtherLevel,
    /// A line that may be a statement. A full date was removed before, as a wrapper.
    Line { level: Level, time: Option<StatementTime>, message_and_fields: &'a str },
}

/// The levels of statements; output of guests has other levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    Debug,
    Warn,
}

/// Reads time and level of a line without colours.
pub(super) fn head(line: &str) -> Head<'_> {
    let (first, after) = line.split_once(' ').unwrap_or((line, ""));
    let time = date::kitchen(first);
    // A logger without timestamps prints `<nil>` or nothing.
    let text = if time.is_some() || first == "<nil>" { after } else { line };
    let (level, rest) = text.split_once(' ').unwrap_or((text, ""));
    match level {
        "DBG" => line_at(Level::Debug, time, rest),
        "WRN" => line_at(Level::Warn, time, rest),
        "TRC" | "INF" | "ERR" | "FTL" | "PNC" => Head::OtherLevel,
        _ => Head::NotConsole,
    }
}

fn line_at(level: Level, time: Option<StatementTime>, rest: &str) -> Head<'_> {
    Head::Line { level, time, message_and_fields: without_caller(rest) }
}

/// Removes the caller, `file.go:629 > `, which some loggers put before the message.
fn without_caller(text: &str) -> &str {
    let is_caller = |place: &str| {
        place.rsplit_once(':').is_some_and(|(file, line)| {
            !file.is_empty()
                && !file.contains(' ')
                && !line.is_empty()
                && line.bytes().all(|byte| byte.is_ascii_digit())
        })
    };
    text.split_once(" > ").filter(|(place, _)| is_caller(place)).map_or(text, |(_, rest)| rest)
}

/// Splits `name=value…` after the name.
pub(super) fn name(text: &str) -> Option<(&str, &str)> {
    let (name, value) = text.split_once('=')?;
    let is_name = !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte));
    is_name.then_some((name, value))
}

/// Reads all fields of a line; `text` begins with the first name.
pub(super) fn fields(text: &str) -> Result<Fields, Unreadable> {
    let mut fields = Fields::default();
    let mut rest = text.trim_matches(' ');
    while !rest.is_empty() {
        let (name, after_name) = name(rest).ok_or(Unreadable)?;
        let (value, after) = value(name, after_name).ok_or(Unreadable)?;
        fields.push(name, value);
        rest = after.trim_start_matches(' ');
    }
    Ok(fields)
}

fn value<'a>(name: &str, text: &'a str) -> Option<(Value, &'a str)> {
    let (value, rest) = match text.chars().next() {
        Some('"') => {
            let (value, rest) = quoted::unquote(text)?;
            (Value::String(value), rest)
        }
        Some('[') if name == "cmd" => text_list(text).or_else(|| bare_list(text))?,
        Some('[' | '{') => json(text).unwrap_or_else(|| bare(text)),
        _ => bare(text),
    };
    is_at_border(rest).then_some((value, rest))
}

fn is_at_border(rest: &str) -> bool {
    rest.is_empty() || rest.starts_with(' ')
}

fn bare(text: &str) -> (Value, &str) {
    let end = text.find(' ').unwrap_or(text.len());
    let (value, rest) = text.split_at_checked(end).unwrap_or((text, ""));
    (Value::String(value.to_owned()), rest)
}

fn json(text: &str) -> Option<(Value, &str)> {
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    let value = values.next()?.ok()?;
    let rest = text.get(values.byte_offset()..)?;
    is_at_border(rest).then_some((value, rest))
}

fn text_list(text: &str) -> Option<(Value, &str)> {
    json(text).filter(|(value, _)| {
        value.as_array().is_some_and(|items| items.iter().all(Value::is_string))
    })
}

/// Reads `[docker pull nginx]`, as Go prints a list of unquoted strings.
///
/// The list ends at the last bracket of the line: an argument may contain brackets, and no field after a command
/// does.
fn bare_list(text: &str) -> Option<(Value, &str)> {
    let (inner, rest) = text.strip_prefix('[')?.rsplit_once(']')?;
    let words = if inner.is_empty() { Vec::new() } else { inner.split(' ').collect() };
    Some((Value::from(words), rest))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(text: &str) -> Vec<(String, Value)> {
        let fields = fields(text).unwrap();
        ["cmd", "container_id", "error", "pid", "x"]
            .into_iter()
            .filter(|name| fields.has(name))
            .map(|name| {
                let value = fields.list(name).map_or(Value::Null, |list| {
                    if name == "cmd" { json!(list) } else { list[0].clone().into() }
                });
                (name.to_owned(), value)
            })
            .collect()
    }

    fn pairs<const N: usize>(pairs: [(&str, Value); N]) -> Vec<(String, Value)> {
        pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    #[test]
    fn bare_quoted_and_listed_values_are_distinguished() {
        assert_eq!(
            read(r#"cmd=["sh","-c","echo \"a b\" ] pid=9"] container_id="a b" pid=3 x=a=b"#),
            pairs([
                ("cmd", json!(["sh", "-c", "echo \"a b\" ] pid=9"])),
                ("container_id", json!("a b")),
                ("pid", json!("3")),
                ("x", json!("a=b")),
            ])
        );
    }

    #[test]
    fn an_unquoted_list_ends_at_the_last_bracket() {
        assert_eq!(
            read("cmd=[sh -c [ -e a ] pid=9 ] container_id=c pid=3"),
            pairs([
                ("cmd", json!(["sh", "-c", "[", "-e", "a", "]", "pid=9", ""])),
                ("container_id", json!("c")),
                ("pid", json!("3")),
            ])
        );
        assert_eq!(read("cmd=[1]"), pairs([("cmd", json!(["1"]))]));
        assert_eq!(read("cmd=[]"), pairs([("cmd", json!([]))]));
    }

    #[test]
    fn a_value_that_only_begins_like_a_list_is_bare() {
        assert_eq!(
            read("container_id=[x] pid=3 x=[1]y"),
            pairs([("container_id", json!("[x]")), ("pid", json!("3")), ("x", json!("[1]y"))])
        );
    }

    #[test]
    fn malformed_fields_are_refused() {
        for text in [
            "pid",
            "=3",
            "pid=3 and",
            r#"x="a"b"#,
            r#"x="a"pid=3"#,
            r#"x="a"#,
            "cmd=[a b pid=3",
            "a b=3",
        ] {
            assert_eq!(fields(text), Err(Unreadable), "{text}");
        }
    }

    #[test]
    fn a_head_has_an_optional_time_a_level_and_an_optional_caller() {
        let at = |level, time| Head::Line { level, time, message_and_fields: "m" };
        let debug = |time| at(Level::Debug, time);
        assert_eq!(head("WRN m"), at(Level::Warn, None));
        assert_eq!(head("DBG m"), debug(None));
        assert_eq!(head("<nil> DBG m"), debug(None));
        assert_eq!(head("3:04PM DBG m"), debug(date::kitchen("3:04PM")));
        assert_eq!(head("DBG pkg/worker/container_server.go:629 > m"), debug(None));
        assert_eq!(head("3:04PM INF DBG m"), Head::OtherLevel);
        for text in ["", "m", "3:04PM m", "x DBG m", "3:04PM 3:04PM DBG m", "DBGm"] {
            assert_eq!(head(text), Head::NotConsole, "{text}");
        }
        assert_eq!(
            head("DBG said foo:1 > m"),
            Head::Line { level: Level::Debug, time: None, message_and_fields: "said foo:1 > m" }
        );
    }
}
