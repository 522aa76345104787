//! What each recorded session must say: name, rules in order, and the headline.

use crate::verdict::Rule::{self, *};

pub(super) const EXPECTED: &[(&str, &[Rule], &str)] = &[
    (
        "accounted",
        &[Accounted],
        "perl -e syswrite STDOUT, \"\" (pid 27672) wrote nothing to stdout and nothing to stderr. It \
         exited with 0.",
    ),
    (
        "append_log",
        &[Delivered],
        "cat a (pid 27739) wrote 292 B to stdout, into the file /tmp/demo/app.log; nothing to stderr. \
         It exited with 0.",
    ),
    (
        "daemon_unreachable",
        &[OtherStream, DaemonUnreachable],
        "perl dial.pl (pid 27662) wrote only to stderr: 33 B, all read by cat (pid 27657); nothing to \
         stdout. It exited with 2.",
    ),
    (
        "delivered",
        &[Delivered],
        "seq 1 200 (pid 24363) wrote 692 B to stdout, all read by cat (pid 24360); nothing to stderr. \
         It exited with 0.",
    ),
    (
        "discarded",
        &[Discarded],
        "seq 1 200 (pid 24526) wrote 692 B to stdout, which was /dev/null from the start: discarded. \
         It exited with 0.",
    ),
    (
        "elsewhere",
        &[Elsewhere],
        "sh -c exec >/tmp/demo/o; echo lost (pid 24509) redirected its output: 5 B went to \
         /tmp/demo/o; nothing to its own stdout and stderr. It exited with 0.",
    ),
    (
        "exec_failed",
        &[ExecFailed, OtherStream],
        "The command never started: pid 24473, started by sh (pid 24397), could not execute \
         /tmp/demo/missing: ENOENT (no such file or directory). The message about it went to stderr, \
         into the file /tmp/demo/err.fifo.",
    ),
    (
        "held_back",
        &[Delivered, HeldBack],
        "perl held.pl (pid 27667) wrote 35 B to stdout, all read by cat (pid 27664); nothing to \
         stderr. It exited with 0.",
    ),
    (
        "killed",
        &[OwnLosses, Delivered],
        "The recording stops before the end of the trace, so what came later is not in this report \
         and the counts below may be too small.",
    ),
    (
        "late_writer",
        &[LateWriter, Delivered],
        "sh -c echo direct; (sleep 0.5; echo late) & exit 0 (pid 24790) ended, but sh (pid 25598), \
         which it started, wrote 5 B later: the stream ended 522 ms after the command. It exited with \
         0.",
    ),
    (
        "manager",
        &[Discarded, Delivered, Delivered],
        "cat a (pid 27735) wrote 292 B to stdout, which was /dev/null from the start: discarded. It \
         exited with 0.",
    ),
    (
        "never_wrote",
        &[NeverWrote],
        "sleep 0.2 (pid 24478) never wrote to stdout or stderr. It exited with 0.",
    ),
    (
        "no_terminal",
        &[Delivered],
        "perl -e print -t STDOUT ? \"colour\" : \"plain\", \"\\n\" (pid 27645) wrote 6 B to stdout, \
         all read by cat (pid 27642); nothing to stderr. It exited with 0.",
    ),
    (
        "other_stream",
        &[OtherStream],
        "sh -c echo \"unknown flag: --progress\" >&2; exit 125 (pid 24497) wrote only to stderr: 25 \
         B, all read by cat (pid 24492); nothing to stdout. It exited with 125.",
    ),
    (
        "out_of_sight",
        &[OutOfSight, Accounted],
        "runsc (pid 27650) has the name of a program that runs a gVisor sandbox. If it is one, what \
         the programs inside write is out of sight of this kernel, and nothing below says that they \
         did not write.",
    ),
    (
        "out_of_sight_socket",
        &[OutOfSight],
        "seq 1 5 (pid 27655) wrote 10 B to stdout, into socket:[2511340] (127.0.0.1:44632 -> \
         127.0.0.1:7007); who reads the other end on this machine was not seen. It exited with 0.",
    ),
    (
        "own_losses",
        &[OwnLosses, Delivered, Elsewhere],
        "tracer could not record 15 facts (objects_full), so the counts below may be too small.",
    ),
    (
        "put_off",
        &[Delivered, PutOff],
        "perl again.pl (pid 28247) wrote 163,840 B to stdout, all read by cat (pid 28373); nothing to \
         stderr. It exited with 0.",
    ),
    (
        "read_by_other",
        &[ReadByOther, Delivered, Discarded],
        "1,000 B of what head -c 5000 /dev/zero (pid 27449) wrote to stdout were taken by dd (pid \
         27450), and 4,000 B by goproc (pid 25842): neither has all.",
    ),
    (
        "read_then_lost",
        &[ReadThenLost],
        "goproc (pid 27471) read 5,000 B of stdout from head -c 5000 /dev/zero (pid 27616), and its \
         log says that it handed out 0 B: 5,000 B were lost in the manager, after it had read them. \
         It exited with 0.",
    ),
    (
        "reader_gone",
        &[ReaderGone],
        "yes (pid 28991) could not write to stdout: goproc (pid 28784) closed its read end less than \
         1 ms before the command ended (EPIPE, 1 write refused) after 65,536 B had been written, of which 65,436 B were never read. It \
         was killed by SIGPIPE (13).",
    ),
    (
        "reader_left",
        &[Delivered],
        "sh -c yes | head -n 1 (pid 28999) wrote 2 B to stdout, all read by cat (pid 28996); nothing \
         to stderr. It exited with 0.",
    ),
    (
        "refused",
        &[Refused],
        "The kernel refused the last 4,096 B to stdout of perl fill.pl (pid 24593) with EAGAIN: the \
         pipe was full and non-blocking. It had set O_NONBLOCK itself. It exited with 0.",
    ),
    (
        "stuck",
        &[Stuck],
        "yes (pid 24741) is stuck: it is blocked writing to stdout; pipe:[2500287] holds 65,536 B of \
         65,536 B, and sleep (pid 24738), which could read it, has read nothing at all.",
    ),
    // A copy of `delivered` in which one number was edited by hand, the bytes of cat's row from 692 to
    // 700: a kernel that counts correctly never gives unbalanced counts.
    (
        "unbalanced",
        &[Unbalanced, Accounted],
        "The counts of pipe:[2496955] are incomplete: 0 B inside before + 692 B written is not 700 B \
         read + 0 B unread; 8 B were not counted (it was in use when tracer attached).",
    ),
    (
        "unread",
        &[Unread],
        "seq 1 200 (pid 29513) wrote 692 B to stdout; 692 B are still unread in pipe:[2514554]: sleep \
         (pid 29509) can still read it but has not. It exited with 0.",
    ),
    (
        "unread_gone",
        &[Unread],
        "seq 1 200 (pid 28778) wrote 692 B to stdout; 692 B are lost, unread in pipe:[2512907] \
         (computed: tracer could not look inside): goproc (pid 28664) closed its read end 1 ms after the \
         command had ended. It exited with 0.",
    ),
];
