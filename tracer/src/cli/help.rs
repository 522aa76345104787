//! Long texts of `--help`.

/// What follows the options of `tracer --help`.
pub(super) const AFTER: &str = "\
EXAMPLES
  tracer -- docker pull busybox      trace a command from its first instruction; report on stderr
  tracer --pid 4242                  trace a manager and everything it starts; report on stdout
  tracer -- docker run busybox ls    trace the client and its container, also with -d and --runtime=runsc
  tracer -- docker exec web ls       trace the client and the command that it starts in the container
  tracer --container web             trace a container, `docker exec` included
  tracer --unit nginx --name '^php'  trace a systemd unit, and processes by their names
  tracer --container web -- docker exec web ls    … and all other processes of the container
  tracer --all -- make -j4           show every process and stream, not only one screen
  tracer --pid 4242 --format json -o report.json
  tracer --format html -o report.html -- make    a page for a browser, with the flow as a drawing
  tracer --record run.session -- ./nightly-job    save the session as well …
  tracer report run.session --format json         … and report it again, on any machine
  tracer --capture out -- docker pull busybox     save its output too, and show what was lost
  tracer --show --pid 4242           print its output while it is written
  tracer top --pid 4242              watch it on the terminal: the stuck and the lost first
  tracer why --container web --at 03:12           what became of an earlier command's output
  tracer explain unread              what a finding means and what to do
  tracer doctor                      check whether a trace works here, and if not, why

WHERE THE REPORT GOES
  A command (tracer -- COMMAND) keeps stdout for its own output: the report goes to stderr.
  Without a command it goes to stdout. -o FILE writes it to a file, -o - to stdout.
  tracer's own lines also go to stderr: to parse a JSON report of a command, use -o, or -q.

HOW A TRACE ENDS
  A trace ends when all traced processes have ended (if COMMAND is traced with other targets: when
  COMMAND has ended), after --duration, or at a signal (Ctrl-C, SIGTERM, SIGHUP). Each way prints
  the report. A second signal ends tracer without one. With `docker run -d`, `docker start` or
  `docker exec -d` as COMMAND, the trace goes on until what it started has ended.
  tracer never stops a process. A command that still runs goes on without being traced. Ctrl-C in a
  terminal also reaches the command, because both are in the foreground. With --pty the command's
  terminal closes when the trace ends, which sends it SIGHUP, and Ctrl-C reaches only the command.

EXIT CODE
  0  all output was read, or is in a file or on a terminal
  1  output was lost, discarded, refused or left unread, or nothing was ever written,
     or tracer cannot tell because its counts are incomplete
  2  the command line is wrong
  3  this machine or the target does not allow a trace: not root, no such process, old kernel …
  With --exit-code command, 0 and 1 become the exit code of COMMAND, or 128 + N if signal N
  killed it. If COMMAND still runs when the trace ends, they stay.
  A signal before the trace begins, or a second one, ends tracer by that signal.";
