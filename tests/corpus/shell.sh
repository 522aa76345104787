# Tests of shell features: pipes, traps, here-documents and jobs.
# Runs in an empty directory and prints one line per test, on both streams, in a fixed order.
set -u
fails=0
is() { # NAME EXPECTED FOUND
    if [ "$2" = "$3" ]; then echo "ok $1"; else echo "not ok $1: $3" >&2; fails=$((fails + 1)); fi
}

is pipeline 100000 "$(seq 1 100000 | sort -rn | head -n 1)"
is status-of-a-pipeline 3 "$(true | (exit 3); echo $?)"
yes | head -n 1 >first
is what-head-took y "$(cat first)"
is sigpipe "141 0" "$(bash -c 'yes | head -n 1 >/dev/null; echo "${PIPESTATUS[*]}"')"
is sigpipe-in-a-script "141 0 0" \
    "$(bash -c 'seq 1 1000000 | cat | head -c 3 >/dev/null; echo "${PIPESTATUS[0]} ${PIPESTATUS[2]} 0"')"
is ignored-sigpipe 1 "$(bash -c 'trap "" PIPE; seq 1 1000000 2>/dev/null | head -n 1 >/dev/null; echo "${PIPESTATUS[0]}"')"

is here-document "one two" "$(cat <<END
one two
END
)"
is quoted-here-document '$HOME' "$(cat <<'END'
$HOME
END
)"
is large-here-document 30000 "$(cat <<END | wc -c | tr -d ' '
$(head -c 29999 /dev/zero | tr '\0' x)
END
)"

is trap-on-exit "body end" "$(sh -c 'trap "printf %s end" EXIT; printf "%s " body')"
is trap-on-signal caught "$(sh -c 'trap "echo caught; exit 0" TERM; kill -TERM $$; echo missed')"
is death-by-signal 143 "$(sh -c 'sh -c "kill -TERM \$\$"; echo $?')"
is errexit 1 "$(sh -ec 'false; echo reached'; echo $?)"

(sleep 0.05; echo late) >job &
job=$!
echo early
wait "$job"
is background-job "0 late" "$? $(cat job)"
sh -c 'exit 7' &
wait $!
is status-of-a-job 7 $?

mkfifo fifo
(echo through >fifo) &
is fifo through "$(cat fifo)"
wait
exec 3>kept
echo three >&3
exec 3>&-
is closed-descriptor closed "$( (echo x >&3) 2>/dev/null || echo closed)"
is both-streams "out err" "$( (echo out; echo err >&2) 2>&1 | tr '\n' ' ' | sed 's/ $//')"
is swapped-streams err "$( (echo out; echo err >&2) 3>&1 1>/dev/null 2>&3)"
is end-of-input 0 "$(cat </dev/null | wc -c | tr -d ' ')"
is input-of-a-loop "b c" "$(printf 'a\nb\nc\n' | (read -r first; echo $(cat)))"
is full-device 1 "$(echo lost 2>/dev/null >/dev/full; echo $?)"
is noclobber refused "$(sh -c 'set -C; echo x >first' 2>/dev/null || echo refused)"
nonexistent-command-of-this-suite
is command-not-found 127 $?
cat nonexistent-file
is file-not-found 1 $?
for word in mixed streams in order; do echo "$word"; echo "$word" >&2; done
echo "$fails failures"
[ "$fails" = 0 ]
