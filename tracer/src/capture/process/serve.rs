//! What the process does.

use std::{
    io,
    os::unix::net::UnixStream,
    path::Path,
    sync::{
        atomic::Ordering,
        mpsc::{SyncSender, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use bytes::{Buf as _, Bytes, BytesMut};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    net::{RecvFlags, recv},
};
use serde::Serialize;

use super::wire::{self, HEADER, Kind, Order};
use crate::{
    capture::{
        Options,
        folder::{Folder, FolderError},
        stored::{Folders, RecoveryFolder, Stored as _},
        writer::{Capture, Source},
    },
    sys::privileges::Rights,
};

/// How many bytes of records are taken from the socket at once.
const BATCH: usize = 1 << 20;
/// How often tracer is told that the work goes on.
const PROGRESS: Duration = Duration::from_millis(50);

/// Serves tracer until it ends.
pub(super) fn serve(socket: &UnixStream, path: &Path, recover: Option<&Path>) -> io::Result<()> {
    let (mut folders, mut next) = (None, None);
    loop {
        let order = next.take().map_or_else(|| wire::order(socket), Ok)?;
        match (order, &mut folders) {
            (Order::Open, _) => {
                let opened = open(path, recover).map(|opened| folders = Some(opened));
                answer(socket, opened)?;
            }
            (Order::Store(options), Some((folder, _))) => next = store(socket, folder, options)?,
            (order, Some((folder, recover))) => {
                serve_one(socket, folder, recover.as_mut(), order)?;
            }
            (_, None) => answer::<()>(socket, Err(io::Error::other("it is not open")))?,
        }
    }
}

fn open(
    path: &Path,
    recover: Option<&Path>,
) -> Result<(Folder, Option<RecoveryFolder>), FolderError> {
    let folder = Folder::create(path)?;
    match recover.map(RecoveryFolder::create).transpose() {
        Ok(recover) => Ok((folder, recover)),
        Err(error) => {
            folder.take_back(&[]);
            Err(error)
        }
    }
}

fn serve_one(
    socket: &UnixStream,
    folder: &Folder,
    recover: Option<&mut RecoveryFolder>,
    order: Order,
) -> io::Result<()> {
    if let Order::TakeBack(files) = &order {
        let files: Vec<&str> = files.iter().map(String::as_str).collect();
        folder.take_back(&files);
        if let Some(recover) = recover {
            recover.take_back();
        }
        return answer(socket, Ok::<_, FolderError>(()));
    }
    let mut stored = Folders { folder, recover };
    let read = match order {
        Order::Recover { of, parts } => {
            return answer(socket, stored.recover(&of, &parts).transpose());
        }
        Order::Read { name, offset, most } => stored.read(&name, offset, most),
        Order::ReadPart(part) => stored.read_part(&part),
        Order::Open | Order::Store(_) | Order::TakeBack(_) => Ok(Vec::new()),
    };
    match read {
        Ok(bytes) => wire::send(socket, Kind::Bytes, &bytes),
        Err(error) => answer::<()>(socket, Err(error)),
    }
}

/// Stores records until the rows come, and answers with the summary. Returns the order that comes instead of rows if the
/// trace has not begun. An error if tracer is gone.
fn store(socket: &UnixStream, folder: &Folder, options: Options) -> io::Result<Option<Order>> {
    let (ended, last) = sync_channel(1);
    let records =
        Records { socket: socket.try_clone()?, buffer: BytesMut::new(), ended: Some(ended) };
    let started = folder
        .again()
        .map_err(io::Error::from)
        .and_then(|folder| Capture::start(records, Some(folder), options, None));
    // The threads have what they need.
    Rights::None.take()?;
    let capture = match started {
        Ok(capture) => {
            answer(socket, Ok::<_, FolderError>(()))?;
            capture
        }
        Err(error) => return answer::<()>(socket, Err(error)).map(|()| None),
    };
    let rows = match last.recv() {
        Ok((Kind::Rows, rows)) => serde_json::from_slice(&rows)?,
        other => {
            capture.stop(|_| true);
            let (_, order) = other.map_err(io::Error::other)?;
            return Ok(Some(serde_json::from_slice(&order)?));
        }
    };
    let cut = capture.cut();
    let mut told = Instant::now();
    let progress = |idle: Duration| {
        if idle < PROGRESS && told.elapsed() > PROGRESS {
            told = Instant::now();
            // tracer may have given up.
            let _ = wire::send(socket, Kind::Progress, &[]);
        }
        if is_cut(socket) {
            cut.store(true, Ordering::Relaxed);
        }
        true
    };
    let summary = capture.finish(rows, progress).unwrap_or_default();
    answer(socket, Ok::<_, FolderError>(summary)).map(|()| None)
}

/// Whether tracer has no time left. After the rows it sends nothing else.
fn is_cut(socket: &UnixStream) -> bool {
    let mut frame = [0; HEADER];
    let found = recv(socket, &mut frame[..], RecvFlags::DONTWAIT);
    matches!(found, Ok((HEADER, _))) && matches!(wire::parse(frame), Ok((Kind::Cut, 0)))
}

fn answer<T: Serialize>(
    socket: &UnixStream,
    answer: Result<T, impl std::fmt::Display>,
) -> io::Result<()> {
    wire::send_json(socket, Kind::Json, &answer.map_err(|error| error.to_string()))
}

/// The records that come over the socket, until the rows come.
struct Records {
    socket: UnixStream,
    buffer: BytesMut,
    /// Gets the first frame that is no record. `None` if it was there, or if tracer is gone.
    ended: Option<SyncSender<(Kind, Bytes)>>,
}

impl Records {
    /// The next frame, if it is there.
    fn frame(&mut self) -> Option<(Kind, Bytes)> {
        loop {
            self.ended.as_ref()?;
            if let Some(header) = self.buffer.first_chunk::<HEADER>() {
                // tracer sends no other frames.
                let Ok((kind, length)) = wire::parse(*header) else { return self.is_gone() };
                if self.buffer.len() - HEADER >= length {
                    self.buffer.advance(HEADER);
                    return Some((kind, self.buffer.split_to(length).freeze()));
                }
            }
            let mut bytes = [0; 64 << 10];
            match recv(&self.socket, &mut bytes[..], RecvFlags::DONTWAIT) {
                Ok((length, _)) if length > 0 => self.buffer.extend_from_slice(&bytes[..length]),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return None,
                _ => return self.is_gone(),
            }
        }
    }

    fn is_gone<T>(&mut self) -> Option<T> {
        self.ended = None;
        None
    }
}

impl Source for Records {
    fn wait(&mut self, at_most: Duration) -> io::Result<()> {
        if self.ended.is_none() {
            thread::sleep(at_most);
            return Ok(());
        }
        let at_most = Timespec::try_from(at_most).map_err(io::Error::other)?;
        poll(&mut [PollFd::new(&self.socket, PollFlags::IN)], Some(&at_most))?;
        Ok(())
    }

    fn drain(&mut self) -> Vec<Bytes> {
        let (mut records, mut size) = (Vec::new(), 0);
        while size < BATCH
            && let Some((kind, bytes)) = self.frame()
        {
            if kind == Kind::Record {
                size += bytes.len();
                records.push(bytes);
            } else if let Some(ended) = self.ended.take() {
                // Its receiver waits for it.
                let _ = ended.send((kind, bytes));
            }
        }
        records
    }
}
