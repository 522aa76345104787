//! From an entry or a gap to a log record.

use jiff::Timestamp;
use opentelemetry_proto::tonic::{
    common::v1::KeyValue,
    logs::v1::{LogRecord, SeverityNumber},
};
use tracer_history::{Entry, Gap, Place, Stream};

use super::message::{body, flag, nanos, number, text, texts};
use crate::told;

/// The finding of a command. It has no command line, which may be private.
pub(super) fn of_entry(entry: &Entry) -> LogRecord {
    let severity = if told::is_loss(entry) { SeverityNumber::Error } else { SeverityNumber::Warn };
    let missing = told::missing_of(&entry.streams);
    let mut attributes = of_process(entry);
    attributes.extend(of_place(&entry.place));
    attributes.extend([
        text("tracer.rule", &entry.rule),
        text("tracer.confidence", &entry.confidence),
        number("tracer.lost_bytes", missing.lost),
        number("tracer.refused_bytes", missing.refused),
        flag("tracer.interim", entry.is_interim),
        text("tracer.began", &date(entry.began_us)),
    ]);
    attributes.extend(of_streams(entry));
    record("tracer.finding", severity, entry.ended_us, &entry.sentence, attributes)
}

/// What was not recorded.
pub(super) fn of_gap(gap: &Gap, sentence: &str) -> LogRecord {
    let mut attributes = vec![
        text("tracer.gap.reason", &gap.reason),
        number("tracer.gap.events", gap.events),
        number("tracer.gap.bytes", gap.bytes),
        text("tracer.gap.began", &date(gap.from_us)),
    ];
    attributes.extend(gap.container.as_ref().map(|name| text("container.name", name)));
    record("tracer.gap", SeverityNumber::Warn, gap.until_us, sentence, attributes)
}

fn record(
    event: &str,
    severity: SeverityNumber,
    at_us: i64,
    sentence: &str,
    attributes: Vec<KeyValue>,
) -> LogRecord {
    LogRecord {
        time_unix_nano: nanos(at_us),
        observed_time_unix_nano: nanos(Timestamp::now().as_microsecond()),
        severity_number: severity.into(),
        severity_text: severity.as_str_name().trim_start_matches("SEVERITY_NUMBER_").to_owned(),
        body: body(sentence, told::LONGEST_SENTENCE),
        attributes,
        event_name: event.to_owned(),
        ..LogRecord::default()
    }
}

fn date(us: i64) -> String {
    Timestamp::from_microsecond(us).unwrap_or_default().to_string()
}

fn of_process(entry: &Entry) -> Vec<KeyValue> {
    let mut attributes =
        vec![number("process.pid", entry.pid.into()), text("process.executable.name", &entry.name)];
    if entry.ns_pid != entry.pid && entry.ns_pid != 0 {
        attributes.push(number("process.vpid", entry.ns_pid.into()));
    }
    attributes.extend(entry.exit_code.map(|code| number("process.exit.code", code.into())));
    attributes.extend(entry.signal.map(|signal| number("tracer.exit.signal", signal.into())));
    attributes
}

/// The attributes of the place. A name within a pod is not the one that the engine knows.
fn of_place(place: &Place) -> Vec<KeyValue> {
    let name = if place.pod.is_some() { "k8s.container.name" } else { "container.name" };
    let known = [
        ("container.id", &place.container_id),
        (name, &place.container),
        ("container.runtime.name", &place.engine),
        ("k8s.namespace.name", &place.namespace),
        ("k8s.pod.name", &place.pod),
        // As the collector's systemd receiver names it.
        ("systemd.unit.name", &place.unit),
    ];
    let known = known.into_iter().filter_map(|(key, value)| Some(text(key, value.as_ref()?)));
    let cgroup = (!place.cgroup.is_empty()).then(|| text("process.linux.cgroup", &place.cgroup));
    known.chain(cgroup).chain(place.image.iter().flat_map(|image| of_image(image))).collect()
}

/// A reference of an image: a name, and then a tag, a digest or both.
fn of_image(image: &str) -> Vec<KeyValue> {
    let (rest, digest) =
        image.split_once('@').map_or((image, None), |(rest, _)| (rest, Some(image)));
    // The port of a registry is no tag.
    let tag = rest.rsplit_once(':').filter(|(_, tag)| !tag.contains('/'));
    let mut attributes = vec![text("container.image.name", tag.map_or(rest, |(name, _)| name))];
    attributes.extend(tag.map(|(_, tag)| texts("container.image.tags", tag)));
    attributes.extend(digest.map(|digest| texts("container.image.repo_digests", digest)));
    attributes
}

/// Where each stream led. Of several objects of one stream, the one that lost most is told, or that got most.
fn of_streams(entry: &Entry) -> Vec<KeyValue> {
    let mut attributes = Vec::new();
    for fd in [1, 2] {
        let of_fd = || entry.streams.iter().filter(move |stream| stream.fd == fd);
        let missing = |stream: &Stream| told::missing_of([stream]);
        let weight =
            |stream: &&Stream| (missing(stream).lost, missing(stream).refused, stream.bytes);
        let Some(first) = of_fd().max_by_key(weight) else { continue };
        let (all, written) = (told::missing_of(of_fd()), of_fd().map(|stream| stream.bytes));
        let key = |what| format!("tracer.{}.{what}", told::stream_name(fd));
        attributes.extend([
            number(&key("written_bytes"), written.fold(0, u64::saturating_add)),
            number(&key("lost_bytes"), all.lost),
            number(&key("refused_bytes"), all.refused),
            text(&key("destination"), &first.destination),
            text(&key("outcome"), &first.outcome),
        ]);
        attributes.extend(first.reader.as_ref().map(|reader| text(&key("reader"), reader)));
    }
    attributes
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, any_value::Value};
    use tracer_history::Fate;

    use super::*;

    fn shown(value: Option<&AnyValue>) -> String {
        match value.and_then(|any| any.value.as_ref()) {
            Some(Value::StringValue(text)) => text.clone(),
            Some(Value::IntValue(number)) => number.to_string(),
            Some(Value::BoolValue(flag)) => flag.to_string(),
            Some(Value::ArrayValue(ArrayValue { values })) => {
                format!("{:?}", values.iter().map(|value| shown(Some(value))).collect::<Vec<_>>())
            }
            other => panic!("{other:?}"),
        }
    }

    fn all(record: &LogRecord) -> Vec<(String, String)> {
        let pair = |it: &KeyValue| (it.key.clone(), shown(it.value.as_ref()));
        record.attributes.iter().map(pair).collect()
    }

    fn one<'a>(all: &'a [(String, String)], key: &str) -> Option<&'a str> {
        all.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    fn lossy(place: Place) -> Entry {
        let stream = |fd, bytes, lost, destination: &str| Stream {
            fd,
            bytes,
            fate: Some(Fate { lost, refused: 2 * lost, ..Fate::default() }),
            destination: destination.into(),
            outcome: "unread".into(),
            ..Stream::default()
        };
        Entry {
            began_us: 1_000_000,
            ended_us: 2_500_000,
            pid: 70,
            ns_pid: 7,
            name: "seq".into(),
            command: "seq --password=secret".into(),
            exit_code: Some(3),
            place,
            streams: vec![
                stream(1, 900, 0, "/tmp/log"),
                stream(1, 100, 60, "pipe:[5]"),
                stream(2, 5, 5, "pipe:[6]"),
            ],
            rule: "unread".into(),
            severity: "loss".into(),
            confidence: "certain".into(),
            sentence: "seq lost 65 B".into(),
            has_loss: true,
            ..Entry::default()
        }
    }

    #[test]
    fn a_loss_in_a_pod_has_the_names_of_the_conventions_and_no_command_line() {
        let some = |text: &str| Some(text.to_owned());
        let record = of_entry(&lossy(Place {
            cgroup: "/kubepods/x".into(),
            engine: some("containerd"),
            container_id: some("abc"),
            container: some("app"),
            image: some("registry:5000/app:1.2@sha256:77"),
            namespace: some("prod"),
            pod: some("app-0"),
            unit: None,
        }));
        assert_eq!((record.severity_number, record.severity_text.as_str()), (17, "ERROR"));
        assert_eq!(
            (record.time_unix_nano, record.event_name.as_str()),
            (2_500_000_000, "tracer.finding")
        );
        assert_eq!(shown(record.body.as_ref()), "seq lost 65 B");
        let all = all(&record);
        for (key, value) in [
            ("process.pid", "70"),
            ("process.vpid", "7"),
            ("process.executable.name", "seq"),
            ("process.exit.code", "3"),
            ("process.linux.cgroup", "/kubepods/x"),
            ("container.id", "abc"),
            ("container.runtime.name", "containerd"),
            ("k8s.container.name", "app"),
            ("k8s.namespace.name", "prod"),
            ("k8s.pod.name", "app-0"),
            ("container.image.name", "registry:5000/app"),
            ("container.image.tags", "[\"1.2\"]"),
            ("container.image.repo_digests", "[\"registry:5000/app:1.2@sha256:77\"]"),
            ("tracer.rule", "unread"),
            ("tracer.confidence", "certain"),
            ("tracer.lost_bytes", "65"),
            ("tracer.refused_bytes", "130"),
            ("tracer.interim", "false"),
            ("tracer.began", "1970-01-01T00:00:01Z"),
            ("tracer.stdout.written_bytes", "1000"),
            ("tracer.stdout.lost_bytes", "60"),
            ("tracer.stdout.refused_bytes", "120"),
            ("tracer.stdout.destination", "pipe:[5]"),
            ("tracer.stderr.lost_bytes", "5"),
        ] {
            assert_eq!(one(&all, key), Some(value), "{key}");
        }
        assert_eq!(one(&all, "container.name"), None);
        assert!(!format!("{record:?}").contains("secret"));
    }

    #[test]
    fn a_service_has_its_unit_and_a_container_its_name() {
        let unit = Place { unit: Some("a.service".into()), ..Place::default() };
        let record = of_entry(&Entry { signal: Some(9), exit_code: None, ..lossy(unit) });
        let found = all(&record);
        assert_eq!(one(&found, "systemd.unit.name"), Some("a.service"));
        assert_eq!(one(&found, "tracer.exit.signal"), Some("9"));
        assert_eq!((one(&found, "process.exit.code"), one(&found, "container.id")), (None, None));
        let container = Place { container: Some("web".into()), ..Place::default() };
        let record =
            of_entry(&Entry { has_loss: false, severity: "warning".into(), ..lossy(container) });
        assert_eq!((record.severity_number, record.severity_text.as_str()), (13, "WARN"));
        assert_eq!(one(&all(&record), "container.name"), Some("web"));
    }

    #[test]
    fn texts_are_bounded() {
        let name = Some("é".repeat(3_000));
        let entry = lossy(Place { image: name.clone(), container: name, ..Place::default() });
        let entry = Entry { sentence: "s".repeat(9_000), ..entry };
        let record = of_entry(&entry);
        assert_eq!(shown(record.body.as_ref()).len(), told::LONGEST_SENTENCE);
        assert!(all(&record).iter().all(|(_, value)| value.len() <= told::LONGEST));
    }

    #[test]
    fn a_gap_is_a_warning() {
        let gap = Gap {
            from_us: 1,
            until_us: 5,
            reason: "ring_full".into(),
            events: 2,
            ..Gap::default()
        };
        let record = of_gap(&gap, "missed");
        assert_eq!((record.severity_number, record.event_name.as_str()), (13, "tracer.gap"));
        assert_eq!(shown(record.body.as_ref()), "missed");
        assert_eq!(one(&all(&record), "tracer.gap.reason"), Some("ring_full"));
        assert_eq!(one(&all(&record), "tracer.gap.events"), Some("2"));
    }

    #[test]
    fn the_parts_of_an_image() {
        let parts = |image: &str| {
            let record = LogRecord { attributes: of_image(image), ..LogRecord::default() };
            all(&record).into_iter().map(|(_, value)| value).collect::<Vec<_>>()
        };
        assert_eq!(parts("busybox"), ["busybox"]);
        assert_eq!(parts("localhost:5000/a/b"), ["localhost:5000/a/b"]);
        assert_eq!(parts("localhost:5000/a/b:v1"), ["localhost:5000/a/b", "[\"v1\"]"]);
        assert_eq!(parts("a@sha256:1"), ["a", "[\"a@sha256:1\"]"]);
        assert_eq!(parts("sha256:77"), ["sha256", "[\"77\"]"]);
    }
}
