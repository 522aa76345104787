//! The connection between a view and its source. Neither side waits for the other.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, Ordering},
    mpsc::{Receiver, RecvTimeoutError, Sender, channel},
};
use std::time::Duration;

use tracer_core::snapshot::Snapshot;

/// What a view wants of its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// End the trace. The view has been closed.
    Quit,
    /// Save the report of the latest snapshot in a file.
    Save,
    /// Play a recording, or pause.
    PlayOrPause,
    /// Go to the next moment of a recording, and pause.
    StepForward,
    /// Go to the moment before, and pause.
    StepBack,
    /// Play twice as fast.
    Faster,
    /// Play half as fast.
    Slower,
    /// Go to the beginning of a recording.
    ToStart,
    /// Go to its end.
    ToEnd,
}

/// Where a recording is played.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Playback {
    /// Length of the recording in milliseconds.
    pub length_ms: f64,
    /// Seconds of the recording in one second.
    pub speed: f64,
    /// Whether it plays, or stands still.
    pub plays: bool,
}

#[derive(Debug, Default)]
struct Shared {
    snapshot: Mutex<Option<Arc<Snapshot>>>,
    playback: Mutex<Option<Playback>>,
    notice: Mutex<Option<String>>,
    is_closed: AtomicBool,
}

/// The source's end of a link.
#[derive(Debug)]
pub struct Source {
    shared: Arc<Shared>,
    orders: Receiver<Order>,
}

/// The view's end of a link.
#[derive(Debug)]
pub struct View {
    shared: Arc<Shared>,
    orders: Sender<Order>,
}

/// Both ends of a new link.
#[must_use]
pub fn link() -> (Source, View) {
    let shared = Arc::new(Shared::default());
    let (sender, orders) = channel();
    (Source { shared: Arc::clone(&shared), orders }, View { shared, orders: sender })
}

fn lock<T>(slot: &Mutex<T>) -> MutexGuard<'_, T> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Source {
    /// Shows a snapshot. One that was not drawn yet is dropped.
    pub fn show(&self, snapshot: Arc<Snapshot>) {
        *lock(&self.shared.snapshot) = Some(snapshot);
    }

    /// Says where a recording is played.
    pub fn playback(&self, playback: Playback) {
        *lock(&self.shared.playback) = Some(playback);
    }

    /// Shows a sentence in the last line.
    pub fn notice(&self, sentence: String) {
        *lock(&self.shared.notice) = Some(sentence);
    }

    /// Closes the view, which restores the terminal.
    pub fn close(&self) {
        self.shared.is_closed.store(true, Ordering::SeqCst);
    }

    /// The next order; `None` if there is none within this time. A view that has ended orders [`Order::Quit`].
    #[must_use]
    pub fn order(&self, within: Duration) -> Option<Order> {
        match self.orders.recv_timeout(within) {
            Ok(order) => Some(order),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => Some(Order::Quit),
        }
    }
}

impl View {
    /// The latest snapshot, if it is new.
    #[must_use]
    pub fn snapshot(&self) -> Option<Arc<Snapshot>> {
        lock(&self.shared.snapshot).take()
    }

    /// Where the recording is played, if that is new.
    #[must_use]
    pub fn playback(&self) -> Option<Playback> {
        lock(&self.shared.playback).take()
    }

    /// A new sentence for the last line.
    #[must_use]
    pub fn notice(&self) -> Option<String> {
        lock(&self.shared.notice).take()
    }

    /// Whether the source wants the view to end.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared.is_closed.load(Ordering::SeqCst)
    }

    /// Gives an order. A source that has ended does not get it.
    pub fn order(&self, order: Order) {
        let _ = self.orders.send(order);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_gets_the_latest_snapshot_once() {
        let (source, view) = link();
        assert!(view.snapshot().is_none());
        for at_ms in [1.0, 2.0, 3.0] {
            source.show(Arc::new(Snapshot { at_ms, ..Snapshot::default() }));
        }
        assert_eq!(view.snapshot().unwrap().at_ms, 3.0);
        assert!(view.snapshot().is_none());
    }

    #[test]
    fn a_source_whose_view_has_ended_is_told_to_quit() {
        let (source, view) = link();
        view.order(Order::Save);
        drop(view);
        assert_eq!(source.order(Duration::ZERO), Some(Order::Save));
        assert_eq!(source.order(Duration::ZERO), Some(Order::Quit));
    }
}
