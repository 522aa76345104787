//! What each rule means, in plain words.

use tracer_core::verdict::Rule;

use super::Explanation;

/// All rules by name: those of the verdict, in its order.
pub(super) const TEXTS: [Explanation; RULES] = [
    Explanation {
        rule: Rule::OwnLosses,
        means: "tracer could not record something, so its counts may be too low.",
        proof: "tracer counts each fact that it drops, by reason: a full table, a full buffer, memory \
                that it could not read. The report lists the reasons.",
        causes: "Very many processes or pipes at a time; a machine without free CPU time; io_uring \
                 or native AIO on a kernel that does not show which file they use.",
        todo: "Raise --max-processes or --max-objects if a table was full. Trace a smaller target: \
               one --pid or one --cgroup. Run `tracer doctor`.",
    },
    Explanation {
        rule: Rule::OutOfSight,
        means: "A part of the target runs where this kernel sees no system calls: in a gVisor sandbox \
                that tracer cannot look into, in a virtual machine, or on another machine.",
        proof: "The program emulates or hosts a guest, or a socket leads to another machine.",
        causes: "A container with the runtime kata; a gVisor sandbox whose only trace session another \
                 program has, or which ended before tracer could look into it; ssh, a database or an \
                 HTTP server that does the real work.",
        todo: "Trace inside the guest, or on the other machine. For gVisor, see `tracer doctor` and \
               `tracer gvisor config`. What passes through pipes and sockets of this machine is still counted.",
    },
    Explanation {
        rule: Rule::Unbalanced,
        means: "The counts of a pipe or socket are incomplete: what was written is not what was read \
                plus what is left.",
        proof: "tracer counts each byte when it is written and when it is read, and looks at what is \
                left inside. The three numbers do not match.",
        causes: "The pipe was in use before the trace began; a call that tracer does not count.",
        todo: "Start the trace before the program: `tracer -- COMMAND`. Do not rely on the numbers \
               of this pipe.",
    },
    Explanation {
        rule: Rule::ExecFailed,
        means: "The command never started, so it could not write anything.",
        proof: "The kernel refused execve; the finding has the path and the error.",
        causes: "A wrong path or PATH (ENOENT); no execute permission (EACCES); a script whose first \
                 line names a missing interpreter; a program for another CPU (ENOEXEC).",
        todo: "Run the command by its full path, as the same user and in the same container.",
    },
    Explanation {
        rule: Rule::Stuck,
        means: "A program is blocked writing: its pipe, socket or terminal takes no more, and the process \
                that should read it does something else.",
        proof: "A thread sleeps in a write, and the reader is not reading. An empty terminal that takes \
                nothing is stopped (^S): its reader is not the cause.",
        causes: "The reader reads stdout to the end before stderr, or waits for the program to end \
                 before it reads; the reader hangs itself, because what it writes to is full.",
        todo: "Make the reader read both streams at the same time. Look at what the named reader \
               waits for. In a stopped terminal, press ^Q.",
    },
    Explanation {
        rule: Rule::BlockedOpen,
        means: "A program sleeps in open: it opened a FIFO to write, and nobody has opened it to read. \
                It cannot write before that.",
        proof: "A thread sleeps in open on a FIFO without a reader.",
        causes: "The reader was not started, has ended, or opens another path.",
        todo: "Start the reader of the named FIFO first, or open the FIFO with O_RDWR.",
    },
    Explanation {
        rule: Rule::Stopped,
        means: "A program is stopped and writes nothing until it is continued.",
        proof: "Its threads are in the stopped state; the finding names the signal.",
        causes: "SIGTTOU: a background job wrote to a terminal with `stty tostop`, or changed its \
                 settings. SIGTSTP or SIGSTOP: a user or another program stopped it.",
        todo: "Bring it to the foreground with `fg`, send SIGCONT, or use `stty -tostop`.",
    },
    Explanation {
        rule: Rule::ReadThenLost,
        means: "A manager read the output and handed out fewer bytes: they were lost in the manager.",
        proof: "The kernel counted the bytes that the manager read. Its log, or the log file of the \
                container engine, has fewer.",
        causes: "A log driver that drops when its buffer is full; a size limit; a reader that keeps \
                 only stdout or only the last lines.",
        todo: "Look in the named manager: its buffer, its limits, and what it does with stderr.",
    },
    Explanation {
        rule: Rule::KeptBack,
        means: "A process read bytes and passed on fewer.",
        proof: "tracer counted what it read, and what it wrote since then. What it wrote to itself, to \
                wake a thread, does not count.",
        causes: "A filter does this by design. Else: it was killed before it wrote, passes on whole \
                 lines only, drops a stream, or could not reach the next receiver.",
        todo: "Look in the named process, and at its errors on write and connect.",
    },
    Explanation {
        rule: Rule::ReaderGone,
        means: "The program wrote to a pipe or socket whose reader was gone. The kernel refused the \
                bytes with EPIPE.",
        proof: "The write failed with EPIPE; the finding names the process that closed the read end.",
        causes: "The reader ended, crashed, or had enough, like `head`; a manager with a timeout.",
        todo: "Look at why the named reader closed. With `head` or `grep -q` this is by design, unless \
               the writer also wrote a copy for another reader, as `tee` does: use `tee -p`.",
    },
    Explanation {
        rule: Rule::Unread,
        means: "Bytes were written to a pipe or socket, and nobody read them.",
        proof: "The bytes were still inside when the trace ended, or when the last read end was \
                closed; or a process discarded what was in a terminal, and fewer bytes were read than written.",
        causes: "The reader ended too early, stopped reading, or waits for something else. A manager \
                 that waits for the exit of a program and not for the end of its output.",
        todo: "Make the reader read until the end of the data. `tracer --capture DIR` saves the \
               bytes that were not read.",
    },
    Explanation {
        rule: Rule::Refused,
        means: "The kernel refused bytes, and the program did not write them again.",
        proof: "A write failed with the named error, and no later write repeats it.",
        causes: "ENOSPC or EDQUOT: disk or quota full. EFBIG: file size limit. EBADF: the stream was \
                 closed. EIO: the terminal or the disk is gone. EAGAIN: the pipe was full and \
                 non-blocking, and the program gave up.",
        todo: "Remove the cause that the error names. For EAGAIN: find who set O_NONBLOCK on the \
               shared pipe.",
    },
    Explanation {
        rule: Rule::FileLost,
        means: "The output was in a file, its own or that of a relay, and is no longer there. Or it was \
                copied and the file emptied, and the file begins with a hole.",
        proof: "tracer counted the bytes written, and at the end the file was smaller, overwritten, \
                or had no name. It is unsure if the size does not tell how much is gone (a hole, \
                `fallocate`), or if a process may have mapped a file without a name into its memory, or \
                moved a file that is gone from its path. A relay's file has as many bytes as it had read.",
        causes: "A second writer without O_APPEND; `>log 2>log`; `>/dev/stderr`; `tr a b <f >f`; copytruncate \
                 of logrotate; a program that opens the file again with O_TRUNC; a log file that was \
                 removed while in use.",
        todo: "Open the file with O_APPEND (`>>`), use one writer, and make the program reopen its \
               log after rotation.",
    },
    Explanation {
        rule: Rule::Unflushed,
        means: "A program was killed, or left without cleaning up, with output still in its own \
                buffer. The kernel never saw those bytes.",
        proof: "The program buffers because stdout is not a terminal, wrote nothing or full blocks only, \
                and ended by a signal. A silent helper that its starter ends, before that succeeds, is \
                only noted.",
        causes: "A timeout or manager that kills it; a crash; SIGPIPE; a fork that calls `_exit`.",
        todo: "Make it flush: PYTHONUNBUFFERED=1, `stdbuf -oL`, fflush. Let it end by SIGTERM with a \
               handler, not by SIGKILL.",
    },
    Explanation {
        rule: Rule::ReadByOther,
        means: "Two processes read from one pipe, so each of them got only a part.",
        proof: "tracer counted reads of both processes on the same pipe.",
        causes: "A forgotten second reader; a child that inherited the read end; `cat` on a FIFO that a \
                 service reads.",
        todo: "Look for the bytes in both readers. Close the read end in the process that should not \
               have it.",
    },
    Explanation {
        rule: Rule::LateWriter,
        means: "A process that the command started still held or wrote its output after the command \
                had ended.",
        proof: "tracer saw the fd open, or a write to it, after the end of the command.",
        causes: "A background process or daemon that keeps stdout; `&` without a redirection.",
        todo: "Make the reader read to the end of the data, not to the exit of the command; or \
               redirect the output of the background process.",
    },
    Explanation {
        rule: Rule::OtherStream,
        means: "The output went to stderr, and nothing went to stdout.",
        proof: "The counts of both streams.",
        causes: "An error message or usage text; a program that logs to stderr.",
        todo: "Check what the reader of stderr does with it. `2>&1` joins both streams.",
    },
    Explanation {
        rule: Rule::Elsewhere,
        means: "The command redirected its own stdout or stderr after it started.",
        proof: "tracer saw the fd replaced; the finding names the new target.",
        causes: "`exec >FILE` in a script; a program that opens its own log; a daemon.",
        todo: "Look in the named file or process.",
    },
    Explanation {
        rule: Rule::Discarded,
        means: "The output went to /dev/null, which discards it.",
        proof: "The fd leads to /dev/null, and the kernel counted the bytes written to it. It is no \
                warning if the program wrote what it read, and as much to other places (`tee FILE`).",
        causes: "A redirection (`>/dev/null`), a service without a log, a manager that passes on \
                 /dev/null.",
        todo: "Remove the redirection where the command is started.",
    },
    Explanation {
        rule: Rule::NeverWrote,
        means: "The command never wrote to stdout or stderr.",
        proof: "tracer counted every write since the command started: there was none, not even a \
                failed one.",
        causes: "It writes to a file, a socket or a log service; it is quiet without a terminal; it \
                 was killed with its output still in a buffer; it has no stdout at all; it still waits: \
                 for its input or a lock, if that is named.",
        todo: "See the hints of the finding. Try `tracer --pty -- COMMAND` and `--all-fds`.",
    },
    Explanation {
        rule: Rule::DaemonUnreachable,
        means: "The command could not connect to a service, and then failed.",
        proof: "connect failed with the named error; the command ended with a failure afterwards.",
        causes: "The service does not run (ECONNREFUSED), its socket does not exist (ENOENT), or its \
                 permissions forbid it (EACCES).",
        todo: "Start the service at the named address, or correct the address.",
    },
    Explanation {
        rule: Rule::PutOff,
        means: "The kernel took fewer bytes than the program asked for (EAGAIN or a short write). \
                tracer cannot see whether the program wrote the rest again.",
        proof: "The failed and short writes of the stream.",
        causes: "A full non-blocking pipe, a slow reader.",
        todo: "Usually nothing. If output is missing, check that the program repeats such writes.",
    },
    Explanation {
        rule: Rule::Delivered,
        means: "The named reader received every byte.",
        proof: "As many bytes were read as were written, or the bytes are in the file.",
        causes: "The program works. If output is missing, the reader has it.",
        todo: "If output is missing, look in the named reader. --follow-readers N shows what it \
               passes on.",
    },
    Explanation {
        rule: Rule::Accounted,
        means: "Only the numbers: nothing else is known about this output.",
        proof: "The counts of the streams.",
        causes: "For example, the program still runs, or the receiver is not on this machine.",
        todo: "Look at the streams with --all.",
    },
    Explanation {
        rule: Rule::HeldBack,
        means: "The program kept its output in a buffer and wrote nearly all of it late.",
        proof: "Nearly all bytes came in the last moments of a long run, or in full blocks far apart.",
        causes: "Programs buffer in blocks when stdout is not a terminal.",
        todo: "Make it flush: PYTHONUNBUFFERED=1, `stdbuf -oL`, or a terminal (`tracer --pty`).",
    },
    Explanation {
        rule: Rule::NotSeen,
        means: "tracer wanted to look at something and got no answer in time.",
        proof: "A look at a process, a file or a log did not return within half a second.",
        causes: "A slow or dead network file system; a process in an uninterruptible sleep.",
        todo: "The counts are complete all the same. Check the named file system.",
    },
];

/// Number of rules.
pub(super) const RULES: usize = 26;
