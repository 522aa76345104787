//! Which rows and objects a sweep takes out.

use tracer_common::{
    event::{FirstIo, Object},
    object::{FdState, mode},
};
use tracer_core::event::{Exit, Image};

use super::*;

const WRITER: ProcessId = ProcessId::new(7, 1);

/// A kernel in which an object has ended if it is not held, and fds lead to `open`.
struct Kernel {
    open: Vec<(ProcessId, i32, ObjectId)>,
}

impl Tables for Kernel {
    fn release(&mut self, object: &ObjectId, is_held: bool) -> Result<bool, LoaderError> {
        Ok(!is_held && !self.open.iter().any(|(.., open)| open == object))
    }

    fn may_lead_to(
        &mut self,
        (process, fd): (ProcessId, i32),
        object: &ObjectId,
    ) -> Result<bool, LoaderError> {
        Ok(self.open.contains(&(process, fd, *object)))
    }
}

fn file(ino: u64) -> ObjectId {
    ObjectId { ino, dev: 1, discriminator: 0 }
}

fn row(object: ObjectId) -> LedgerKey {
    LedgerKey { process: WRITER, object, fd: 1, direction: 0 }
}

/// A trace of a writer that has this file as stdout and has written once.
fn trace(object: ObjectId) -> (Lifetimes, Session) {
    let mut this = (Lifetimes::default(), Session::default());
    watch(&mut this, object);
    let state = FdState { object, ..FdState::default() };
    let stdio = [FdState::default(), state, FdState::default()];
    apply(&mut this, EventKind::Image(Image { process: WRITER, stdio, ..Image::default() }));
    let first = FirstIo { key: row(object), ..FirstIo::default() };
    apply(&mut this, EventKind::FirstIo { first, comm: String::new() });
    this
}

fn watch(this: &mut (Lifetimes, Session), id: ObjectId) {
    let object = Object { id, mode: mode::S_IFREG, ..Object::default() };
    apply(this, EventKind::Object { object, name: "/f".into() });
}

fn apply((lifetimes, session): &mut (Lifetimes, Session), kind: EventKind) {
    let event = Event { time_ns: 1, kind };
    session.apply(&event);
    lifetimes.event(&event, session);
}

fn redirect(this: &mut (Lifetimes, Session), object: ObjectId) {
    let state = FdState { object, ..FdState::default() };
    let process = WRITER;
    let fact = tracer_common::event::Fact {
        process,
        fact: fact::FD_REPLACED,
        fd: 1,
        state,
        ..Default::default()
    };
    apply(this, EventKind::Fact { fact, text: Vec::new() });
}

fn sweep(this: &mut (Lifetimes, Session), kernel: &mut Kernel) -> Vec<LedgerKey> {
    this.0.sweep(kernel, &this.1).unwrap()
}

#[test]
fn rows_of_a_living_process_end_with_their_object_one_sweep_later() {
    let mut this = trace(file(5));
    let mut open = Kernel { open: vec![(WRITER, 1, file(5))] };
    assert_eq!(sweep(&mut this, &mut open), []);
    redirect(&mut this, file(6));
    let mut closed = Kernel { open: Vec::new() };
    assert_eq!(sweep(&mut this, &mut closed), []);
    assert_eq!(sweep(&mut this, &mut closed), [row(file(5))]);
    assert_eq!(sweep(&mut this, &mut closed), []);
}

/// The ring may be so full that a sweep takes an object out before the record of its last row is read.
#[test]
fn a_row_that_is_known_after_its_object_was_taken_out_ends_too() {
    let mut this = trace(file(5));
    redirect(&mut this, file(6));
    let mut closed = Kernel { open: Vec::new() };
    assert_eq!(sweep(&mut this, &mut closed), []);
    assert_eq!(sweep(&mut this, &mut closed), [row(file(5))]);
    let late = LedgerKey { fd: 9, ..row(file(5)) };
    let first = FirstIo { key: late, ..FirstIo::default() };
    apply(&mut this, EventKind::FirstIo { first, comm: String::new() });
    assert_eq!(sweep(&mut this, &mut closed), []);
    assert_eq!(sweep(&mut this, &mut closed), [late]);
}

#[test]
fn a_file_that_an_fd_leads_to_stays() {
    let mut this = trace(file(5));
    redirect(&mut this, file(6));
    redirect(&mut this, file(5));
    let mut open = Kernel { open: vec![(WRITER, 1, file(5))] };
    for _ in 0..2 * SWEEPS {
        assert_eq!(sweep(&mut this, &mut open), []);
    }
    assert!(this.0.watched.contains(&file(5)) && this.0.doubtful.is_empty());
}

#[test]
fn a_file_that_is_opened_again_keeps_its_rows() {
    let mut this = trace(file(5));
    redirect(&mut this, file(6));
    let mut closed = Kernel { open: Vec::new() };
    assert_eq!(sweep(&mut this, &mut closed), []);
    watch(&mut this, file(5));
    assert_eq!(sweep(&mut this, &mut closed), []);
}

#[test]
fn nothing_is_kept_of_a_process_that_has_ended() {
    let mut this = trace(file(5));
    let exit = Exit { process: WRITER, ..Exit::default() };
    apply(&mut this, EventKind::Exit(exit));
    assert!(this.0.rows_of_ended(WRITER).contains(&row(file(5))));
    let mut closed = Kernel { open: Vec::new() };
    assert_eq!(sweep(&mut this, &mut closed), []);
    let Lifetimes { rows, rows_on, stdio, stdio_on, watched, doubtful, .. } = &this.0;
    assert!(rows.is_empty() && rows_on.is_empty(), "{:?}", this.0);
    assert!(stdio.is_empty() && stdio_on.is_empty(), "{:?}", this.0);
    assert!(watched.is_empty() && doubtful.is_empty(), "{:?}", this.0);
}

#[test]
fn a_row_that_is_opened_after_the_end_of_its_process_ends_at_once() {
    let mut this = trace(file(5));
    apply(&mut this, EventKind::Exit(Exit { process: WRITER, ..Exit::default() }));
    this.0.rows_of_ended(WRITER);
    let first = FirstIo { key: row(file(5)), ..FirstIo::default() };
    apply(&mut this, EventKind::FirstIo { first, comm: String::new() });
    assert_eq!(sweep(&mut this, &mut Kernel { open: Vec::new() }), [row(file(5))]);
}
