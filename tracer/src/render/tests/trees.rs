//! Screens of real trees: recordings in `tests/sessions/trees`, and beside each its screen.
//!
//! `bash tests/sessions/trees/record.sh TRACER FUNCTION…` as root records them again in `/tmp/demo`. Then, and after a
//! change of the wording, `TRACER_BLESS=1 cargo test -p tracer --lib trees` writes the screens: read each before you
//! commit it.
//!
//! | name | command line | what happened |
//! |---|---|---|
//! | `make` | `-- make -j4` on a terminal | the reader of `./app` fails and 69,618 B are lost; `./app \| head` is as intended |
//! | `cargo` | `-- cargo build --offline` on a terminal | all arrived: a warning |
//! | `docker-run` | `-- docker run --rm box sh -c 'seq 1 2000; echo warning >&2'` on a terminal | all arrived |
//! | `docker-exec` | `--container web` | a client of `docker exec` was killed: dockerd threw 292 B away |
//! | `supervisord` | `--pid N` | one program has a log, and one is started with `>/dev/null` |
//! | `tmux` | `--pid N` | a window is killed while its program writes: 4,095 B are lost |
//! | `nginx` | `-- nginx -c nginx.conf`, a `cat` for each stream | all arrived: 22 requests, one of them 404 |
//! | `ci` | `-- bash ci.sh \| cat` | the log of the step that failed is deleted: 64 B are lost; `tests \| grep -q` stops tests |
//! | `ssh` | `--pid N`, of sshd | all arrived: a command, and one with `-tt` |
//! | `machine` | `--pid 1 --duration 12s` in a virtual machine | a job's reader only sleeps: 692 B are lost; a service writes to /dev/null |

use std::{env, fs, path::PathBuf};

use tracer_core::recording::read;

use super::{
    super::{Format, Style, View},
    rendered,
    screen::check_size,
};

const NAMES: [&str; 10] = [
    "cargo",
    "ci",
    "docker-exec",
    "docker-run",
    "machine",
    "make",
    "nginx",
    "ssh",
    "supervisord",
    "tmux",
];

#[test]
fn a_real_tree_is_one_screen() {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/sessions/trees"));
    let style = Style { color: false, width: 80 };
    for name in NAMES {
        let session = fs::read(folder.join(format!("{name}.session"))).unwrap();
        let (report, _) = read(session.as_slice(), u64::MAX).unwrap().report();
        let text = rendered(&report, Format::Human, &View::default(), &style);
        check_size(&text, 80).unwrap();
        assert!(text.starts_with(['✗', '!', '✓']), "{name} begins without a mark:\n{text}");
        let golden = folder.join(format!("{name}.txt"));
        if env::var_os("TRACER_BLESS").is_some() {
            fs::write(golden, text).unwrap();
        } else {
            let golden = fs::read_to_string(golden).unwrap();
            assert!(text == golden, "trees/{name}.txt differs from what was rendered:\n{text}");
        }
    }
}
