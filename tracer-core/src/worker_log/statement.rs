//! Recognizes lines that are statements, and reads them.

use super::{
    Statement, StatementKind, StatementTime, Stream, ansi,
    console::{self, Head, Level},
    date,
    fields::{Fields, Unreadable},
    wrapper,
};

/// Result of reading one line without wrappers.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reading {
    Statement(Statement),
    /// It looks like a statement and cannot be read.
    Bad,
    Unrelated,
}

/// The messages that are statements.
#[derive(Clone, Copy, Debug)]
enum Message {
    Started,
    Read(Stream),
    Failed,
}

impl Message {
    const ALL: [Self; 4] =
        [Self::Started, Self::Read(Stream::Stdout), Self::Read(Stream::Stderr), Self::Failed];

    /// The level of the message, in both forms.
    const fn level(self) -> (Level, &'static str) {
        match self {
            Self::Started | Self::Read(_) => (Level::Debug, "debug"),
            Self::Failed => (Level::Warn, "warn"),
        }
    }

    const fn text(self) -> &'static str {
        match self {
            Self::Started => "sandbox process started",
            Self::Read(Stream::Stdout) => "read stdout",
            Self::Read(Stream::Stderr) => "read stderr",
            Self::Failed => "sandbox process manager exec failed",
        }
    }

    /// The field that only this message has.
    const fn own_field(self) -> &'static str {
        match self {
            Self::Started | Self::Failed => "cmd",
            Self::Read(Stream::Stdout) => "stdout_len",
            Self::Read(Stream::Stderr) => "stderr_len",
        }
    }

    fn statement(
        self,
        fields: &Fields,
        time: Option<StatementTime>,
    ) -> Result<Statement, Unreadable> {
        let what = match self {
            // The manager does not know its pid.
            Self::Failed => {
                let command = fields.list(self.own_field())?;
                let container = fields.text("container_id")?;
                return Ok(Statement {
                    container,
                    pid: 0,
                    time,
                    what: StatementKind::Failed { command },
                });
            }
            Self::Started => StatementKind::Started { command: fields.list(self.own_field())? },
            Self::Read(stream) => {
                StatementKind::Returned { stream, bytes: fields.number(self.own_field())? }
            }
        };
        statement(fields, time, what)
    }
}

/// Reads a line; `stamp` is the date from its wrappers.
pub(super) fn read(line: &[u8], stamp: Option<i64>) -> Reading {
    let line = String::from_utf8_lossy(line);
    if line.starts_with('{') { json(&line, stamp) } else { console(&line, stamp) }
}

fn json(line: &str, stamp: Option<i64>) -> Reading {
    let Ok(fields) = serde_json::from_str::<Fields>(line) else {
        return bad_if(looks_like_a_statement(line));
    };
    let written = fields.last_text("time").and_then(date::rfc3339);
    let time = date::finer(stamp, written).map(StatementTime::UnixNanos);
    if fields.has("level") || fields.has("message") {
        return match logged(&fields) {
            Ok(Some(message)) => message.statement(&fields, time).into(),
            Ok(None) => Reading::Unrelated,
            Err(Unreadable) => bad_if(looks_like_a_statement(line)),
        };
    }
    if fields.has("stream") && fields.has("bytes") {
        return plain(&fields, time).into();
    }
    Reading::Unrelated
}

/// The message, if it is a known one at its own level.
fn logged(fields: &Fields) -> Result<Option<Message>, Unreadable> {
    let (level, message) = (fields.text("level")?, fields.text("message")?);
    Ok(Message::ALL.into_iter().find(|known| {
        level.as_deref() == Some(known.level().1) && message.as_deref() == Some(known.text())
    }))
}

/// The form for any manager: `{"pid":71,"stream":"stdout","bytes":4096}`.
fn plain(fields: &Fields, time: Option<StatementTime>) -> Result<Statement, Unreadable> {
    let name = fields.text("stream")?.ok_or(Unreadable)?;
    let stream = wrapper::stream(name.as_bytes()).ok_or(Unreadable)?;
    statement(fields, time, StatementKind::Returned { stream, bytes: fields.number("bytes")? })
}

fn statement(
    fields: &Fields,
    time: Option<StatementTime>,
    what: StatementKind,
) -> Result<Statement, Unreadable> {
    let pid = u32::try_from(fields.number("pid")?).map_err(|_| Unreadable)?;
    Ok(Statement { container: fields.text("container_id")?, pid, time, what })
}

fn console(line: &str, stamp: Option<i64>) -> Reading {
    let plain = ansi::without(line.as_bytes());
    let plain = String::from_utf8_lossy(&plain);
    match console::head(&plain) {
        Head::NotConsole => bad_if(looks_like_a_statement(&plain)),
        Head::OtherLevel => Reading::Unrelated,
        Head::Line { level, time, message_and_fields } => {
            let time = stamp.map(StatementTime::UnixNanos).or(time);
            Message::ALL
                .into_iter()
                .filter(|message| message.level().0 == level)
                .find_map(|message| console_message(message, message_and_fields, time))
                .unwrap_or(Reading::Unrelated)
        }
    }
}

/// Reads a line that has this message.
///
/// The form has no border between message and fields. A longer message that begins with the same words is another
/// message, unless the line has the field that only this message has.
fn console_message(message: Message, text: &str, time: Option<StatementTime>) -> Option<Reading> {
    let rest = text.strip_prefix(message.text())?;
    if rest.trim_end().is_empty() {
        return Some(Reading::Bad);
    }
    let after = rest.strip_prefix(' ')?.trim_start_matches(' ');
    if console::name(after).is_none() {
        return Some(bad_if(after.contains(&format!("{}=", message.own_field()))));
    }
    Some(console::fields(after).and_then(|fields| message.statement(&fields, time)).into())
}

/// Whether a line in neither form looks like a damaged statement.
fn looks_like_a_statement(line: &str) -> bool {
    let has_message = Message::ALL.into_iter().map(Message::text).any(|text| {
        // The last pattern is a logger's object quoted in a cut wrapper.
        [format!("DBG {text}"), format!("\"{text}\""), format!("\"{text}\\\"")]
            .iter()
            .any(|pattern| line.contains(pattern))
    });
    let is_plain =
        line.starts_with('{') && line.contains("\"stream\"") && line.contains("\"bytes\"");
    has_message || is_plain
}

fn bad_if(is_bad: bool) -> Reading {
    if is_bad { Reading::Bad } else { Reading::Unrelated }
}

impl From<Result<Statement, Unreadable>> for Reading {
    fn from(result: Result<Statement, Unreadable>) -> Self {
        result.map_or(Self::Bad, Self::Statement)
    }
}
