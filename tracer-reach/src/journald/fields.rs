//! The fields of an entry of the journal, in the form of the native protocol.

use jiff::Timestamp;
use tracer_history::{Entry, Gap, Place};

use crate::told::{self, LONGEST, LONGEST_SENTENCE, Missing, cut, stream_name};

/// `MESSAGE_ID` of lost output.
pub(super) const LOSS: &str = "5658f187d6a64dd0971b0e164624a650";
/// `MESSAGE_ID` of a warning.
pub(super) const WARNING: &str = "9059631d2408400a85ae1ebcad3a2ab4";
/// `MESSAGE_ID` of what tracer could not record.
pub(super) const GAP: &str = "5e924016f0954823affb9f619bd0eb11";

/// Priorities of syslog(3).
const ERR: &str = "3";
const WARN: &str = "4";

/// Characters of the short id of a container, as docker's log driver writes it.
const SHORT_ID: usize = 12;

/// The finding of a command. It has no command line, which may be private, and no `OBJECT_PID`: journald would add the
/// command line of that pid, which another process may have by now.
pub(super) fn of_entry(entry: &Entry) -> Vec<u8> {
    let (id, priority) = if told::is_loss(entry) { (LOSS, ERR) } else { (WARNING, WARN) };
    let mut fields = Fields::new(&entry.sentence, id, priority);
    fields.add("TRACER_RULE", &entry.rule);
    fields.add("TRACER_SEVERITY", &entry.severity);
    fields.add("TRACER_CONFIDENCE", &entry.confidence);
    let missing = told::missing_of(&entry.streams);
    fields.add("TRACER_LOST_BYTES", &missing.lost.to_string());
    fields.add("TRACER_REFUSED_BYTES", &missing.refused.to_string());
    fields.add("TRACER_PID", &entry.pid.to_string());
    fields.add("TRACER_COMM", &entry.name);
    fields.add("TRACER_INTERIM", if entry.is_interim { "1" } else { "0" });
    fields.add("TRACER_BEGAN", &date(entry.began_us));
    fields.add("TRACER_ENDED", &date(entry.ended_us));
    fields.maybe("TRACER_EXIT_CODE", entry.exit_code.map(|code| code.to_string()).as_deref());
    fields.maybe("TRACER_SIGNAL", entry.signal.map(|signal| signal.to_string()).as_deref());
    // A field can occur more than once.
    for fd in [1, 2] {
        let of_fd = entry.streams.iter().filter(|stream| stream.fd == fd);
        if told::missing_of(of_fd) != Missing::default() {
            fields.add("TRACER_STREAM", stream_name(fd));
        }
    }
    fields.place(&entry.place);
    fields.bytes
}

/// What was not recorded.
pub(super) fn of_gap(gap: &Gap, sentence: &str) -> Vec<u8> {
    let mut fields = Fields::new(sentence, GAP, WARN);
    fields.add("TRACER_GAP", &gap.reason);
    fields.add("TRACER_GAP_EVENTS", &gap.events.to_string());
    fields.add("TRACER_GAP_BYTES", &gap.bytes.to_string());
    fields.add("TRACER_BEGAN", &date(gap.from_us));
    fields.add("TRACER_ENDED", &date(gap.until_us));
    fields.maybe("CONTAINER_NAME", gap.container.as_deref());
    fields.bytes
}

fn date(us: i64) -> String {
    Timestamp::from_microsecond(us).unwrap_or_default().to_string()
}

/// Fields one after another (<https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>).
struct Fields {
    bytes: Vec<u8>,
}

impl Fields {
    fn new(sentence: &str, id: &str, priority: &str) -> Self {
        let mut fields = Self { bytes: Vec::new() };
        fields.put("MESSAGE", cut(sentence, LONGEST_SENTENCE));
        fields.add("MESSAGE_ID", id);
        fields.add("PRIORITY", priority);
        fields.add("SYSLOG_IDENTIFIER", "tracer");
        fields
    }

    /// Adds a field. A long value is cut.
    fn add(&mut self, name: &str, value: &str) {
        self.put(name, cut(value, LONGEST));
    }

    fn maybe(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.add(name, value);
        }
    }

    /// A value with a line feed would begin another field, so its length comes before it, as 8 bytes.
    fn put(&mut self, name: &str, value: &str) {
        self.bytes.extend_from_slice(name.as_bytes());
        if value.contains('\n') {
            self.bytes.push(b'\n');
            self.bytes.extend_from_slice(&(value.len() as u64).to_le_bytes());
        } else {
            self.bytes.push(b'=');
        }
        self.bytes.extend_from_slice(value.as_bytes());
        self.bytes.push(b'\n');
    }

    /// Names as docker's log driver has them. `OBJECT_SYSTEMD_UNIT` is what `journalctl -u` looks for in entries of root.
    fn place(&mut self, place: &Place) {
        let id = place.container_id.as_deref();
        self.maybe("CONTAINER_NAME", place.container.as_deref());
        self.maybe("CONTAINER_ID", id.map(|id| cut(id, SHORT_ID)));
        self.maybe("CONTAINER_ID_FULL", id);
        self.maybe("CONTAINER_ENGINE", place.engine.as_deref());
        self.maybe("IMAGE_NAME", place.image.as_deref());
        self.maybe("K8S_NAMESPACE", place.namespace.as_deref());
        self.maybe("K8S_POD", place.pod.as_deref());
        self.maybe("OBJECT_SYSTEMD_UNIT", place.unit.as_deref());
        self.maybe("TRACER_CGROUP", Some(place.cgroup.as_str()).filter(|path| !path.is_empty()));
    }
}
