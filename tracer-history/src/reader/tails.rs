//! The ends of streams that lost output.

use std::io::Read as _;

use rusqlite::Row as SqlRow;

use super::file::{File, count};
use crate::Tail;

/// The longest tail that is unpacked, in bytes.
const LONGEST: u64 = 64 << 20;

impl File {
    /// The tails of an entry. A file in which none was ever kept has no table for them.
    pub(super) fn tails(&self, entry: i64) -> Vec<Tail> {
        let has_table = self.rows("SELECT 1 FROM sqlite_schema WHERE name = 'tails'", |_| Ok(()));
        if has_table.is_empty() {
            return Vec::new();
        }
        // It is a number.
        let sql = format!(
            "SELECT fd, object, written, lost, kept, missing, not_kept, text FROM tails
             WHERE entry = {entry} ORDER BY rowid"
        );
        self.rows(&sql, tail)
    }
}

fn tail(row: &SqlRow<'_>) -> rusqlite::Result<Tail> {
    let packed: Vec<u8> = row.get(7)?;
    let mut text = Vec::new();
    // What cannot be unpacked is left out.
    let _ = zstd::Decoder::new(packed.as_slice())
        .and_then(|decoder| decoder.take(LONGEST).read_to_end(&mut text));
    Ok(Tail {
        fd: row.get(0)?,
        object: row.get(1)?,
        written: count(row.get(2)?),
        lost: row.get::<_, Option<i64>>(3)?.map(count),
        kept: count(row.get(4)?),
        missing: count(row.get(5)?),
        not_kept: row.get(6)?,
        text,
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use crate::{
        Answer, Entry, Question, Reader, Subject, Tail,
        sample::{entry, lost, write},
    };

    fn tail(text: &[u8]) -> Tail {
        Tail {
            fd: 1,
            object: "pipe:[88123]".into(),
            written: 9_000,
            lost: Some(4_797),
            kept: text.len() as u64,
            missing: 3,
            not_kept: Some("limit".into()),
            text: text.to_vec(),
        }
    }

    fn answered(folder: &std::path::Path, pid: u32) -> Entry {
        let subject = Subject { pid: Some(pid), ..Subject::default() };
        let question = Question { subject, at_us: None, precision_us: 0 };
        let Answer::Found { entry, .. } = Reader::open(folder).unwrap().why(&question) else {
            panic!("no {pid}")
        };
        *entry
    }

    #[test]
    fn tails_come_with_the_answer_and_not_in_lists() {
        let folder = tempfile::tempdir().unwrap();
        // Only the second write makes the table.
        write(folder.path(), [entry(0)]);
        assert_eq!(answered(folder.path(), entry(0).pid).tails, []);
        let tails = vec![tail(b"a\xff\0b\n"), Tail { lost: None, not_kept: None, ..tail(b"") }];
        write(folder.path(), [Entry { tails: tails.clone(), ..lost(1) }, lost(2)]);
        assert_eq!(answered(folder.path(), lost(1).pid).tails, tails);
        assert_eq!(answered(folder.path(), lost(2).pid).tails, []);
        let reader = Reader::open(folder.path()).unwrap();
        let listed = reader.entries(&crate::Filter::default(), 10);
        assert!(listed.len() == 3 && listed.iter().all(|entry| entry.tails.is_empty()));
        let line = serde_json::to_string(&Entry { tails, ..lost(1) }).unwrap();
        assert!(!line.contains("tails"), "{line}");
    }

    /// The text is in no file but that of its entry, and not for others to read.
    #[test]
    fn the_file_with_the_text_is_private() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), [Entry { tails: vec![tail(b"secret")], ..lost(1) }]);
        let files: Vec<_> = fs::read_dir(folder.path()).unwrap().map(Result::unwrap).collect();
        assert_eq!(files.len(), 1, "{files:?}");
        assert_eq!(files[0].metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
}
