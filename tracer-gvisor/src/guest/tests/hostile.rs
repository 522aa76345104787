//! A sandbox that sends anything.

use proptest::{collection::vec, prelude::*};

use super::*;

/// A call that is told by number and arguments.
fn by_number(
    context: Option<Context>,
    exit: Option<Returned>,
    which: i64,
    [arg1, arg2, arg3]: [i64; 3],
) -> Vec<u8> {
    let all = crate::numbers::RAW;
    let sysno = all[which.unsigned_abs() as usize % all.len()];
    let [arg1, arg2, arg3] = [arg1, arg2, arg3].map(i64::cast_unsigned);
    let call = crate::wire::Raw { context, exit, sysno, arg1, arg2, arg3, ..Default::default() };
    packet(6, &call)
}

/// Any message about a few processes, fds and objects.
fn message() -> impl Strategy<Value = Vec<u8>> {
    let small = -1i64..6;
    let path = prop_oneof![
        Just("pipe:[1]"),
        Just("pipe:[2]"),
        Just("socket:[1]"),
        Just("host:[1]"),
        Just("/log"),
        Just("/dev/null"),
        Just("[err: FD not found]"),
        Just(""),
        Just("/dev/pts/0"),
    ];
    let pid = prop_oneof![8 => 1i32..5, 1 => Just(0), 1 => Just(i32::MIN), 1 => Just(i32::MAX)];
    let time =
        prop_oneof![8 => Just(50_000i64), 1 => Just(i64::MIN), 1 => Just(i64::MAX), 1 => Just(0)];
    let fd = prop_oneof![8 => small.clone(), 1 => Just(i64::MIN), 1 => Just(i64::from(i32::MAX))];
    let numbers = (pid, fd, small.clone(), small.clone(), 0u32..8);
    (numbers, (path, time), any::<bool>(), 0u16..36).prop_map(
        |((tgid, one, two, three, flags), (path, time_ns), fails, number)| {
            let context = Some(Context {
                time_ns,
                tid: tgid,
                tgid,
                start_ns: if two == 0 { time_ns } else { i64::from(tgid).saturating_add(5000) },
                container: Vec::new(),
                name: Vec::new(),
            });
            let exit = Some(Returned { result: two, errno: i64::from(fails) * 32 });
            let (old, new) = (one as i32, two as i32);
            let flags_or_path = path.as_bytes().to_vec();
            match number {
                1 => packet(1, &Start { context, argv: vec![flags_or_path] }),
                2 => packet(
                    2,
                    &Clone { context, tid: new, tgid: new, start_ns: 5000 + two, flags: 0 },
                ),
                3 => packet(
                    3,
                    &Exec { context, path: flags_or_path.clone(), argv: vec![flags_or_path] },
                ),
                4 | 5 => packet(number, &Ended { context, status: new }),
                6 => by_number(context.filter(|_| !fails), exit, three, [one, two, three]),
                8 => packet(8, &Close { context, exit, fd: one }),
                17 => packet(17, &Pipe { context, exit, flags, reader: old, writer: new }),
                19 => packet(19, &Dup { context, exit, old, new, path: flags_or_path, flags }),
                33 => packet(
                    33,
                    &crate::wire::SocketPair { context, exit, kind: 1, one: old, other: new },
                ),
                _ => packet(
                    if fails { 9 } else { 34 },
                    &Transfer {
                        context,
                        exit: exit.filter(|_| three > 0),
                        sysno: 1,
                        fd: one,
                        path: flags_or_path,
                        count: 10,
                    },
                ),
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn no_sequence_of_messages_breaks_the_model(messages in vec(message(), 0..120), has_ended: bool) {
        let mut scene = Scene::new();
        for message in messages {
            scene.guest.take(&message);
            scene.apply();
        }
        scene.guest.finish(60_000, has_ended);
        scene.apply();
        // Handed out once: a second end has nothing more.
        scene.guest.finish(60_000, true);
        let again = scene.guest.output();
        prop_assert!(!has_ended || again.rows.is_empty(), "{:?}", again.rows);
        let _ = Flows::of(&scene.session);
    }

    #[test]
    fn no_bytes_break_it(packets in vec(vec(any::<u8>(), 0..64), 0..40)) {
        let mut guest = Scene::new().guest;
        packets.iter().for_each(|packet| guest.take(packet));
    }
}
