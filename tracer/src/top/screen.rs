//! The terminal while it is the view's: another screen, raw mode, no cursor. Whatever ends the view restores it.

use std::{
    fs::File,
    io::{self, BufWriter},
    panic,
    sync::{
        Once,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use ratatui::{
    Terminal,
    backend::CrosstermBackend,
    crossterm::{
        cursor::Show,
        execute, queue,
        terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode},
    },
};
use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
};

/// The terminal that the view draws on.
pub(super) type Tty = Terminal<CrosstermBackend<BufWriter<File>>>;

/// Room for a whole frame, so that the terminal gets it at once.
const FRAME: usize = 64 << 10;

/// The process's terminal (`tty(4)`): standard streams belong to the command, or lead elsewhere.
const TTY: &str = "/dev/tty";

/// How long the terminal may take for the words that restore it.
const LAST_MOMENTS: Duration = Duration::from_millis(200);
/// How often it is tried again.
const TURN: Duration = Duration::from_millis(2);

/// Whether the view has the terminal.
static IS_TAKEN: AtomicBool = AtomicBool::new(false);

/// The terminal, before the view takes it.
#[derive(Debug)]
pub struct Screen {
    tty: File,
}

impl Screen {
    /// Opens the terminal, and changes nothing.
    ///
    /// # Errors
    /// An error if this process has no terminal.
    pub fn open() -> io::Result<Self> {
        Ok(Self { tty: open()? })
    }

    /// Takes the terminal. [`restore`] gives it back.
    pub(super) fn take(self) -> io::Result<Tty> {
        restore_on_panic();
        enable_raw_mode()?;
        IS_TAKEN.store(true, Ordering::SeqCst);
        let mut tty = self.tty;
        execute!(tty, EnterAlternateScreen)?;
        Terminal::new(CrosstermBackend::new(BufWriter::with_capacity(FRAME, tty)))
    }
}

fn open() -> io::Result<File> {
    File::options().read(true).write(true).open(TTY)
}

/// Gives the terminal back as it was. Does nothing if the view does not have it. For any thread: a terminal that takes
/// nothing now, because nobody reads it or because of Ctrl-S, is not waited for.
pub fn restore() {
    if !IS_TAKEN.swap(false, Ordering::SeqCst) {
        return;
    }
    // These fail only if the terminal is gone, or takes nothing.
    let mut words = Vec::new();
    if queue!(words, LeaveAlternateScreen, Show).is_ok() {
        let _ = print(&words, |idle| idle < LAST_MOMENTS);
    }
    let _ = disable_raw_mode();
}

/// Writes to the terminal. `waits` is asked with the time since it last took something, which nobody knows the end of:
/// whether to go on.
///
/// # Errors
/// Errors of the terminal; [`io::ErrorKind::TimedOut`] if `waits` ends the wait.
pub fn print(mut text: &[u8], mut waits: impl FnMut(Duration) -> bool) -> io::Result<()> {
    // This description is tracer's own, so no program gets another mode by it.
    let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let tty = rustix::fs::open(TTY, flags, Mode::empty())?;
    let mut since = Instant::now();
    while !text.is_empty() {
        match rustix::io::write(&tty, text) {
            Ok(taken) => (text, since) = (&text[taken..], Instant::now()),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) if waits(since.elapsed()) => thread::sleep(TURN),
            Err(Errno::AGAIN) => {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "it takes nothing"));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// A panic is told on the restored screen.
fn restore_on_panic() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let tell = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            restore();
            tell(panic);
        }));
    });
}
