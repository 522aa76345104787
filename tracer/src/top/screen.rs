//! The terminal while it is the view's: another screen, raw mode, no cursor. Whatever ends the view restores it.

use std::{
    fs::File,
    io::{self, BufWriter, Write as _},
    panic,
    sync::{
        Once,
        atomic::{AtomicBool, Ordering},
    },
};

use ratatui::{
    Terminal,
    backend::CrosstermBackend,
    crossterm::{
        cursor::Show,
        execute,
        terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode},
    },
};

/// The terminal that the view draws on.
pub(super) type Tty = Terminal<CrosstermBackend<BufWriter<File>>>;

/// Room for a whole frame, so that the terminal gets it at once.
const FRAME: usize = 64 << 10;

/// The process's terminal (`tty(4)`): standard streams belong to the command, or lead elsewhere.
const TTY: &str = "/dev/tty";

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

/// Gives the terminal back as it was. Does nothing if the view does not have it. For any thread.
pub fn restore() {
    if !IS_TAKEN.swap(false, Ordering::SeqCst) {
        return;
    }
    // These fail only if the terminal is gone.
    if let Ok(mut tty) = open() {
        let _ = execute!(tty, LeaveAlternateScreen, Show);
        let _ = tty.flush();
    }
    let _ = disable_raw_mode();
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
