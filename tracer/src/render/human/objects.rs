//! The account of each pipe, socket and terminal: written, read, unread.

use std::{collections::HashSet, io};

use tracer_core::{
    report::{Endpoint, Object, Report},
    session::LossReason,
    text::{list, units::bytes},
};

use super::{by, has_reader, name, selection::Selection};
use crate::render::{
    command::short_name,
    palette::{FAINT, ODD, PLAIN},
    text::{Page, Text},
};

/// The widest name that moves the numbers of other lines.
const WIDEST_NAME: usize = 40;
/// How many writers, readers or holders are named.
const MOST_ENDPOINTS: usize = 4;

/// Writes the objects that bytes went through, and those that are stdout or stderr of a shown process.
pub(super) fn write(
    page: &mut Page<'_>,
    report: &Report,
    selection: &Selection<'_>,
) -> io::Result<()> {
    let stdio = selection.shown.iter().flat_map(|shown| shown.process.stdio.iter().skip(1).take(2));
    let stdio: HashSet<&str> = stdio.map(String::as_str).collect();
    let objects: Vec<&Object> = report
        .objects
        .iter()
        .filter(|object| has_reader(&object.kind))
        .filter(|object| {
            object.written > 0 || object.read > 0 || stdio.contains(object.id.as_str())
        })
        .collect();
    if objects.is_empty() {
        return Ok(());
    }
    page.section()?;
    let names = objects.iter().map(|object| title(object).width());
    let names = names.filter(|&width| width <= WIDEST_NAME).max().unwrap_or(0);
    for object in objects {
        let lead = title(object).padded(names).and(PLAIN, "  ");
        let column = lead.width();
        page.parts(lead, column, " · ", account(object))?;
    }
    Ok(())
}

fn title(object: &Object) -> Text {
    if object.path.is_empty() || object.path == object.id {
        return Text::plain(&object.id);
    }
    Text::plain(&object.id).and(FAINT, &format!(" {}", object.path))
}

/// `written 2,048 B`, `read 2,048 B by manager (60)`, `unread 0 B`
fn account(object: &Object) -> Vec<Text> {
    let mut counts = Vec::new();
    if let Some(before) = object.unread_before.filter(|&before| before > 0) {
        counts.push(Text::plain(&format!("{} inside before", bytes(before))));
    }
    let shared =
        |who: &[Endpoint]| by(who, MOST_ENDPOINTS, if who.len() > 1 { share } else { name });
    // A single writer is the process above that names this object.
    let writers = if object.writers.len() > 1 { shared(&object.writers) } else { String::new() };
    counts.push(Text::plain(&format!("written {}{writers}", bytes(object.written))));
    counts.push(Text::plain(&format!("read {}{}", bytes(object.read), shared(&object.readers))));
    if let Some(unread) = object.unread {
        let ink = if unread > 0 { ODD } else { PLAIN };
        let how = if is_computed(object) { " (computed)" } else { "" };
        counts.push(Text::styled(ink, &format!("unread {}{how}", bytes(unread))));
    }
    if object.balanced == Some(false) {
        counts.push(Text::styled(ODD, "counts incomplete"));
    }
    if !object.doubts.is_empty() {
        let names = list(object.doubts.iter().map(LossReason::name), ", ");
        counts.push(Text::styled(ODD, &format!("unsure: {names}")));
    }
    counts.extend(waiting(object));
    counts
}

/// Whether unread bytes are what was written and not read, and no look into the object was possible.
fn is_computed(object: &Object) -> bool {
    let is_seen = object.inside.is_some() || object.balanced.is_some();
    object.unread.is_some_and(|unread| unread > 0) && !is_seen
}

fn share(endpoint: &Endpoint) -> String {
    format!("{} {}", name(endpoint), bytes(endpoint.bytes))
}

/// The processes that could still read what is unread.
fn waiting(object: &Object) -> Option<Text> {
    if object.unread.is_none_or(|unread| unread == 0) {
        return None;
    }
    let readers = object.holders.iter().filter(|holder| holder.access != "write");
    let fds =
        readers.map(|holder| format!("{} fd {}", short_name(&holder.comm, holder.pid), holder.fd));
    let named = list(fds, ", ");
    (!named.is_empty()).then(|| Text::plain(&format!("open for reading in {named}")))
}
