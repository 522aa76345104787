//! How much CPU time a thread has used: whether it works or waits.

use std::{mem::MaybeUninit, time::Duration};

/// The CPU-time clock of one thread of this process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CpuClock(libc::clockid_t);

impl CpuClock {
    /// The clock of the calling thread; `None` if the system has none.
    pub(crate) fn of_this_thread() -> Option<Self> {
        let mut clock = 0;
        // SAFETY: `pthread_self` takes no pointer and always succeeds; the clock's id lives here.
        let status = unsafe { libc::pthread_getcpuclockid(libc::pthread_self(), &raw mut clock) };
        (status == 0).then_some(Self(clock))
    }

    /// The CPU time that the thread has used. The clock of a thread that has ended tells none.
    pub(crate) fn used(self) -> Option<Duration> {
        let mut time = MaybeUninit::<libc::timespec>::uninit();
        // SAFETY: the structure lives here.
        let status = unsafe { libc::clock_gettime(self.0, time.as_mut_ptr()) };
        // SAFETY: a call that succeeds has filled it.
        let time = (status == 0).then(|| unsafe { time.assume_init() })?;
        let seconds = u64::try_from(time.tv_sec).ok()?;
        Some(Duration::new(seconds, u32::try_from(time.tv_nsec).ok()?))
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, thread};

    use super::*;

    #[test]
    fn a_thread_that_works_uses_time_and_one_that_waits_does_not() {
        let (tell, clocks) = mpsc::channel();
        let (works, may_wait) = mpsc::channel::<()>();
        let (end, ends) = mpsc::channel::<()>();
        let thread = thread::spawn(move || {
            tell.send(CpuClock::of_this_thread().unwrap()).unwrap();
            while may_wait.try_recv().is_err() {}
            let _ = ends.recv();
        });
        let clock = clocks.recv().unwrap();
        let before = clock.used().unwrap();
        while clock.used().unwrap() <= before + Duration::from_millis(2) {}
        works.send(()).unwrap();
        let mut used = clock.used().unwrap();
        // It may not have begun to wait.
        loop {
            thread::sleep(Duration::from_millis(50));
            match clock.used().unwrap() {
                same if same == used => break,
                more => used = more,
            }
        }
        end.send(()).unwrap();
        thread.join().unwrap();
    }
}
