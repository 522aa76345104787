use super::*;
use tracer_history::{Coverage, Fate, Stream, reason};

const STYLE: Style = Style { color: false, width: 80 };
const BEGIN: i64 = 1_795_835_524_000_000;

/// 2026-11-28 in UTC.
fn clock() -> Clock {
    Clock::at(&"2026-11-28T10:00:00[UTC]".parse().unwrap())
}

fn entry() -> Entry {
    Entry {
        began_us: BEGIN - 40_000,
        ended_us: BEGIN,
        pid: 4005,
        name: "docker".into(),
        command: "docker pull alpine".into(),
        exit_code: Some(0),
        place: Place {
            container: Some("report-1".into()),
            engine: Some("docker".into()),
            ..Place::default()
        },
        streams: vec![Stream {
            fd: 1,
            bytes: 312,
            destination: "pipe:[88123]".into(),
            outcome: "read".into(),
            reader: Some("containerd-shim".into()),
            fate: Some(Fate { delivered: 312, ..Fate::default() }),
        }],
        rule: "delivered".into(),
        severity: "info".into(),
        sentence: "docker wrote 312 B; containerd-shim read all of it".into(),
        ..Entry::default()
    }
}

fn lost() -> Entry {
    Entry { rule: "unread".into(), severity: "loss".into(), has_loss: true, ..entry() }
}

fn gap(why: &str) -> Gap {
    Gap {
        from_us: BEGIN - 724_000_000,
        until_us: BEGIN + 476_000_000,
        reason: why.into(),
        ..Gap::default()
    }
}

fn line(item: HistoryItem<'_>) -> String {
    let mut out = Vec::new();
    history_line(item, &clock(), &STYLE, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn a_command_is_one_line() {
    let expected =
        "03:12:04  ✗ report-1  docker  docker pull alpine  312 B, with a loss  (unread)\n";
    assert_eq!(line(HistoryItem::Entry(&lost())), expected);
    let yesterday = Entry { ended_us: BEGIN - 86_400_000_000, ..entry() };
    let expected =
        "2026-11-27 03:12:04  ✓ report-1  docker  docker pull alpine  312 B  (delivered)\n";
    assert_eq!(line(HistoryItem::Entry(&yesterday)), expected);
}

#[test]
fn what_a_program_chose_is_escaped_and_begins_no_line() {
    let entry = Entry { command: "a\nb\u{1b}[2J".into(), rule: "x\ny".into(), ..entry() };
    let text = line(HistoryItem::Entry(&entry));
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(!text.contains('\u{1b}'), "{text}");
    let mut out = Vec::new();
    history_json(HistoryItem::Entry(&entry), &mut out).unwrap();
    assert!(out.iter().filter(|byte| **byte < b' ').eq([&b'\n']), "{out:?}");
}

#[test]
fn a_gap_is_a_line_with_its_reason() {
    let expected = "03:00:00  …  not seen until 03:20:00, because tracer was not running\n";
    assert_eq!(line(HistoryItem::Gap(&gap(reason::NOT_RUNNING))), expected);
    let full = Gap { events: 12, bytes: 3000, ..gap(reason::DISK_FULL) };
    let expected =
        "03:00:00  …  not kept until 03:20:00, because the disk was full (12 commands, 3,000 B)\n";
    assert_eq!(line(HistoryItem::Gap(&full)), expected);
}

#[test]
fn lines_for_programs_have_a_type_and_the_fields() {
    let json = |item| {
        let mut out = Vec::new();
        history_json(item, &mut out).unwrap();
        serde_json::from_slice::<serde_json::Value>(&out).unwrap()
    };
    let (entry, gap) = (lost(), gap("stopped"));
    let value = json(HistoryItem::Entry(&entry));
    assert_eq!((&value["type"], &value["schema"]), (&"entry".into(), &SCHEMA.into()));
    assert_eq!((&value["ended_us"], &value["has_loss"]), (&BEGIN.into(), &true.into()));
    assert_eq!(value["place"]["container"], "report-1");
    assert!(value.get("report").is_none());
    assert_eq!(json(HistoryItem::Gap(&gap))["type"], "gap");
}

/// Each field of the lines is on the page that describes them.
#[test]
fn the_schema_names_every_field() {
    let page = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../SCHEMA.md");
    let page = std::fs::read_to_string(page).unwrap();
    let (_, page) = page.split_once("`tracer.history/1`\n").unwrap();
    let entry = serde_json::to_value(entry()).unwrap();
    let gap = serde_json::to_value(gap("stopped")).unwrap();
    let stream = entry["streams"][0].clone();
    for (value, prefix) in
        [(&entry, ""), (&entry["place"], "place."), (&stream, "streams[]."), (&gap, "")]
    {
        for name in value.as_object().unwrap().keys() {
            assert!(page.contains(&format!("| `{prefix}{name}` |")), "{prefix}{name}");
        }
    }
}

#[test]
fn each_answer_without_a_command_is_a_clear_sentence() {
    let text = |answer: &Answer| {
        let mut out = Vec::new();
        no_answer(answer, &clock(), &STYLE, &mut out).unwrap();
        String::from_utf8(out).unwrap().replace('\n', " ")
    };
    let too_old = Answer::TooOld { history_begins_us: BEGIN };
    assert_eq!(text(&too_old), "The history begins at 03:12:04. ");
    let blind = Answer::Blind { gaps: vec![gap(reason::NOT_RUNNING)] };
    let expected = "tracer was blind from 03:00:00 to 03:20:00, because it was not running. ";
    assert_eq!(text(&blind), expected);
    let not_seen = |covered, nearest| Answer::NotSeen {
        from_us: BEGIN,
        until_us: BEGIN + 60_000_000,
        covered,
        nearest,
    };
    let expected =
        "No such command ended between 03:12:04 and 03:13:04; tracer was attached all that time. ";
    assert_eq!(text(&not_seen(true, None)), expected);
    let text = text(&not_seen(false, Some(Box::new(entry()))));
    assert!(
        text.contains("was not attached") && text.contains("docker pull alpine in report-1"),
        "{text}"
    );
}

#[test]
fn an_ordinary_command_is_shown_with_streams_and_coverage() {
    let coverage =
        [Coverage { from_us: BEGIN - 3_600_000_000, until_us: BEGIN + 1, ..Coverage::default() }];
    let (entry, gaps) = (entry(), [gap("ring_full")]);
    let mut out = Vec::new();
    past(&entry, 2, &gaps, &coverage).write(true, &clock(), &STYLE, &mut out).unwrap();
    let expected = "\
03:12:04  ✓ report-1  docker  docker pull alpine (4005)
  docker wrote 312 B; containerd-shim read all of it
  fd 1 stdout  312 B → pipe:[88123], read by containerd-shim
  exit 0, 40 ms after its start at 03:12:03
  tracer was attached from 02:12:04 until 03:12:04
  03:00:00: not seen until 03:20:00, because of a loss (ring_full)
  2 other commands at that time; `tracer history` with the same options and
    --since lists all.
";
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}

#[test]
fn what_did_not_arrive_is_told_in_bytes() {
    let mut entry = entry();
    entry.streams[0].outcome = "unread".into();
    entry.streams[0].fate = Some(Fate { delivered: 300, lost: 12, refused: 4, ..Fate::default() });
    let mut out = Vec::new();
    past(&entry, 0, &[], &[]).write(true, &clock(), &STYLE, &mut out).unwrap();
    let out = String::from_utf8(out).unwrap();
    let words: Vec<&str> = out.split_whitespace().collect();
    let expected = "unread by containerd-shim: 12 B lost, 4 B refused";
    assert!(words.join(" ").contains(expected), "{out}");
}

#[test]
fn an_answer_for_programs_says_which_it_is() {
    let mut out = Vec::new();
    answer_json(&Answer::TooOld { history_begins_us: 5 }, &mut out).unwrap();
    let expected =
        "{\"schema\":\"tracer.history/1\",\"answer\":\"too_old\",\"history_begins_us\":5}\n";
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}
