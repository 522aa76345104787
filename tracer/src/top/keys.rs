//! The keys of the view: one table, which the help screen and `tracer top --help` show.

/// A part of the table.
pub(super) struct Section {
    pub(super) title: &'static str,
    /// Keys, and what they do.
    pub(super) keys: &'static [(&'static str, &'static str)],
}

/// All keys.
pub(super) const SECTIONS: [Section; 4] = [
    Section {
        title: "Move",
        keys: &[
            ("↑ ↓, k j", "one line"),
            ("PgUp PgDn", "one screen"),
            ("g G, Home End", "the first line, the last line"),
            ("n N", "the next or previous command that lost output or is stuck"),
            ("Enter", "open a command: sentences, segments, readers, path, captured output"),
            ("Esc, Backspace", "back to the list; there, clear the filter"),
        ],
    },
    Section {
        title: "Choose",
        keys: &[
            ("/", "show only commands that contain a text or pid; Enter keeps it, Esc clears it"),
            ("< >, F6", "sort by the previous or next column"),
            ("T W R P", "sort by trouble, bytes written, rate, pid (start)"),
            ("I", "reverse the order"),
            ("t, F5", "tree or flat list"),
            ("e", "hide commands that have ended well, or show them again"),
        ],
    },
    Section {
        title: "Time",
        keys: &[
            ("Space, p", "freeze the screen, or go on; a recording: play, or pause"),
            (". ,", "a recording: one step forward, one step back"),
            ("] [", "a recording: twice as fast, half as fast"),
            ("0 $", "a recording: its beginning, its end"),
        ],
    },
    Section {
        title: "Other",
        keys: &[
            ("s", "save the report in a new file of this directory (mode 0600)"),
            ("?, F1", "these keys"),
            ("Ctrl-L", "draw the screen again"),
            ("q, Ctrl-C", "quit; a running trace ends, and prints its report"),
        ],
    },
];

/// Keys that the last line of a page shows, and what they do.
type Hints = &'static [(&'static str, &'static str)];

pub(super) const HINTS_FOR_TRACE: Hints = &[
    ("?", "keys"),
    ("Enter", "open"),
    ("/", "filter"),
    ("< >", "sort"),
    ("n", "trouble"),
    ("Space", "freeze"),
    ("s", "save"),
    ("q", "quit"),
];
pub(super) const HINTS_FOR_RECORDING: Hints = &[
    ("?", "keys"),
    ("Enter", "open"),
    ("/", "filter"),
    ("n", "trouble"),
    ("Space", "play"),
    (". ,", "step"),
    ("s", "save"),
    ("q", "quit"),
];
pub(super) const HINTS_FOR_COMMAND: Hints =
    &[("Esc", "back"), ("j k", "scroll"), ("n", "next trouble"), ("s", "save"), ("?", "keys")];
pub(super) const HINTS_FOR_KEYS: Hints = &[("Esc", "back"), ("j k", "scroll"), ("q", "back")];

/// What the characters of a bar mean.
pub(super) const BARS: [(&str, &str); 5] = [
    ("█", "arrived: read by a process, in a file, or on a terminal"),
    ("▒", "inside: waits in a pipe, socket or terminal"),
    ("x", "lost: never read, cut off, or refused"),
    ("·", "discarded: /dev/null, or left to a reader that had enough"),
    ("?", "not seen"),
];

/// What the marks in front of a command mean.
pub(super) const MARKS: [(&str, &str); 3] = [
    ("✗", "output was lost"),
    ("!", "it is stuck, or something needs a look"),
    ("✓", "all arrived"),
];

/// The table as text, for `tracer top --help`.
#[must_use]
pub fn help() -> String {
    let mut text = String::from("KEYS\n");
    let line = |text: &mut String, name: &str, what: &str| {
        text.push_str(&format!("  {name:<15} {what}\n"));
    };
    for Section { keys, .. } in &SECTIONS {
        keys.iter().for_each(|(name, what)| line(&mut text, name, what));
    }
    text.push_str("\nBARS AND MARKS\n");
    BARS.iter().chain(&MARKS).for_each(|(name, what)| line(&mut text, name, what));
    text
}
