//! What can be asked, and what is answered.

use regex::Regex;

use crate::{Entry, Gap, Place};

/// The fewest characters of a beginning of a container's id.
const LEAST_OF_ID: usize = 4;

/// Whose commands are meant. What is `None` is not asked for; all others must match.
#[derive(Clone, Debug, Default)]
pub struct Subject {
    /// Name or id of the container, or at least 4 characters from the beginning of its id.
    pub container: Option<String>,
    /// The pod: `NAMESPACE/NAME`, or its name.
    pub pod: Option<String>,
    /// The unit: `nginx` is nginx.service.
    pub unit: Option<String>,
    /// The pid in the initial pid namespace; with a container or pod, the pid there matches as well.
    pub pid: Option<u32>,
    /// A pattern for the name of the command (`comm`).
    pub name: Option<Regex>,
}

impl Subject {
    /// Whether it asks for a place.
    pub(super) fn has_place(&self) -> bool {
        self.container.is_some() || self.pod.is_some() || self.unit.is_some()
    }

    /// Whether a place matches.
    pub(super) fn is_at(&self, place: &Place) -> bool {
        let container = self.container.as_deref().is_none_or(|asked| is_container(place, asked));
        let pod = self.pod.as_deref().is_none_or(|asked| match asked.split_once('/') {
            Some((namespace, pod)) => {
                place.namespace.as_deref() == Some(namespace) && place.pod.as_deref() == Some(pod)
            }
            None => place.pod.as_deref() == Some(asked),
        });
        let unit = self.unit.as_deref().is_none_or(|asked| {
            let unit = place.unit.as_deref().unwrap_or_default();
            unit == asked || unit.strip_suffix(".service") == Some(asked)
        });
        container && pod && unit
    }

    /// Whether a process has the pid that is asked for.
    pub(super) fn has_pid(&self, pid: u32, ns_pid: u32) -> bool {
        let is_inside = self.container.is_some() || self.pod.is_some();
        self.pid.is_none_or(|asked| pid == asked || is_inside && ns_pid == asked)
    }
}

/// Whether a container has a name or id, or an id with this beginning.
fn is_container(place: &Place, asked: &str) -> bool {
    let id = place.container_id.as_deref().unwrap_or_default();
    place.container.as_deref() == Some(asked)
        || id == asked
        || asked.len() >= LEAST_OF_ID && id.starts_with(asked)
}

/// Which entries are listed.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only those that ended at this time or later, in µs since 1970.
    pub since_us: Option<i64>,
    /// Only those that ended at this time or earlier, in µs since 1970.
    pub until_us: Option<i64>,
    /// Only those whose output did not arrive.
    pub lost: bool,
    /// Only those of this subject.
    pub subject: Subject,
}

/// What is asked: what became of the output of a command.
#[derive(Clone, Debug, Default)]
pub struct Question {
    /// Whose.
    pub subject: Subject,
    /// A time at which it ran, in µs since 1970; without it, the latest command is meant.
    pub at_us: Option<i64>,
    /// How long that time is, in µs: 60 s for `03:12`.
    pub precision_us: i64,
}

/// What the history says.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// The command that is most probably meant.
    Found {
        /// The command, with its report if there is one.
        entry: Box<Entry>,
        /// How many other commands match as well.
        others: u64,
        /// Gaps in the time in which it ran.
        gaps: Vec<Gap>,
    },
    /// The time is before the history.
    TooOld {
        /// Where the history begins, in µs since 1970.
        history_begins_us: i64,
    },
    /// tracer saw nothing at that time.
    Blind {
        /// The gaps that the time is in.
        gaps: Vec<Gap>,
    },
    /// No such command was seen.
    NotSeen {
        /// The time that was looked through, in µs since 1970: `at` and five minutes on both sides.
        from_us: i64,
        /// Its end.
        until_us: i64,
        /// Whether tracer was attached all that time, without a gap.
        covered: bool,
        /// The command of the same subject that ended nearest to the time.
        nearest: Option<Box<Entry>>,
    },
    /// There is nothing in the history.
    Empty,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_is_named_as_docker_names_it() {
        let place = Place {
            container: Some("report-1".into()),
            container_id: Some("0123abcd".repeat(8)),
            ..Place::default()
        };
        let is = |asked: &str| is_container(&place, asked);
        assert!(is("report-1") && is("0123") && is("0123abcd0"));
        assert!(!is("012") && !is("report") && !is("") && !is("abcd"));
    }

    #[test]
    fn pods_and_units_have_long_and_short_names() {
        let place = Place {
            namespace: Some("prod".into()),
            pod: Some("web-0".into()),
            unit: Some("kubelet.service".into()),
            ..Place::default()
        };
        let pod = |pod: &str| Subject { pod: Some(pod.into()), ..Subject::default() }.is_at(&place);
        assert!(pod("prod/web-0") && pod("web-0") && !pod("test/web-0"));
        let unit =
            |unit: &str| Subject { unit: Some(unit.into()), ..Subject::default() }.is_at(&place);
        assert!(unit("kubelet") && unit("kubelet.service") && !unit("kube"));
    }
}
