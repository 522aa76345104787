# shellcheck shell=bash
# Shared by the cases. The harness sets $TRACER, the tool, and $W, an empty folder of this run.
#
# To run a case by hand:  mkdir /tmp/w && W=/tmp/w TRACER=target/release/tracer tests/cases/001-…/run

set -u
# The programs themselves come first, not a version manager's wrappers around them.
PATH=/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin:$PATH
export PATH W LC_ALL=C.UTF-8
# Settings of the user that change how programs buffer.
unset PYTHONUNBUFFERED PERL5OPT NODE_OPTIONS RUBYOPT _JAVA_OPTIONS JAVA_TOOL_OPTIONS
cd "$W" || exit

# traced CMD…: runs a command under tracer. $OPTS has more options of tracer.
traced() {
  # shellcheck disable=SC2086
  "$TRACER" -q --no-live --color never --format json -o "$W/report.json" ${OPTS-} -- "$@"
  echo $? >"$W/exit"
}

# start CMD…: like traced, but in the background, until `detach now`. Some commands do not end by themselves.
start() {
  # shellcheck disable=SC2086
  "$TRACER" -q --no-live --color never --format json -o "$W/report.json" ${OPTS-} -- "$@" &
  TRACER_PID=$!
}

# attach PID…: starts tracer on running processes. Returns when it is attached.
attach() {
  local pid targets=()
  for pid; do targets+=(--pid "$pid"); done
  # shellcheck disable=SC2086
  "$TRACER" --no-live --color never --format json -o "$W/report.json" ${OPTS-} "${targets[@]}" \
    2>"$W/tracer.log" &
  TRACER_PID=$!
  until grep -q 'attached to' "$W/tracer.log"; do
    kill -0 "$TRACER_PID" 2>/dev/null || fail "tracer did not attach: $(cat "$W/tracer.log")"
    sleep .02
  done
}

# detach: waits up to 4 s for the end of tracer's target, then ends the trace.
# detach now: ends the trace at once.
detach() {
  [ "${1-}" = now ] || within 4 gone "$TRACER_PID"
  kill -INT "$TRACER_PID" 2>/dev/null
  wait "$TRACER_PID"
  echo $? >"$W/exit"
}

# within SECONDS CMD…: repeats a command until it succeeds; false if it did not.
within() {
  local turns=$(($1 * 50))
  shift
  until "$@" 2>/dev/null; do
    ((turns-- > 0)) || return 1
    sleep .02
  done
}

# gone PID: whether a process has ended. A child that nobody has waited for counts as ended.
gone() {
  local stat
  stat=$(cat "/proc/$1/stat") || return 0
  [[ ${stat##*) } == Z* ]]
}

# asleep PID FUNCTION: whether a process sleeps in a function of the kernel (its name contains FUNCTION).
asleep() { grep -q "$2" "/proc/$1/wchan"; }

# hangs FUNCTION: waits until a process sleeps in a function of the kernel, and a second more. Its number is in the
# file `pid`, or is what the symbolic link `pid` names: a shell makes a link without writing to its stdout.
hangs() {
  within 8 pid_asleep "$1" || fail "nothing sleeps in $1"
  sleep 1
}

pid_asleep() { asleep "$(readlink pid || cat pid)" "$1"; }

# compile NAME: compiles the C program on standard input into $W/NAME.
compile() { gcc -O1 -x c - -o "$W/$1" || fail "gcc failed"; }

# own_mounts: runs the script again where its mounts are its own; they vanish with its processes.
own_mounts() { [ -n "${OWN_MOUNTS-}" ] || OWN_MOUNTS=1 exec unshare --mount "$0"; }

# fail MESSAGE: ends the case without a report.
fail() {
  echo "$1" >&2
  exit 1
}
