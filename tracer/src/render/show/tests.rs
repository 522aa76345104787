//! Lines that a terminal gets, and hostile text.

use bytes::Bytes;
use proptest::{collection::vec, prelude::*};
use tracer_common::{id::ProcessId, object::ObjectId};
use tracer_core::{capture::chunk::Source, text::is_hazard};

use super::*;
use crate::render::palette;

const PLAIN: Style = Style { color: false, width: 100 };

fn missing(fd: i32, length: u64, reason: Reason) -> Chunk {
    let source = None;
    let object = ObjectId { ino: 88, dev: 9, discriminator: 0 };
    let key = LedgerKey { process: ProcessId::new(71, 5), object, fd, direction: 0 };
    Chunk {
        time_ns: 7,
        key,
        tid: 72,
        comm: "docker".into(),
        syscall: "write",
        lost: 0,
        content: Content::Missing { length, reason, source },
    }
}

fn chunk(fd: i32, bytes: impl AsRef<[u8]>) -> Chunk {
    let content = Content::Bytes(Bytes::copy_from_slice(bytes.as_ref()));
    Chunk { content, ..missing(fd, 0, Reason::Limit) }
}

fn show(redact: &[&str]) -> Show {
    let redact = (!redact.is_empty()).then(|| Redact::new(redact).unwrap());
    Show::new(PLAIN, false, redact)
}

/// What was shown so far.
fn seen(show: &mut Show, chunks: &[Chunk]) -> String {
    let mut out = Vec::new();
    chunks.iter().for_each(|chunk| show.see(chunk, &mut out).unwrap());
    String::from_utf8(out).unwrap()
}

fn idle(show: &mut Show) -> String {
    let mut out = Vec::new();
    show.idle(&mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn end(show: &mut Show) -> String {
    let mut out = Vec::new();
    show.end(&mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn a_line_is_shown_when_it_is_whole_and_streams_do_not_mix() {
    let mut show = show(&[]);
    let text = seen(
        &mut show,
        &[
            chunk(1, "Pulling "),
            chunk(2, "warning: x\nno"),
            chunk(1, "busybox\n\n"),
            chunk(7, "t\n"),
        ],
    );
    assert_eq!(
        text,
        "docker[71] stderr │ warning: x\ndocker[71] stdout │ Pulling busybox\n\
         docker[71] stdout │\ndocker[71] fd 7 │ t\n"
    );
    assert_eq!(end(&mut show), "docker[71] stderr ┆ no\n");
    assert_eq!(end(&mut show), "");
}

#[test]
fn a_prompt_is_shown_at_rest_and_its_late_line_feed_is_no_line() {
    let mut show = show(&[]);
    assert_eq!(seen(&mut show, &[chunk(1, "Password: ")]), "");
    assert_eq!(idle(&mut show), "docker[71] stdout ┆ Password: \n");
    assert_eq!(idle(&mut show), "");
    let text = seen(&mut show, &[chunk(1, "\nok\n")]);
    assert_eq!(text, "docker[71] stdout │ ok\n");
    assert!(show.pending.is_empty());
}

#[test]
fn half_a_character_waits_for_its_other_half() {
    let mut show = show(&[]);
    seen(&mut show, &[chunk(1, b"a\xe2\x94")]);
    assert_eq!(idle(&mut show), "docker[71] stdout ┆ a\n");
    assert_eq!(seen(&mut show, &[chunk(1, b"\x82\n")]), "docker[71] stdout │ \u{2502}\n");
}

#[test]
fn what_a_terminal_would_act_upon_is_visible() {
    let mut show = show(&[]);
    let text = seen(&mut show, &[chunk(2, b"\x1b[31mred\x1b[0m\r\xff\xc3(\xe2\x80\xae\n")]);
    let shown = "docker[71] stderr │ \\x1b[31mred\\x1b[0m\\r\\xff\\xc3(\\u{202e}\n";
    assert_eq!(text, shown);
}

#[test]
fn raw_bytes_are_passed_on_behind_the_prefix() {
    let mut show = Show::new(PLAIN, true, None);
    let mut out = Vec::new();
    show.see(&chunk(1, b"\x1b[1m\xff\r\n"), &mut out).unwrap();
    assert_eq!(out, "docker[71] stdout │ ".bytes().chain(*b"\x1b[1m\xff\r\n").collect::<Vec<_>>());
}

#[test]
fn stdout_and_stderr_differ_in_colour_and_text_has_none() {
    let mut show = Show::new(Style { color: true, ..PLAIN }, false, None);
    let text = seen(&mut show, &[chunk(1, "a\n"), chunk(2, "a\n")]);
    let (out, err) = text.split_once('\n').unwrap();
    assert!(out.starts_with(&palette::OUT.render().to_string()), "{out:?}");
    assert!(err.starts_with(&palette::ERR.render().to_string()), "{err:?}");
    assert!(out.ends_with(" a") && err.ends_with(" a\n"), "{text:?}");
}

#[test]
fn a_gap_is_a_line_and_gaps_of_one_kind_are_one() {
    let mut show = show(&[]);
    let source = Some(Source { fd: 4, object: ObjectId::NONE });
    let copied = Content::Missing { length: 10, reason: Reason::Copied, source };
    let copied = Chunk { content: copied, ..chunk(2, "") };
    let chunks = [
        chunk(2, "half"),
        missing(2, 50, Reason::SlowOutput),
        missing(2, 5, Reason::SlowOutput),
        copied,
        chunk(2, "rest\n"),
    ];
    assert_eq!(
        seen(&mut show, &chunks),
        "docker[71] stderr ┆ half\ndocker[71] stderr │ [55 B missing: disk or terminal were too slow]\n\
         docker[71] stderr │ [10 B missing: copied inside the kernel, from fd 4]\n\
         docker[71] stderr │ rest\n"
    );
    seen(&mut show, &[missing(2, 9, Reason::Limit)]);
    assert_eq!(idle(&mut show), "docker[71] stderr │ [9 B missing: the limit was reached]\n");
}

#[test]
fn a_long_line_is_cut_between_characters() {
    let mut show = show(&[]);
    let text = seen(&mut show, &[chunk(1, format!("a{}", "é".repeat(LINE))), chunk(1, "x\n")]);
    let parts: Vec<&str> =
        text.lines().map(|line| line.split_once(" stdout ").unwrap().1).collect();
    let half = "é".repeat(LINE / 2 - 1);
    assert_eq!(parts, [format!("┆ a{half}"), format!("┆ {half}é"), "│ éx".to_owned()]);
}

#[test]
fn a_secret_in_two_writes_is_redacted_and_rest_does_not_show_it() {
    let mut show = show(&["token=\\w+"]);
    let mut text = seen(&mut show, &[chunk(1, "a token=ab")]);
    text += &idle(&mut show);
    assert_eq!(text, "", "half of a secret was shown");
    text += &seen(&mut show, &[chunk(1, "cd end\n")]);
    assert_eq!(text, "docker[71] stdout │ a [redacted] end\n");
}

#[test]
fn a_secret_at_the_cut_of_a_long_line_is_redacted() {
    for before in LINE - 12..LINE + 4 {
        let mut show = show(&["token=\\w+"]);
        let line = format!("{} token=secret {}\n", "x".repeat(before), "y".repeat(3 * LINE));
        let text: String =
            line.as_bytes().chunks(1000).map(|part| seen(&mut show, &[chunk(1, part)])).collect();
        assert!(!text.contains("secret"), "{before}");
        assert_eq!(text.matches("[redacted]").count(), 1, "{before}");
        let rest: usize = text.matches(['x', 'y']).count();
        assert_eq!(rest, before + 3 * LINE, "{before}");
    }
}

#[test]
fn memory_is_bounded_by_showing_what_rested_longest() {
    let mut show = show(&[]);
    let chunks: Vec<Chunk> = (10..).take(MOST_STREAMS + 3).map(|fd| chunk(fd, "begun")).collect();
    let text = seen(&mut show, &chunks);
    assert_eq!(
        text,
        "docker[71] fd 10 ┆ begun\ndocker[71] fd 11 ┆ begun\ndocker[71] fd 12 ┆ begun\n"
    );
    assert_eq!(show.pending.len(), MOST_STREAMS);
}

fn pieces() -> impl Strategy<Value = Vec<(i32, Vec<u8>)>> {
    let bytes = prop_oneof![
        vec(any::<u8>(), 0..40),
        Just(b"\x1b]0;pwned\x07\n".to_vec()),
        Just("\u{202e}\u{9b}2J│ forged\n".as_bytes().to_vec()),
        Just(b"x".repeat(3000)),
        Just(b"\n".to_vec()),
    ];
    vec((1..4, bytes), 0..30)
}

proptest! {
    #[test]
    fn whatever_is_written_every_line_is_harmless_and_has_its_prefix(
        pieces in pieces(), comm in any::<String>(), redact: bool, rests in vec(any::<bool>(), 30),
    ) {
        let mut show = show(if redact { &["p.*d"] } else { &[] });
        let mut text = String::new();
        for ((fd, bytes), rests) in pieces.iter().zip(rests) {
            let chunk = Chunk { comm: comm.clone(), ..chunk(*fd, bytes) };
            text += &seen(&mut show, &[chunk]);
            if rests {
                text += &idle(&mut show);
            }
        }
        text += &end(&mut show);
        prop_assert!(show.pending.is_empty());
        for line in text.lines() {
            prop_assert!(!line.chars().any(is_hazard), "{:?}", line);
            prop_assert!(line.contains("[71] "), "{:?}", line);
            prop_assert!(!redact || !line.contains("pwned"), "{:?}", line);
        }
    }

    #[test]
    fn raw_text_comes_out_whole_however_it_was_cut(
        pieces in vec(vec(any::<u8>(), 0..2000), 0..20), rests in vec(any::<bool>(), 20),
    ) {
        let mut show = Show::new(PLAIN, true, None);
        let mut out = Vec::new();
        for (bytes, rests) in pieces.iter().zip(rests) {
            show.see(&chunk(1, bytes), &mut out).unwrap();
            if rests {
                show.idle(&mut out).unwrap();
            }
        }
        show.end(&mut out).unwrap();
        let mut written = pieces.concat();
        written.retain(|byte| *byte != b'\n');
        prop_assert_eq!(joined(&out), written);
    }
}

/// What the program wrote, put together from the lines, without line feeds.
fn joined(shown: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    for line in shown.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let prefix = ["docker[71] stdout │", "docker[71] stdout ┆"]
            .iter()
            .find_map(|prefix| line.strip_prefix(prefix.as_bytes()));
        text.extend_from_slice(prefix.unwrap().strip_prefix(b" ").unwrap_or_default());
    }
    text
}
