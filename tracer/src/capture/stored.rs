//! What is stored of a capture, read again, and the folder for what was lost.

use std::{
    io::{self, BufWriter, Read, Write as _},
    path::Path,
};

use serde::{Deserialize, Serialize};
use tracer_core::capture::INDEX;

use super::folder::{Folder, FolderError};

/// How many bytes of the index are read at once.
const BLOCK: u64 = 1 << 20;

/// A part of a file in a capture folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilePart {
    /// The name of the file.
    pub file: String,
    /// Where the part begins, in bytes.
    pub offset: u64,
    /// Its length in bytes.
    pub length: u64,
}

/// The files of a capture.
pub trait Stored {
    /// The folder.
    fn path(&self) -> &Path;

    /// Reads from an offset: at most as many bytes, and fewer only at the end of the file.
    ///
    /// # Errors
    /// [`FolderError`].
    fn read(&mut self, name: &str, offset: u64, most: u64) -> Result<Vec<u8>, FolderError>;

    /// Reads a part of a file.
    ///
    /// # Errors
    /// [`FolderError`], also if the file has no such part or if it is too long.
    fn read_part(&mut self, part: &FilePart) -> Result<Vec<u8>, FolderError>;

    /// Writes a recovered loss, which consists of these parts, into a file in the folder of `--recover`. The file's name
    /// ends with `of`, the file of the stream. Returns its path; `None` if the user named no such folder.
    fn recover(&mut self, of: &str, parts: &[FilePart]) -> Option<Result<String, FolderError>>;
}

/// The index of a capture, as a reader.
pub struct Index<'a> {
    stored: &'a mut dyn Stored,
    offset: u64,
}

impl<'a> Index<'a> {
    /// From its beginning.
    pub fn new(stored: &'a mut dyn Stored) -> Self {
        Self { stored, offset: 0 }
    }
}

impl Read for Index<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.stored.read(INDEX, self.offset, BLOCK.min(buffer.len() as u64))?;
        buffer[..bytes.len()].copy_from_slice(&bytes);
        self.offset += bytes.len() as u64;
        Ok(bytes.len())
    }
}

impl Index<'_> {
    /// The index in blocks.
    #[must_use]
    pub fn buffered(self) -> io::BufReader<Self> {
        io::BufReader::with_capacity(BLOCK as usize, self)
    }
}

/// `--recover`: a folder with one file for each loss.
#[derive(Debug)]
pub struct RecoveryFolder {
    folder: Folder,
    /// Number of files so far, over all reports of this run.
    count: u32,
}

impl RecoveryFolder {
    /// Opens the folder.
    ///
    /// # Errors
    /// As [`Folder::create`].
    pub fn create(path: &Path) -> Result<Self, FolderError> {
        Ok(Self { folder: Folder::create(path)?, count: 0 })
    }

    /// Removes the folder if it was created for this run and has no files.
    pub fn take_back(&self) {
        self.folder.take_back(&[]);
    }

    fn save(&mut self, of: &str, from: &Folder, parts: &[FilePart]) -> Result<String, FolderError> {
        self.count += 1;
        let name = format!("{}-{of}", self.count);
        let path = self.folder.path().join(&name);
        let mut out = BufWriter::new(self.folder.create_file(&name)?);
        for FilePart { file, offset, length } in parts {
            from.copy_range(file, *offset, *length, &mut out)?;
        }
        out.flush().map_err(|error| FolderError::io("write", &path, error))?;
        Ok(path.display().to_string())
    }
}

/// Folders that this process opened.
#[derive(Debug)]
pub struct Folders<'a> {
    /// The capture.
    pub folder: &'a Folder,
    /// The folder for recovered output.
    pub recover: Option<&'a mut RecoveryFolder>,
}

impl Stored for Folders<'_> {
    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn read(&mut self, name: &str, offset: u64, most: u64) -> Result<Vec<u8>, FolderError> {
        self.folder.read_from(name, offset, most)
    }

    fn read_part(&mut self, part: &FilePart) -> Result<Vec<u8>, FolderError> {
        self.folder.read_range(&part.file, part.offset, part.length)
    }

    fn recover(&mut self, of: &str, parts: &[FilePart]) -> Option<Result<String, FolderError>> {
        Some(self.recover.as_mut()?.save(of, self.folder, parts))
    }
}
