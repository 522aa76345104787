//! The recorder's configuration file, whose keys are the names of its options.
//!
//! ```toml
//! containers = true              # or one of: cgroup = ["docker/*"], unit = ["nginx.service"], all = true
//! history = "/var/lib/tracer"
//! keep = "30d"
//! max-history = "10GiB"
//! max-memory = "200MiB"
//! keep-tail = "64KiB"
//! pinned = false
//! redact = ["password=[^ ]*"]
//! metrics = "127.0.0.1:9753"
//! otlp = "http://127.0.0.1:4318"
//! journald = true
//! attach = "auto"               # or "fexit", "sys_exit"
//! ```

use std::{
    io,
    num::NonZeroU64,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Deserializer, de::Error as _};
use tracer_core::text::redact::Redact;
use tracer_reach::{Address, Endpoint};

use super::{AttachChoice, duration, size};
use crate::{
    scope::Wanted,
    sys::{bounded, limits::in_words},
};

/// Where the file is.
pub const CONFIG: &str = "/etc/tracer.toml";

/// What the file says. What it does not say is `None`, `false` or empty.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Config {
    containers: bool,
    cgroup: Vec<String>,
    unit: Vec<String>,
    all: bool,
    /// The folder for what is recorded.
    pub history: Option<PathBuf>,
    /// How long what is recorded is kept.
    #[serde(deserialize_with = "a_duration")]
    pub keep: Option<Duration>,
    /// How many bytes of it are kept.
    #[serde(deserialize_with = "a_size")]
    pub max_history: Option<NonZeroU64>,
    /// How many bytes of memory the recorder may use for processes, objects and counts.
    #[serde(deserialize_with = "a_size")]
    pub max_memory: Option<NonZeroU64>,
    /// How many of the last bytes of each stream are kept of output that is lost.
    #[serde(deserialize_with = "a_size")]
    pub keep_tail: Option<NonZeroU64>,
    /// Whether programs and maps stay attached when the recorder ends.
    pub pinned: bool,
    /// What is replaced in command lines and output before it is recorded; `None` for nothing.
    #[serde(deserialize_with = "patterns")]
    pub redact: Option<Redact>,
    /// Where metrics can be asked for; `None` for nowhere.
    #[serde(deserialize_with = "an_address")]
    pub metrics: Option<Address>,
    /// The collector of OpenTelemetry that is told.
    #[serde(deserialize_with = "an_endpoint")]
    pub otlp: Option<Endpoint>,
    /// Whether journald is told.
    pub journald: bool,
    /// Where the programs count.
    pub attach: Option<AttachChoice>,
}

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be read.
    #[error("cannot read {}: {}", path.display(), in_words(source))]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// It says something that tracer does not understand.
    #[error("{}, line {line}: {reason}; correct this line or remove it", path.display())]
    Wrong {
        /// The file.
        path: PathBuf,
        /// The line, from 1 on.
        line: usize,
        /// What is wrong, and what is possible.
        reason: String,
    },
    /// It names cgroups in two ways.
    #[error("{} has both `{first}` and `{second}`: keep one of them", path.display())]
    TwoScopes {
        /// The file.
        path: PathBuf,
        /// A key.
        first: &'static str,
        /// Another key.
        second: &'static str,
    },
}

impl Config {
    /// Reads the file; `None` if there is none.
    ///
    /// # Errors
    /// [`ConfigError`] also for a key that is unknown.
    pub fn read(path: &Path) -> Result<Option<Self>, ConfigError> {
        let text = match bounded::text(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(ConfigError::Unreadable { path: path.to_owned(), source }),
        };
        let config: Self = toml::from_str(&text).map_err(|error| ConfigError::Wrong {
            path: path.to_owned(),
            line: line_of(&text, error.span().map_or(0, |span| span.start)),
            reason: error.message().replace('\n', ", "),
        })?;
        match config.scopes().as_slice() {
            [first, second, ..] => {
                Err(ConfigError::TwoScopes { path: path.to_owned(), first, second })
            }
            _ => Ok(Some(config)),
        }
    }

    /// Which cgroups to record; `None` if the file does not say it.
    #[must_use]
    pub fn wanted(&self) -> Option<Wanted> {
        match *self.scopes().first()? {
            "containers" => Some(Wanted::Containers),
            "cgroup" => Some(Wanted::Globs(self.cgroup.clone())),
            "unit" => Some(Wanted::Units(self.unit.clone())),
            _ => Some(Wanted::All),
        }
    }

    /// The keys that name cgroups.
    fn scopes(&self) -> Vec<&'static str> {
        let said = [
            ("containers", self.containers),
            ("cgroup", !self.cgroup.is_empty()),
            ("unit", !self.unit.is_empty()),
            ("all", self.all),
        ];
        said.into_iter().filter_map(|(key, is_said)| is_said.then_some(key)).collect()
    }
}

/// The line that has this byte, from 1 on.
fn line_of(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1
}

fn a_duration<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Duration>, D::Error> {
    duration(&String::deserialize(value)?).map(Some).map_err(D::Error::custom)
}

fn a_size<'de, D: Deserializer<'de>>(value: D) -> Result<Option<NonZeroU64>, D::Error> {
    size(&String::deserialize(value)?).map(Some).map_err(D::Error::custom)
}

fn an_address<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Address>, D::Error> {
    String::deserialize(value)?.parse().map(Some).map_err(D::Error::custom)
}

fn an_endpoint<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Endpoint>, D::Error> {
    String::deserialize(value)?.parse().map(Some).map_err(D::Error::custom)
}

fn patterns<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Redact>, D::Error> {
    let patterns = Vec::<String>::deserialize(value)?;
    if patterns.is_empty() {
        return Ok(None);
    }
    Redact::new(&patterns).map(Some).map_err(D::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Option<Config>, ConfigError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tracer.toml");
        std::fs::write(&path, text).unwrap();
        Config::read(&path)
    }

    fn refused(text: &str) -> String {
        let sentence = read(text).unwrap_err().to_string();
        assert_eq!(sentence.lines().count(), 1, "{sentence}");
        sentence
    }

    #[test]
    fn every_key_is_understood() {
        let text = "containers = true\nhistory = \"/srv/t\"\nkeep = \"30d\"\nmax-history = \"10GiB\"\n\
                    max-memory = \"1MiB\"\nkeep-tail = \"4KiB\"\nredact = [\"a.*b\"]\nmetrics = \"[::1]:9753\"\n\
                    otlp = \"http://[::1]:4318/\"\njournald = true\nattach = \"sys_exit\"\n";
        let config = read(text).unwrap().unwrap();
        assert_eq!(config.wanted(), Some(Wanted::Containers));
        assert_eq!(config.history, Some(PathBuf::from("/srv/t")));
        assert_eq!(config.keep, Some(Duration::from_secs(30 * 24 * 3600)));
        assert_eq!(config.max_history.unwrap().get(), 10 << 30);
        assert_eq!(config.max_memory.unwrap().get(), 1 << 20);
        assert_eq!(config.keep_tail.unwrap().get(), 4 << 10);
        assert_eq!(config.metrics.unwrap().to_string(), "http://[::1]:9753/metrics");
        assert_eq!(config.otlp.unwrap().to_string(), "http://[::1]:4318");
        assert!(config.journald);
        assert_eq!(&*config.redact.unwrap().line(b"xa1bx"), b"x[redacted]x");
        assert_eq!(config.attach, Some(AttachChoice::SysExit));
        let globs = read("cgroup = [\"docker/*\"]").unwrap().unwrap().wanted();
        assert_eq!(globs, Some(Wanted::Globs(vec!["docker/*".to_owned()])));
        let units = read("unit = [\"a.service\"]").unwrap().unwrap().wanted();
        assert_eq!(units, Some(Wanted::Units(vec!["a.service".to_owned()])));
        assert_eq!(read("all = true").unwrap().unwrap().wanted(), Some(Wanted::All));
        assert_eq!(read("all = false\ncgroup = []").unwrap().unwrap().wanted(), None);
    }

    #[test]
    fn no_file_is_no_error_and_one_that_cannot_be_read_is() {
        assert!(Config::read(Path::new("/nowhere/tracer.toml")).unwrap().is_none());
        let folder = tempfile::tempdir().unwrap();
        let sentence = Config::read(folder.path()).unwrap_err().to_string();
        assert!(sentence.starts_with(&format!("cannot read {}", folder.path().display())));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        let unknown = refused("all = true\n\ncontainer = true\n");
        assert!(unknown.contains("tracer.toml, line 3: unknown field `container`"), "{unknown}");
        assert!(unknown.contains("`containers`"), "{unknown}");
        for (text, part) in [
            ("keep = \"soon\"", "line 1: a duration is a number with a unit"),
            ("\nmax-history = \"much\"", "line 2: a size is a number of bytes"),
            ("redact = [\"(a\"]", "line 1: "),
            (
                "otlp = \"https://collector:4318\"",
                "line 1: tracer has no TLS: name a collector on this",
            ),
            ("otlp = \"collector:4318\"", "line 1: this is no URL"),
            ("all = 1", "line 1: invalid type"),
            ("metrics = \"9753\"", "line 1: it is an IP address with a port"),
            (
                "attach = \"soon\"",
                "line 1: unknown variant `soon`, expected one of `auto`, `fexit`, `sys_exit`",
            ),
            ("all = true\nall", "line 2: "),
        ] {
            let sentence = refused(text);
            assert!(sentence.contains(part), "{sentence}");
        }
        let two = refused("all = true\nunit = [\"a\"]\n");
        assert!(two.ends_with("has both `unit` and `all`: keep one of them"), "{two}");
    }
}
