//! Files for reports that a view saves: each has a new name. A helper process opens and writes them, because the main
//! process has given up the rights of root by then, and because their file system may stand still.

use std::{
    io::{self, ErrorKind, Read as _, Write as _},
    os::unix::net::UnixStream,
    path::PathBuf,
    time::Duration,
};

use super::{
    helper::{Helper, Kept, Refusal, encode},
    private_file,
};

/// How long a report may take to be written.
const PATIENCE: Duration = Duration::from_secs(5);
/// The largest report.
const LARGEST: u64 = 1 << 30;
/// The most reports of one run.
const MOST_FILES: u32 = 10_000;

/// Writes reports into the directory that tracer was started in.
#[derive(Debug)]
pub struct ReportFiles {
    helper: Helper,
}

impl ReportFiles {
    /// Forks the helper. To be called while this process has one thread. The files are called `STEM-1EXTENSION`,
    /// `STEM-2EXTENSION`, and so on.
    ///
    /// # Errors
    /// An error if the system allows no further process.
    pub fn fork(stem: String, extension: &'static str) -> io::Result<Self> {
        let helper = Helper::fork(Kept::Directory, move |socket| serve(socket, &stem, extension))?;
        helper.socket.set_read_timeout(Some(PATIENCE))?;
        helper.socket.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { helper })
    }

    /// Writes a report to a new file with mode 0600. Returns its path.
    ///
    /// # Errors
    /// Errors of the file; [`ErrorKind::WouldBlock`] if its file system does not answer.
    pub fn save(&mut self, report: &[u8]) -> io::Result<PathBuf> {
        let socket = &mut self.helper.socket;
        socket.write_all(&(report.len() as u64).to_ne_bytes())?;
        socket.write_all(report)?;
        let mut line = Vec::new();
        let mut byte = [0];
        while byte != *b"\n" {
            socket.read_exact(&mut byte)?;
            line.push(byte[0]);
        }
        let answer: Result<PathBuf, Refusal> = serde_json::from_slice(&line)?;
        Ok(answer?)
    }
}

/// What the helper does, until the other end is closed.
fn serve(mut socket: UnixStream, stem: &str, extension: &str) -> io::Result<()> {
    let mut next = 1;
    loop {
        let mut length = [0; 8];
        socket.read_exact(&mut length)?;
        let length = u64::from_ne_bytes(length).min(LARGEST);
        let mut report = Vec::new();
        (&mut socket).take(length).read_to_end(&mut report)?;
        let saved = save(&report, stem, extension, &mut next);
        socket.write_all(&encode(&saved.map_err(|error| Refusal::from(&error)))?)?;
    }
}

/// Writes to the first name that no file with content has.
fn save(report: &[u8], stem: &str, extension: &str, next: &mut u32) -> io::Result<PathBuf> {
    while *next < MOST_FILES {
        let path = PathBuf::from(format!("{stem}-{next}{extension}"));
        *next += 1;
        let mut file = private_file::open(&path)?;
        if file.metadata()?.len() == 0 {
            file.write_all(report)?;
            return Ok(path);
        }
    }
    Err(io::Error::new(ErrorKind::AlreadyExists, "every name is in use"))
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::*;

    #[test]
    fn a_file_with_content_is_never_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let stem = folder.path().join("report").display().to_string();
        fs::write(folder.path().join("report-1.txt"), "mine").unwrap();
        let mut next = 1;
        let path = save(b"new", &stem, ".txt", &mut next).unwrap();
        assert_eq!(path, folder.path().join("report-2.txt"));
        assert_eq!(fs::read(folder.path().join("report-1.txt")).unwrap(), b"mine");
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let path = save(b"more", &stem, ".txt", &mut next).unwrap();
        assert_eq!(path, folder.path().join("report-3.txt"));
    }

    #[test]
    fn a_helper_saves_and_tells_the_name_or_the_error() {
        let folder = tempfile::tempdir().unwrap();
        let stem = folder.path().join("report").display().to_string();
        let (socket, end) = UnixStream::pair().unwrap();
        std::thread::spawn(move || serve(end, &stem, ".txt"));
        let mut files = ReportFiles { helper: Helper::of_thread(socket) };
        let path = files.save(b"text").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"text");
        drop(folder);
        assert_eq!(files.save(b"text").unwrap_err().kind(), ErrorKind::NotFound);
    }
}
