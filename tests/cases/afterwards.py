#!/usr/bin/env python3
"""In the place of tracer in the cases: the command runs under `tracer daemon`, and `tracer why` is asked afterwards.

$RECORDER is the tool. The arguments are those that lib.sh gives to tracer. The report is written to the same file, and
the exit code is that of `tracer why`.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time

TOOL = os.environ["RECORDER"]
CGROUPS = "/sys/fs/cgroup/unified" if os.path.isdir("/sys/fs/cgroup/unified") else "/sys/fs/cgroup"
# How long the processes of the command, and then the daemon, are waited for.
PROCESSES_TAKE_S, DAEMON_TAKES_S = 30, 2


class Stop(Exception):
    """The case ends the trace."""


def stop(_signal, _frame):
    raise Stop


class Recorder:
    """A daemon that records one cgroup."""

    def __init__(self, scratch, cgroup):
        self.history = os.path.join(scratch, "history")
        command = [TOOL, "daemon", "--cgroup", os.path.basename(cgroup), "--history", self.history]
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            process_group=0)
        for line in self.process.stderr:
            if line.startswith("tracer: records"):
                return
            sys.stderr.write(line)
        sys.exit("tracer daemon did not start")

    def why(self, *subject):
        """The answer as a report; None if there is no such command."""
        command = [TOOL, "why", "--history", self.history, "--format", "json", *subject]
        asked = subprocess.run(command, capture_output=True, text=True, check=False)
        if not asked.stdout:
            return None
        answer = json.loads(asked.stdout)
        if "findings" not in answer:
            entry = answer.get("entry")
            if entry is None:
                return None
            finding = {key: entry[key] for key in ("rule", "severity")} | {"message": entry["sentence"]}
            answer = {"verdict": entry["sentence"], "findings": [finding]}
        return answer, asked.returncode

    def end(self):
        self.process.terminate()
        self.process.wait()


def processes_of(cgroup):
    with open(os.path.join(cgroup, "cgroup.procs"), encoding="ascii") as file:
        return [int(line) for line in file]


def runs(pid):
    """Whether a process is there and has not ended."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def descendants(pids):
    """The processes that these have started, and so on."""
    command = ["ps", "-e", "-o", "pid=,ppid="]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    parents = {int(pid): int(parent) for pid, parent in map(str.split, listed.splitlines())}
    found, newest = [], set(pids)
    while newest:
        newest = {pid for pid, parent in parents.items() if parent in newest}
        found += newest
    return found


def show(terminal):
    """Copies what is written to a terminal until it is closed."""
    with contextlib.suppress(OSError):
        while output := os.read(terminal, 65536):
            os.write(1, output)


def begin(arguments, cgroup):
    """Starts the command, or admits the processes that are there. Their pids, and the child."""
    members = os.path.join(cgroup, "cgroup.procs")
    if "--" in arguments:
        argv = arguments[arguments.index("--") + 1:]
        script = 'echo $$ >"$0" && exec "$@"'
        streams = {}
        if "--pty" in arguments[:arguments.index("--")]:
            terminal, end = os.openpty()
            streams = {"stdout": end, "stderr": end}
            threading.Thread(target=show, args=(terminal,), daemon=True).start()
        child = subprocess.Popen(["sh", "-c", script, members, *argv], close_fds=not streams, **streams)
        for end in set(streams.values()):
            os.close(end)
        return [child.pid], child
    pids = [int(value) for option, value in zip(arguments, arguments[1:]) if option == "--pid"]
    for pid in [*pids, *descendants(pids)]:
        with contextlib.suppress(ProcessLookupError), open(members, "w", encoding="ascii") as file:
            file.write(str(pid))
    return pids, None


def wait(pids, child, cgroup):
    """Waits for the command, and a while for what it has left behind."""
    if child is not None:
        child.wait()
    while any(map(runs, pids)):
        time.sleep(0.02)
    end = time.monotonic() + PROCESSES_TAKE_S
    while any(map(runs, processes_of(cgroup))) and time.monotonic() < end:
        time.sleep(0.02)


def answer(recorder, pids):
    """The latest loss or warning, as for a container; if there is none, the command itself, unless it was silent."""
    found = recorder.why("--name", ".")
    if found and found[0]["findings"][0]["severity"] in ("loss", "warning"):
        return found
    of_command = recorder.why("--pid", str(pids[0]))
    if of_command and of_command[0]["findings"][0]["rule"] != "never_wrote":
        return of_command
    return found


def main():
    arguments = sys.argv[1:]
    output = arguments[arguments.index("-o") + 1]
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    cgroup = os.path.join(CGROUPS, f"afterwards-{os.getpid()}")
    os.makedirs(cgroup, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        attached = "--" not in arguments
        if attached:
            pids, child = begin(arguments, cgroup)
        recorder = Recorder(scratch, cgroup)
        try:
            if attached:
                print("tracer: attached to", *pids, file=sys.stderr, flush=True)
            else:
                pids, child = begin(arguments, cgroup)
            wait(pids, child, cgroup)
            time.sleep(DAEMON_TAKES_S)
        except Stop:
            pass
        recorder.end()
        found = answer(recorder, pids)
    if found is None:
        sys.exit("tracer why has no answer")
    with open(output, "w", encoding="utf-8") as file:
        json.dump(found[0], file)
    # The case may need its processes still. Later runs remove the cgroups of runs that have ended.
    for name in os.listdir(CGROUPS):
        prefix, _, pid = name.partition("-")
        if prefix == "afterwards" and not runs(pid):
            with contextlib.suppress(OSError):
                os.rmdir(os.path.join(CGROUPS, name))
    sys.exit(found[1])


main()
