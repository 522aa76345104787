//! The stdout and stderr of one process as sequences of segments. A stream is not an object: a process can redirect it,
//! and both streams can lead to one object.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tracer_common::{
    ledger::{LedgerRow, WRITE},
    object::{FdState, ObjectId},
};

use super::{
    inner::stream_fd,
    rows::{add, without_probes},
    subject::Subject,
};
use crate::{
    event::BlockedThread,
    session::{FactKind, Kind, PastImage, Process, Session},
};

/// Who made an fd lead to an object.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum RedirectedBy {
    /// No process: the parent has it on the same fd.
    Inherited,
    /// Whatever started the image, before it did: a manager, or a shell for `command >file`.
    Launcher,
    /// The process itself.
    Itself,
}

impl RedirectedBy {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Inherited, Self::Launcher, Self::Itself];
}

/// What a process wrote through one fd to one object, as a part of its stdout or stderr.
#[derive(Clone, Debug, PartialEq)]
pub struct Segment {
    /// The stream: 1 or 2. After `echo x >&2`, fd 1 is stderr.
    pub stream: i32,
    /// The fd.
    pub fd: i32,
    /// The object.
    pub object: ObjectId,
    /// Since when the fd leads there, nanoseconds since boot; the first write, if nothing earlier is known. `None` if it
    /// did so before the trace.
    pub since_ns: Option<u64>,
    /// Who made it lead there; `None` if that is not known.
    pub redirected_by: Option<RedirectedBy>,
    /// What the process itself wrote.
    pub row: LedgerRow,
    /// Whether a thread of it is blocked in a write there.
    pub is_blocked: bool,
}

/// The segments of a process in the order of their beginning. `subject`: the process as a subject, if it is one.
/// `blocked`: its threads that are blocked in a write.
pub(super) fn segments(
    session: &Session,
    process: &Process,
    subject: Option<&Subject<'_>>,
    blocked: &[&BlockedThread],
) -> Vec<Segment> {
    let mut draft = Draft::new(session, process, subject);
    draft.add_starts();
    draft.add_redirections();
    draft.add_rows();
    draft.add_blocked(blocked);
    let mut segments = draft.segments;
    segments.sort_by_key(|segment| segment.since_ns);
    segments
}

/// What is needed of one image.
#[derive(Clone, Copy)]
struct Start {
    since_ns: u64,
    until_ns: u64,
    /// Whether it was started by `execve` while traced.
    executed: bool,
    /// What fd 0, 1 and 2 led to when it started.
    stdio: Option<[FdState; 3]>,
}

impl Start {
    fn of(image: &PastImage) -> Self {
        let PastImage { since_ns, until_ns, executed, stdio, .. } = *image;
        Self { since_ns, until_ns, executed, stdio }
    }
}

/// Segments that are being collected.
struct Draft<'a> {
    session: &'a Session,
    process: &'a Process,
    /// The images that were replaced, oldest first.
    past: Vec<Start>,
    /// The image that it had last.
    latest: Start,
    segments: Vec<Segment>,
    /// The index of each segment.
    places: BTreeMap<(ObjectId, i32), usize>,
}

impl<'a> Draft<'a> {
    fn new(session: &'a Session, process: &'a Process, subject: Option<&Subject<'_>>) -> Self {
        let past = process.past_images.iter().map(Start::of).collect();
        let mut latest = Start::of(&process.latest_image());
        // A shell that was adopted in the middle of a redirection.
        if let (Some(stdio), Some(subject)) = (&mut latest.stdio, subject) {
            (stdio[1].object, stdio[2].object) = (subject.stdout.object, subject.stderr.object);
        }
        Self { session, process, past, latest, segments: Vec::new(), places: BTreeMap::new() }
    }

    /// The images, oldest first. That of a forked process before its first `execve` is left out: a shell redirects the
    /// fds of a command in this time.
    fn starts(&self) -> Vec<Start> {
        let mut starts = self.past.clone();
        starts.push(self.latest);
        if !self.process.attached_late && self.latest.executed {
            starts.retain(|image| image.executed);
        }
        starts
    }

    /// What fd 1 and 2 led to when each image started.
    fn add_starts(&mut self) {
        for image in self.starts() {
            let Some(stdio) = image.stdio else { continue };
            let is_adopted = self.process.attached_late && !image.executed;
            let since_ns = (!is_adopted).then_some(image.since_ns);
            for (fd, state) in (0..).zip(&stdio).skip(1) {
                let Some(stream) = self.stream_of(&image, fd, &state.object) else { continue };
                let by = self.inherited_or_not(fd, &state.object).filter(|_| !is_adopted);
                self.add(stream, fd, state.object, since_ns, by);
            }
        }
    }

    /// Whether the parent had an object on this fd when its image started.
    fn inherited_or_not(&self, fd: i32, object: &ObjectId) -> Option<RedirectedBy> {
        let parent = self.session.processes.get(&self.process.parent);
        let Some(parent) = parent else { return Some(RedirectedBy::Launcher) };
        match parent.stdio_object(usize::try_from(fd).ok()?) {
            Some(of_parent) if of_parent == *object => Some(RedirectedBy::Inherited),
            Some(_) => Some(RedirectedBy::Launcher),
            None => None,
        }
    }

    /// Redirections by the process itself: `dup2` onto fd 1 or 2.
    fn add_redirections(&mut self) {
        let begin = self.starts().first().map_or(0, |image| image.since_ns);
        for fact in &self.process.facts {
            let (Some(fd), Some(object)) = (fact.fd, fact.object) else { continue };
            if fact.kind == FactKind::FdReplaced && fact.time_ns >= begin && (fd == 1 || fd == 2) {
                let image = self.image_at(fact.time_ns);
                let Some(stream) = self.stream_of(&image, fd, &object) else { continue };
                let (since_ns, by) = (Some(fact.time_ns), Some(RedirectedBy::Itself));
                let place = self.add(stream, fd, object, since_ns, by);
                // It redirected the fd before it replaced its image: `exec command >file`.
                let known = self.segments.get_mut(place).filter(|known| known.since_ns > since_ns);
                if let Some(known) = known {
                    (known.since_ns, known.redirected_by) = (since_ns, by);
                }
            }
        }
    }

    fn add_rows(&mut self) {
        let (session, process) = (self.session, self.process);
        let succeeded = process.exit_code() == Some(0);
        let mut rows: Vec<_> = session.rows_of(process.id, WRITE).collect();
        rows.retain(|(key, _)| session.is_output(key));
        rows.sort_by_key(|(_, row)| row.first_ns);
        for (key, row) in rows {
            let image = self.image_at(row.first_ns);
            let Some(stream) = self.stream_of(&image, key.fd, &key.object) else { continue };
            let by = self.redirected_by(stream, key.fd, &key.object, image.executed);
            let place = self.add(stream, key.fd, key.object, Some(row.first_ns), by);
            if let Some(segment) = self.segments.get_mut(place) {
                // It wrote before the start of the oldest image that is known.
                segment.since_ns = segment.since_ns.map(|since_ns| since_ns.min(row.first_ns));
                add(&mut segment.row, &without_probes(row, succeeded));
            }
        }
    }

    /// Who made an fd lead to an object, if neither the start of an image nor a fact shows it.
    fn redirected_by(
        &self,
        stream: i32,
        fd: i32,
        object: &ObjectId,
        executed: bool,
    ) -> Option<RedirectedBy> {
        if fd == 1 || fd == 2 {
            // Its fds at the start of the image are known, and led elsewhere.
            return executed.then_some(RedirectedBy::Itself);
        }
        let mut same = self.places.range((*object, 0)..=(*object, 2)).map(|(_, place)| *place);
        same.find_map(|place| {
            let segment = self.segments.get(place).filter(|segment| segment.stream == stream)?;
            segment.redirected_by
        })
    }

    fn add_blocked(&mut self, blocked: &[&BlockedThread]) {
        for thread in blocked {
            let Some(object) = thread.object else { continue };
            let Some(stream) = self.stream_of(&self.latest, thread.fd, &object) else { continue };
            let place = self.add(stream, thread.fd, object, None, None);
            if let Some(segment) = self.segments.get_mut(place) {
                segment.is_blocked = true;
            }
        }
    }

    /// Adds a segment, if there is none of this fd and object. Returns its index.
    fn add(
        &mut self,
        stream: i32,
        fd: i32,
        object: ObjectId,
        since_ns: Option<u64>,
        redirected_by: Option<RedirectedBy>,
    ) -> usize {
        let place = *self.places.entry((object, fd)).or_insert(self.segments.len());
        if place == self.segments.len() {
            let (row, is_blocked) = (LedgerRow::ZERO, false);
            let segment = Segment { stream, fd, object, since_ns, redirected_by, row, is_blocked };
            self.segments.push(segment);
        }
        place
    }

    /// The image that the process had at a time.
    fn image_at(&self, time_ns: u64) -> Start {
        let image = self.past.iter().find(|image| time_ns < image.until_ns);
        image.copied().unwrap_or(self.latest)
    }

    /// Whether an fd that leads to an object is stdout (1) or stderr (2): by object, as it was when the image started.
    /// Else by its number, if it is a standard fd that was redirected, or leads to a device, which anything can open.
    fn stream_of(&self, image: &Start, fd: i32, object: &ObjectId) -> Option<i32> {
        let by_fd = (fd == 1 || fd == 2).then_some(fd);
        let is_shared = matches!(self.session.object_kind(object), Kind::Null | Kind::Device);
        if is_shared || object.is_none() {
            return by_fd;
        }
        let is = |at: usize| image.stdio.is_some_and(|stdio| stdio[at].object == *object);
        match (is(1), is(2)) {
            (true, false) => Some(1),
            (false, true) => Some(2),
            (false, false) => by_fd,
            // `2>&1` or `>&2`: what it is for the process that started this one.
            (true, true) => {
                let parent = self.session.processes.get(&self.process.parent);
                let of_parent = parent.and_then(|parent| stream_fd(self.session, parent, object));
                of_parent.or(Some(if fd == 2 { 2 } else { 1 }))
            }
        }
    }
}
