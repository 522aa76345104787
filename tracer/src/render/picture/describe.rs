//! Describes processes and objects as nodes.

use tracer_core::{
    report::{Command, Endpoint, Object, Process},
    session::inside,
    text::{escape, shorten, units},
};

use super::{Mark, Node, Shape, TITLE};
use crate::render::{command, exit};

/// A process of the target: `make -j4`, `pid 71 · exit 0`. It is named as it was called when it wrote.
pub(super) fn process(process: &Process, known: Option<&Command>, mark: Mark) -> Node {
    let (exit, _) = exit::words(process.exit);
    let latest = command::short_command(&process.argv, &process.comm, TITLE);
    let mut details = vec![format!("pid {}{} · {exit}", process.pid, inside(process.sandbox))];
    let title = match known.and_then(command::wrote_as) {
        Some(earlier) => {
            details.push(format!("later {latest}"));
            shorten(earlier, TITLE)
        }
        None => latest,
    };
    Node { shape: Shape::Process, title, details, mark }
}

/// A process that the report knows as a reader or writer only.
pub(super) fn outsider(endpoint: &Endpoint, mark: Mark) -> Node {
    Node {
        shape: Shape::Process,
        title: shorten(&command::command_line(&[], &endpoint.comm), TITLE),
        details: vec![format!("pid {} · outside", endpoint.pid)],
        mark,
    }
}

/// A number of processes that wrote to one object, or read from it.
pub(super) fn group(number: u64, what: &str) -> Node {
    let title = units::count(number, &format!("more {what}"));
    Node { shape: Shape::Group, title, details: Vec::new(), mark: Mark::Fine }
}

/// A pipe, file, socket, terminal or device.
pub(super) fn object(object: &Object, mark: Mark) -> Node {
    let (shape, kind) = match object.kind.as_str() {
        "pipe" => (Shape::Pipe, "pipe"),
        "fifo" => (Shape::Pipe, "FIFO"),
        "file" => (Shape::File, "file"),
        "socket" => (Shape::Socket, "socket"),
        "pty" => (Shape::Terminal, "terminal"),
        "null" => (Shape::Device, "discards everything"),
        "device" => (Shape::Device, "device"),
        "handed_in" => (Shape::Device, "file outside the sandbox"),
        "closed" => (Shape::Device, "closed"),
        _ => (Shape::Device, "not known"),
    };
    let mut details = vec![format!("{kind}{}", state(object))];
    if object.path != object.id && !object.path.is_empty() {
        details.push(end_of(&object.path, TITLE));
    }
    if matches!(shape, Shape::Pipe | Shape::Socket | Shape::Terminal) {
        let read = units::exact(object.read);
        details.push(format!("{} in, {read} out", units::exact(object.written)));
    }
    let inside = object.unread.filter(|unread| *unread > 0);
    details.extend(inside.map(|unread| format!("{} inside", units::exact(unread))));
    Node { shape, title: end_of(&object.id, TITLE), details, mark }
}

/// What happened to the path of a file.
fn state(object: &Object) -> &'static str {
    match (object.renamed.is_some(), object.now.as_deref()) {
        (true, _) => ", renamed since",
        (false, Some("gone")) => ", removed since",
        (false, Some("replaced")) => ", replaced since",
        _ => "",
    }
}

/// The end of a path, which says more than its beginning, escaped: `…/job/stdout.log`.
fn end_of(path: &str, limit: usize) -> String {
    // No character has fewer columns than one here, so no more than `limit` of them fit.
    let whole = shorten(path, limit);
    if !whole.ends_with('…') {
        return whole;
    }
    let mut end = Vec::new();
    let mut room = limit.saturating_sub(1);
    for character in path.chars().rev() {
        let shown = escape(character.encode_utf8(&mut [0; 4])).into_owned();
        let columns = textwrap::core::display_width(&shown).max(1);
        if columns > room {
            break;
        }
        room -= columns;
        end.push(shown);
    }
    end.push("…".to_owned());
    end.reverse();
    end.concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_path_keeps_its_end() {
        assert_eq!(end_of("/var/log/x", 56), "/var/log/x");
        let long = format!("/{}/out.log", "x".repeat(9_000));
        let shown = end_of(&long, 12);
        assert_eq!(shown, "…xxx/out.log");
        // An escape sequence is whole or absent.
        assert_eq!(end_of("/aaaaaaaaaaaaaaaaaa\u{1b}/b", 7), "…\\x1b/b");
        assert_eq!(end_of("/aaaaaaaaaaaaaaaaaa\u{1b}/b", 6), "…/b");
    }
}
