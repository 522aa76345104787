//! Keeps the last bytes of streams in memory: a thread that empties the ring into [`Tails`]. Nothing goes to disk here.

use std::{
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use tracer_core::capture::{
    chunk,
    tails::{TailLimits, Tails},
};
use tracer_loader::boot_ns;

use super::writer::Source;
use crate::sys::privileges::{self, Rights};

/// How long to wait for the ring.
const WAIT: Duration = Duration::from_millis(100);
/// How often [`TailKeeper::catch_up`] looks.
const TURN: Duration = Duration::from_millis(2);

/// What the thread and its owner share.
#[derive(Debug)]
struct Shared {
    tails: Mutex<Tails>,
    /// Everything that was written until then has been taken, nanoseconds since boot.
    taken_ns: AtomicU64,
    stop: AtomicBool,
}

/// The running thread. It ends soon after this is dropped.
#[derive(Debug)]
pub struct TailKeeper {
    shared: Arc<Shared>,
}

impl TailKeeper {
    /// Starts the thread.
    ///
    /// # Errors
    /// An error if the system allows no further thread.
    pub fn start(source: impl Source + 'static, limits: TailLimits) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            tails: Mutex::new(Tails::new(limits)),
            taken_ns: AtomicU64::new(0),
            stop: AtomicBool::new(false),
        });
        let of_thread = Arc::clone(&shared);
        privileges::spawn("tails", Rights::None, move || run(source, &of_thread))?;
        Ok(Self { shared })
    }

    /// What is kept now. The thread waits meanwhile.
    pub fn tails(&self) -> MutexGuard<'_, Tails> {
        self.shared.tails()
    }

    /// Whether everything has been taken that was written until this time, nanoseconds since boot.
    #[must_use]
    pub fn has_taken(&self, until_ns: u64) -> bool {
        self.shared.taken_ns.load(Ordering::Acquire) >= until_ns
    }

    /// Waits until everything has been taken that was written until now, at most this long.
    pub fn catch_up(&self, at_most: Duration) {
        let (now_ns, begin) = (boot_ns(), Instant::now());
        while !self.has_taken(now_ns) && begin.elapsed() < at_most {
            thread::sleep(TURN);
        }
    }
}

impl Drop for TailKeeper {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
    }
}

impl Shared {
    fn tails(&self) -> MutexGuard<'_, Tails> {
        // What a panic has left is whole enough: each change is made by one call.
        self.tails.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn run(mut source: impl Source, shared: &Shared) {
    let mut is_told = false;
    while !shared.stop.load(Ordering::Acquire) {
        if let Err(error) = source.wait(WAIT) {
            if !std::mem::replace(&mut is_told, true) {
                tracing::warn!("cannot wait for the capture ring: {error}; it is polled instead");
            }
            thread::sleep(WAIT);
        }
        loop {
            let began_ns = boot_ns();
            let batch = source.drain();
            if batch.is_empty() {
                shared.taken_ns.store(began_ns, Ordering::Release);
                break;
            }
            let mut tails = shared.tails();
            // A record that cannot be decoded is missing in the sums of its row, and becomes a gap there.
            batch.iter().filter_map(|record| chunk::decode(record).ok()).for_each(|chunk| {
                tails.see(&chunk);
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, channel};

    use bytes::Bytes;

    use super::*;
    use crate::capture::sample::{key, record};

    struct Batches(Receiver<Bytes>);

    impl Source for Batches {
        fn wait(&mut self, _: Duration) -> io::Result<()> {
            thread::sleep(Duration::from_millis(1));
            Ok(())
        }

        fn drain(&mut self) -> Vec<Bytes> {
            self.0.try_recv().into_iter().collect()
        }
    }

    #[test]
    fn what_comes_through_the_ring_is_kept_and_junk_is_not() {
        let (send, batches) = channel();
        let keeper =
            TailKeeper::start(Batches(batches), TailLimits { stream: 64, total: 4096 }).unwrap();
        for bytes in [&record(&key(1), 0, b"abc")[..], b"junk", &record(&key(1), 0, b"def")] {
            send.send(Bytes::copy_from_slice(bytes)).unwrap();
        }
        let begin = Instant::now();
        let bytes = |keeper: &TailKeeper| {
            let kept = keeper.tails().kept(&key(1).object).unwrap_or_default();
            kept.parts.iter().map(tracer_core::capture::tails::TailPart::length).sum::<u64>()
        };
        while bytes(&keeper) < 6 {
            assert!(begin.elapsed() < Duration::from_secs(30));
        }
        keeper.catch_up(Duration::from_secs(30));
        assert!(keeper.has_taken(1));
        assert_eq!(keeper.tails().len(), 1);
    }
}
